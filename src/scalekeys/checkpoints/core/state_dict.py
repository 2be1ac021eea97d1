"""State dicts: from a flat dict of tensors to a checkpoint with its layers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import Tensor

from scalekeys.checkpoints.core.adapters import not_weights, said_of_adapters
from scalekeys.checkpoints.core.arrangement import outputs_first, sparse_columns, sparse_kernels
from scalekeys.checkpoints.core.checkpoint import Checkpoint, ConvolutionLayer, has_sides, refuse_choice
from scalekeys.checkpoints.core.computed import Computed, find_computed, is_part
from scalekeys.checkpoints.core.copies import find_copies, flattened, look_alike
from scalekeys.checkpoints.core.finding import find_kernels, shapes_of_convolutions, shapes_of_kernels
from scalekeys.checkpoints.core.first_layer import OF_ONE_CHANNEL, judge_first, said_of_first
from scalekeys.checkpoints.core.found import Found
from scalekeys.checkpoints.core.inventory import TensorInfo
from scalekeys.checkpoints.core.kinds import DEPTHWISE, GROUPED, GROUPS_NOT_KNOWN, ORDINARY, Kinds, Wanted
from scalekeys.checkpoints.core.naming import layer_names, names_a_weight
from scalekeys.checkpoints.core.ordering import network_order
from scalekeys.errors import CheckpointError, listed
from scalekeys.filters import LeftOut

_Any = TypeVar("_Any")
_FEW_TENSORS = 4  # as many has a copy of a network at least


def from_state_dict(
    tensors: Mapping[str, TensorInfo],
    load: Callable[[str], Tensor],
    wanted: Wanted,
    *,
    label: str,
    model: str,
    in_network_order: bool = True,
    notes: tuple[str, ...] = (),
    entry: tuple[str, ...] = (),
) -> Checkpoint:
    """Find the convolutions of a flat dict of tensors by their shapes and names.

    Without a graph a depthwise weight is one of shape (C, 1, *sides) with C > 1 and more than one value in a kernel, or
    one of shape (rows * cols, C) as sparse convolutions have it. A transposed convolution can have that shape too and
    is read as well, unless its bias tells. Of kernels with one or three axes more is asked
    (:mod:`scalekeys.checkpoints.core.neighbours`). Weights that a module computes are computed where all parts of them
    are there. What has the shape of a kernel and is not read is in :attr:`Checkpoint.left_out`.

    `wanted`: of several copies of the network, one by the name before theirs. Grouped convolutions count as ordinary,
    as nothing tells them apart.
    `in_network_order`: whether the keys stand in the order of the network; if not they are sorted by
    :func:`network_order`.
    Raises CheckpointError if the copy that is wanted is not there.
    """
    choice, kinds = choose_copy(tensors, wanted.weights, label=label), wanted.kinds
    own, averages = choice.of(tensors), set(averages_of(tensors))
    computed = find_computed(own)
    visible = _with_computed({key: info for key, info in own.items() if key not in averages}, computed)

    def load_any(key: str) -> Tensor:
        return computed[key].value(load) if key in computed else load(key)

    names = layer_names(visible)
    if not in_network_order:
        visible = dict(sorted(visible.items(), key=lambda item: network_order(names[item[0]])))
    found = find_kernels(visible, load_any, kinds)
    layers, left_out, doubts = _judged(found, names, visible, kinds)
    return Checkpoint(
        label,
        model,
        tensors,
        layers,
        load_any,
        notes=(*notes, *choice.notes, *doubts),
        entry=entry,
        left_out=left_out,
        computed={key: weight.info for key, weight in computed.items()},
        prefix=choice.prefix,
        kinds=kinds,
        stored=load,
        ordinary=sum(one.kinds == {ORDINARY} and not one.reason for one in found) if ORDINARY not in kinds else 0,
    )


@dataclass(frozen=True)
class Choice:
    """Which of several copies of a network are read."""

    prefix: str = ""
    """What stands before the names of the chosen one, with a dot; empty where all tensors are of one network."""
    others: tuple[str, ...] = ()
    """What stands before those of the others; empty where a part of a network is chosen."""
    notes: tuple[str, ...] = ()

    def of(self, tensors: Mapping[str, _Any]) -> dict[str, _Any]:
        """Return the chosen tensors, and those that stand beside all copies."""
        if self.prefix and not self.others:
            return {key: value for key, value in tensors.items() if key.startswith(self.prefix)}
        return {key: value for key, value in tensors.items() if not key.startswith(self.others)}


def weight_keys(keys: Iterable[str]) -> list[str]:
    """Return the keys that name a weight, or a part of one that is computed, or all keys where none does.

    >>> weight_keys(["dw.weight", "dw.bias", "blur.filt"]), weight_keys(["mine"])
    (['dw.weight'], ['mine'])
    """
    every = list(keys)
    return [key for key in every if names_a_weight(key) or is_part(key)] or every


def choose_copy(tensors: Mapping[str, TensorInfo], weights: str | None, *, label: str) -> Choice:
    """Choose one of several copies of a network in a flat dict.

    `weights`: what stands before the names of the copy, or of any part of the network.
    Raises CheckpointError if `weights` is given and stands before no names.

    >>> infos = {f"{name}.dw.weight": TensorInfo((8, 1, 3, 3), "float32") for name in ("model", "ema_model")}
    >>> choose_copy(infos, None, label="net").notes
    ("weights are read from the entry 'ema_model'; the file also holds 'model' (choose with --weights)",)
    """
    kernels = shapes_of_kernels(tensors) or shapes_of_convolutions(tensors)
    copies = find_copies(kernels)
    if weights is None and not copies:
        return Choice(notes=_said_of_others(tensors, kernels))
    if weights is not None:
        ending = [name for name in copies or _parts_above(tensors) if f".{name}".endswith(f".{weights}")]
        if not ending and not copies:
            refuse_choice(label, weights)
        if not ending:
            known = listed([repr(name) for name in copies])
            raise CheckpointError(f"{label}: holds no weights {weights!r}; the file has {known}")
        name = ending[0]
    else:
        name = copies[0]
    others = tuple(other for other in copies if other != name)
    return Choice(f"{name}.", tuple(f"{other}." for other in others), (said_of_choice(name, others, "file"),))


def said_of_choice(name: str, others: Sequence[str], noun: str) -> str:
    """Say which weights are read, and what others there are.

    >>> said_of_choice("ema", ["model"], "file")
    "weights are read from the entry 'ema'; the file also holds 'model' (choose with --weights)"
    """
    also = f"; the {noun} also holds {listed([repr(other) for other in others])} (choose with --weights)"
    return f"weights are read from the entry {name!r}{also if others else ''}"


def _parts_above(tensors: Mapping[str, TensorInfo]) -> list[str]:
    """Return every name that stands before those of several tensors, shortest first."""
    parts = [key.split(".") for key in tensors]
    above = {".".join(part[:cut]): cut for part in parts for cut in range(1, len(part) - 1)}
    return sorted(above, key=lambda name: above[name])


def _said_of_others(tensors: Mapping[str, TensorInfo], kernels: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """Say what else may be a copy of the network that is read."""
    notes = []
    if averages := averages_of(tensors):
        notes.append(
            f"{len(averages)} averages are called as other tensors, without dots ({averages[0]!r}), and are not read"
        )
    alike = look_alike(kernels)
    all_of_it = {key.partition(".")[0] for key, info in tensors.items() if info.shape} == set(alike)
    numbered = any(letter.isdecimal() for name in alike for letter in name)
    if alike and all_of_it and not numbered and len(tensors) >= _FEW_TENSORS * len(alike):
        parts = listed([repr(name) for name in alike], limit=4)
        notes.append(
            f"{parts} hold kernels of the same names and shapes and all of them are read; where they are copies of one "
            "network choose one with --weights"
        )
    return tuple(notes)


def averages_of(tensors: Mapping[str, TensorInfo]) -> list[str]:
    """Return the keys of averages that have the names of other tensors without dots."""
    return flattened({key: info.shape for key, info in tensors.items()})


def _with_computed(own: Mapping[str, TensorInfo], computed: Mapping[str, Computed]) -> dict[str, TensorInfo]:
    """Put computed weights in the places of their parts."""
    weight_of = {weight.parts[0]: key for key, weight in computed.items()}
    used = {part for weight in computed.values() for part in weight.parts}
    visible: dict[str, TensorInfo] = {}
    for key, info in own.items():
        if key in weight_of:
            visible[weight_of[key]] = info
        elif key not in used:
            visible[key] = info
    return visible


def _judged(
    found: Sequence[Found], names: Mapping[str, str], visible: Mapping[str, TensorInfo], kinds: Kinds
) -> tuple[tuple[ConvolutionLayer, ...], tuple[LeftOut, ...], tuple[str, ...]]:
    """Return the layers, what is left out, and notes on what is not certain."""
    named = [key for key in visible if names_a_weight(key)] or visible
    weights = [(key, shape) for key in named if len(shape := visible[key].shape) in (2, 4)]
    first, are_ordinary = judge_first(weights)
    layers, left_out, others = [], [], not_weights(visible)
    for one in found:
        if one.key in others:
            one = Found(one.key, reason=others[one.key])
        if one.key in first and are_ordinary:
            one = replace(one, reason=OF_ONE_CHANNEL, kinds=frozenset({ORDINARY}))
        if one.arrangement is not None and one.kinds <= kinds:
            layers.append(_layer(one, names[one.key]))
        elif one.reason:
            left_out.append(LeftOut(names[one.key], visible[one.key].shape, one.reason))
    if not layers:  # so that the error of reading names the first of them and its type
        layers = [_layer(one, names[one.key]) for one in found if one.is_of_other_type]
    doubtful = [layer.name for layer in layers if layer.key in first and layer.kind == DEPTHWISE]
    doubts = (*map(said_of_first, doubtful), *_said_of_groups(visible, kinds))
    return tuple(layers), tuple(left_out), (*doubts, *said_of_adapters(visible, [layer.key for layer in layers]))


def _said_of_groups(visible: Mapping[str, TensorInfo], kinds: Kinds) -> tuple[str, ...]:
    """Say that grouped convolutions are asked for where they cannot be told from ordinary ones."""
    others = any(names_a_weight(key) and has_sides(info.shape) and info.shape[1] > 1 for key, info in visible.items())
    return (GROUPS_NOT_KNOWN,) if others and GROUPED in kinds and ORDINARY not in kinds else ()


def _layer(found: Found, name: str) -> ConvolutionLayer:
    arrangement = found.arrangement or outputs_first
    name = name.removesuffix(".kernel") if arrangement in (sparse_columns, sparse_kernels) else name
    kind = ORDINARY if ORDINARY in found.kinds else DEPTHWISE
    return ConvolutionLayer(name, found.key, arrangement=arrangement, kind=kind)
