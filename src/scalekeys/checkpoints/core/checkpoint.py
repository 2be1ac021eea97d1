"""Checkpoint: an opened source of weights, whatever its format.

A format opens its source into this one shape and knows nothing of filters; :meth:`Checkpoint.bank` makes filters of
it. Shapes come first and values only when asked for, so that a network of gigabytes costs the layers that are read.
Each layer keeps the key of its tensor, which together with `entry` says where in the source its values stand.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from math import prod

import torch
from torch import Tensor

from scalekeys.checkpoints.core.arrangement import LEADING, Arrangement, channels_of, outputs_first
from scalekeys.checkpoints.core.changes import Copying
from scalekeys.checkpoints.core.inventory import TensorInfo, is_floating, what_it_holds
from scalekeys.checkpoints.core.kinds import (
    DEPTHWISE,
    DEPTHWISE_ONLY,
    EVERY,
    GROUPS_NOT_KNOWN,
    ORDINARY,
    Kinds,
    nouns_of,
)
from scalekeys.checkpoints.core.pitch import Pitch
from scalekeys.errors import CheckpointError, counted, listed, printable
from scalekeys.files import reading_from
from scalekeys.filters import FilterBank, LayerFilters, LeftOut
from scalekeys.shapes import FilterStack, size_text

MOST_VALUES = 2**28
"""More values than the weight of any convolution has."""


@dataclass(frozen=True)
class ConvolutionLayer:
    """One convolution of a source that is read."""

    name: str
    """Name of the layer in tables and reports."""
    key: str
    """Key of its weight among the tensors of the checkpoint."""
    stride: int | None = None
    dilation: int | None = None
    """`stride` and `dilation`: taken from the graph; None where the source holds weights only."""
    arrangement: Arrangement = outputs_first
    """How the filters stand in the weight."""
    kind: str = DEPTHWISE
    """Depthwise, grouped or ordinary."""


def layer_of_graph(
    name: str,
    key: str,
    *,
    stride: Sequence[int] | None,
    dilation: Sequence[int] | None,
    arrangement: Arrangement = outputs_first,
    kind: str = DEPTHWISE,
) -> tuple[ConvolutionLayer, tuple[str, ...]]:
    """Return a layer with one stride and one dilation for all axes, and a note on each that had several.

    Neither is recorded where one of them is not known.

    >>> layer_of_graph("dw", "dw.weight", stride=(2, 1), dilation=(1, 1))[1]
    ("layer 'dw' has stride 2x1; the larger is recorded",)
    """
    if stride is None or dilation is None:
        return ConvolutionLayer(name, key, arrangement=arrangement, kind=kind), ()
    notes = tuple(
        f"layer {name!r} has {what} {size_text(tuple(values))}; the larger is recorded"
        for what, values in (("stride", stride), ("dilation", dilation))
        if len(set(values)) > 1
    )
    return ConvolutionLayer(name, key, max(stride), max(dilation), arrangement, kind), notes


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """An opened source of weights."""

    label: str
    """What errors call the source: a path, or what the user typed."""
    model: str
    """What the network is called in tables."""
    tensors: Mapping[str, TensorInfo]
    """Every tensor with its shape and type; values are not read for it."""
    layers: tuple[ConvolutionLayer, ...]
    """The layers of the kinds that were asked for, from input to output."""
    load: Callable[[str], Tensor]
    """Gives the values of one tensor by its key."""
    notes: tuple[str, ...] = ()
    """What was decided on the way, in sentences a user should see."""
    entry: tuple[str, ...] = ()
    """The path of nested names under which the keys stand in the source."""
    left_out: tuple[LeftOut, ...] = ()
    """What has the shape of a kernel, or is a convolution, and is not read, each with the reason."""
    copying: Copying | None = None
    """How to copy the source with changes; None for a part of a source, and for a format that is only read."""
    only_read: str = ""
    """Why the source cannot be copied with changes, as a clause on the source; empty where it can be."""
    is_graph: bool = False
    """Whether the source is a graph with the weights of its nodes, and no state dict."""
    altered: Mapping[str, str] = field(default_factory=dict)
    """The keys of tensors that are not read, which `tensors` lacks, and of those that `load` gives as the numbers that
    their integers stand for, each with the reason."""
    computed: Mapping[str, TensorInfo] = field(default_factory=dict)
    """Weights of layers that are no tensors of the source but computed from several, by keys that `load` knows."""
    recurrent: Set[str] = frozenset()
    """The keys of weights of recurrent layers, where the source says which these are."""
    prefix: str = ""
    """What stands before the keys of the network where `tensors` has those of copies of it too."""
    kinds: Kinds = DEPTHWISE_ONLY
    """The kinds of convolutions that were asked for."""
    ordinary: int = 0
    """How many ordinary convolutions with kernels of more than one value were not asked for."""
    stored: Callable[[str], Tensor] | None = None
    """Gives a tensor as the source holds it, where `load` gives a weight that is computed of it by the same key."""
    pitches: Callable[[], Mapping[str, Pitch | None]] = dict
    """Gives the pitch of layers (:mod:`scalekeys.checkpoints.core.pitch`) by their keys, where it is known."""

    def bank(self) -> FilterBank:
        """Load the filters of the layers, and nothing else.

        Raises
        ------
        CheckpointError
            If there are none, or their values are not floating-point numbers, missing or damaged.
        """
        layers, model = tuple(self.stream()), printable(self.model)  # as a file may have a name that is no text
        return FilterBank(layers, model=model, notes=self.notes, left_out=self.left_out)

    def stream(self) -> Iterator[LayerFilters]:
        """Load the filters layer by layer, for networks that need not be in memory as a whole.

        Raises
        ------
        CheckpointError
            As :meth:`bank` does, when it comes to that layer.
        """
        if not self.layers:
            raise CheckpointError(f"{self.label}: has no {nouns_of(self.kinds)} to read; {self._instead()}")
        pitches = self.pitches()
        for depth, layer in enumerate(self.layers):
            yield replace(self._read(layer, depth), pitch=pitches.get(layer.key))

    @property
    def passed_over(self) -> tuple[str, ...]:
        """A sentence on ordinary convolutions that were not asked for, and how to read them, if there are any."""
        if not self.ordinary:
            return ()
        return (
            f"only {nouns_of(self.kinds)} are read; left out: {counted(self.ordinary, 'ordinary (dense) convolution')} "
            f"with kernels of more than one tap (--kinds {ORDINARY} reads these, --kinds {EVERY} reads all)",
        )

    def info(self, layer: ConvolutionLayer) -> TensorInfo:
        """Return shape and type of the weight of a layer."""
        return self.computed[layer.key] if layer.key in self.computed else self.tensors[layer.key]

    def is_plain(self, layer: ConvolutionLayer) -> bool:
        """Tell whether the weight of a layer is stored as it is, and not computed or arranged otherwise."""
        return layer.key not in self.computed and layer.arrangement is outputs_first

    def can_change(self, layer: ConvolutionLayer) -> bool:
        """Tell whether a copy of the source can have other filters in a layer."""
        return self.copying is not None and layer.key not in self.computed and self.copying.can_change(layer.key)

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        """Load all tensors as the source holds them; :meth:`check_copied` refuses those for which that is not possible.

        `prefix`: what stands before the keys of those that are wanted.
        """
        load = self.stored or self.load
        return {key: load(key) for key in self.tensors if key.startswith(prefix)}

    def check_copied(self, prefix: str = "") -> None:
        """Refuse to copy tensors that cannot be read as the source holds them.

        `prefix`: what stands before the keys of those that are copied.
        Raises CheckpointError if there are such tensors.
        """
        names = {key: why for key, why in self.altered.items() if key.startswith(prefix)}
        if names:
            said = said_of([LeftOut(printable(key), (), why) for key, why in names.items()])
            raise CheckpointError(
                f"{self.label}: its state dict cannot be copied in full: {said}; give the network itself"
            )

    def _instead(self) -> str:
        if GROUPS_NOT_KNOWN in self.notes:
            return GROUPS_NOT_KNOWN
        if self.left_out:
            return f"left out: {said_of(self.left_out)}"
        more = f'; kinds="{ORDINARY}" (--kinds {ORDINARY}) reads ordinary convolutions'
        held = {key: info for key, info in self.tensors.items() if key not in self.recurrent}
        return what_it_holds(held) + (more if self.ordinary else "")

    def _read(self, layer: ConvolutionLayer, depth: int) -> LayerFilters:
        info = self.info(layer)
        dtype, values = info.dtype, prod(info.shape)
        if values > MOST_VALUES:  # a few bytes can claim any shape, by a stride of zero or sparsely
            raise CheckpointError(
                f"{self.label}: layer {layer.name!r} claims {values} values, which no network has; do not trust it"
            )
        if not is_floating(dtype):
            raise CheckpointError(
                f"{self.label}: layer {layer.name!r} holds {dtype} values, not floating-point filters; "
                "give the network before quantisation, or convert its weights to float"
            )
        with reading_from(self.label, CheckpointError):
            weight = self.load(layer.key)
        if weight.is_meta:
            raise CheckpointError(
                f"{self.label}: layer {layer.name!r} has no values (it is on the meta device); load its weights first"
            )
        return LayerFilters(
            layer.name,
            as_filters(weight, layer.arrangement),
            layer.stride,
            layer.dilation,
            depth,
            kind=layer.kind,
            channels=None if layer.kind == DEPTHWISE else channels_of(layer.arrangement, info.shape),
        )


def is_depthwise_shape(shape: tuple[int, ...]) -> bool:
    """Tell whether a weight of this shape has one filter of more than one value for each of several channels.

    >>> is_depthwise_shape((96, 1, 7, 7)), is_depthwise_shape((96, 1, 1, 1)), is_depthwise_shape((96, 3, 4, 4))
    (True, False, False)
    >>> is_depthwise_shape((96, 1, 7)), is_depthwise_shape((96, 1, 3, 3, 3)), is_depthwise_shape((96, 1))
    (True, True, False)
    """
    return has_sides(shape) and shape[0] > 1 == shape[1]


def has_sides(shape: tuple[int, ...]) -> bool:
    """Tell whether a weight of this shape can have kernels of one to three axes and of more than one value.

    >>> has_sides((96, 3, 4, 4)), has_sides((96, 3, 1, 1)), has_sides((0, 3, 4, 4)), has_sides((96, 3))
    (True, False, False, False)
    """
    return 3 <= len(shape) <= 5 and prod(shape[2:]) > 1 and 0 not in shape


def said_of(left_out: Sequence[LeftOut]) -> str:
    """Say in one clause what is left out, reason by reason, and count what goes beyond three names.

    >>> said_of([LeftOut(name, (8, 1, 9), "its kernels have one axis") for name in ("a.weight", "b.weight")])
    "'a.weight' and 'b.weight' (its kernels have one axis)"
    """
    names: dict[str, list[str]] = {}
    for entry in left_out:
        names.setdefault(entry.reason, []).append(repr(entry.name))
    return "; ".join(f"{listed(some, limit=3)} ({reason})" for reason, some in names.items())


def as_filters(weight: Tensor, arrangement: Arrangement = outputs_first) -> FilterStack:
    """Copy the filters of a weight to the CPU as float32, or as float64 if it is so.

    >>> as_filters(torch.ones(4, 1, 3, 5, dtype=torch.bfloat16)).shape
    torch.Size([4, 3, 5])
    """
    dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
    filters = arrangement(dense(weight)).flatten(0, LEADING - 1)
    return filters.to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)


def dense(weight: Tensor) -> Tensor:
    """Return the values of a weight, without its gradient and with all zeros of a sparse one.

    >>> dense(torch.eye(2).to_sparse().requires_grad_())
    tensor([[1., 0.],
            [0., 1.]])
    """
    return weight.detach() if weight.layout == torch.strided else weight.detach().to_dense()


def refuse_choice(label: str, weights: str | None) -> None:
    """Refuse a choice of nested weights where a source holds one set only.

    Raises CheckpointError if `weights` is given.
    """
    if weights is not None:
        raise CheckpointError(f"{label}: holds one set of weights and no {weights!r}; leave --weights out")
