"""Networks without their dead filters, and with the same outputs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.sources.module import open_module
from scalekeys.errors import ModelError
from scalekeys.networks.measuring.same_outputs import Reference, multiplications, parameter_count
from scalekeys.networks.pruning.dead_filters import DeadFilter, dead_filters
from scalekeys.networks.pruning.exported import Exported, exported
from scalekeys.networks.pruning.following import channels_of
from scalekeys.networks.pruning.removal import Removal, reduced_state, removal
from scalekeys.networks.pruning.resized import resized
from scalekeys.networks.running.batches import Batch, Batches, inputs_of
from scalekeys.networks.running.depthwise_layers import copy_of, depthwise_layers
from scalekeys.optional import in_short

TOLERANCE = 1e-5
"""By which share of the largest output the outputs of a pruned network may differ."""

MULTIPLE = 8
"""Of which number widths stay multiples: onnxruntime has its fastest convolutions for blocks of 8 channels."""


@dataclass(frozen=True)
class LayerSize:
    """The outputs of a layer before and after."""

    layer: str
    before: int
    after: int


@dataclass(frozen=True, eq=False)
class Pruning:
    """A network without dead filters.

    Parameters
    ----------
    module : nn.Module
        Of the same class as the network, with smaller layers.
    filters : tuple of int
        Depthwise filters before and after.
    dead : tuple of DeadFilter
        All that were found.
    left : dict
        Why a dead filter was left, for those that were.
    sizes : tuple of LayerSize
        The layers that lost channels.
    parameters, multiplications : tuple of int
        Before and after; multiplications of convolutions, linear layers and products of matrices for one input.
    difference : float
        The largest difference of an output, as a share of the largest output, over the example, two batches of random
        numbers and the images.
    """

    module: nn.Module
    filters: tuple[int, int]
    dead: tuple[DeadFilter, ...]
    left: dict[DeadFilter, str]
    sizes: tuple[LayerSize, ...]
    parameters: tuple[int, int]
    multiplications: tuple[int, int]
    difference: float

    @property
    def removed(self) -> int:
        """How many dead filters were removed."""
        return len(self.dead) - len(self.left)

    @property
    def reasons(self) -> dict[str, int]:
        """How many dead filters were left for each reason, the most frequent first."""
        return dict(Counter(self.left.values()).most_common())

    @property
    def why_none(self) -> str:
        """Why no dead filter was removed, in words."""
        left = "; ".join(f"{count} stay, because {reason}" for reason, count in self.reasons.items())
        return left or "none is dead"

    def __repr__(self) -> str:
        (before, after), (many, fewer) = self.parameters, self.multiplications
        return (
            f"Pruning({self.removed} of {len(self.dead)} dead filters removed, {before} to {after} parameters, "
            f"{many} to {fewer} multiplications, outputs differ by {self.difference:.1e})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the figures, with the reason for each filter that was left."""
        dead = [asdict(one) | {"left": self.left.get(one)} for one in self.dead]
        figures = {name: getattr(self, name) for name in ("filters", "parameters", "multiplications", "difference")}
        return figures | {"removed": self.removed, "dead": dead, "sizes": [asdict(size) for size in self.sizes]}


def prune_dead(
    module: nn.Module,
    example: Batch,
    *,
    images: Batches | None = None,
    multiple_of: int = MULTIPLE,
    tolerance: float = TOLERANCE,
    seed: int = 0,
) -> Pruning:
    """Remove the dead depthwise filters of a network whose outputs then stay the same.

    Parameters
    ----------
    module : nn.Module
        It stays as it is. Data-parallel and compiled wrappers around it are left off in the result.
    example : Tensor
        A batch of inputs (batch, channels, *sides), in any form that data loaders give. Outputs are compared on it and
        on two batches of random numbers between its smallest and its largest value.
    images : iterable, optional
        Batches of preprocessed inputs, without labels. Filters whose outputs are the same for all of them, and for
        random numbers, are dead as well, and outputs are compared on them.
    multiple_of : int
        The largest divisor that the width of a layer (its number of channels) has in common with this number, the width
        keeps: as many dead channels stay as this needs. With 8 a width of 48 stays a multiple of 8, and one of 18 even;
        with 1 all dead channels go. onnxruntime has its fastest convolutions for whole blocks of channels.
    tolerance : float
        By which share of the largest output the outputs may differ.
    seed : int
        Of the random numbers on which outputs are compared.

    Returns
    -------
    Pruning
        Its ``module`` is a copy with smaller layers, in the modes of training and evaluation of the original.

    Raises
    ------
    CheckpointError
        If the network cannot be read.
    ModelError
        If the network does not run on the inputs, or is not in float32 or float64, or gives other outputs each time, or
        torch cannot record its operations, or an option is out of its range.

    Notes
    -----
    A dead filter gives a constant, its bias, which a batch norm and an activation turn into another constant. This
    constant is added to the bias of the layer that sums over the channels, or taken from the running mean of the batch
    norm behind it. The filter, its entries in the batch norms, and the outputs of the layer before that belong to it
    are removed. A filter is left, and the reason is said, where the channel is not constant for everything that uses
    it: it is added to another one, scaled by squeeze-and-excitation, normalised together with others, rearranged, an
    output, or not zero where a layer pads it with zeros. Some that could go are left for ``multiple_of``, the last ones
    of their layer.

    Outputs are the same in evaluation mode. What would change them by more than the tolerance is left.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    >>> network[1].weight.data[2:5] = 0
    >>> pruning = prune_dead(network, torch.zeros(1, 3, 9, 9), multiple_of=1)
    >>> pruning.removed, pruning.parameters, pruning.module[1]
    (3, (130, 82), Conv2d(5, 5, kernel_size=(3, 3), stride=(1, 1), groups=5))
    """
    if isinstance(multiple_of, bool) or not isinstance(multiple_of, int) or multiple_of < 1:
        raise ModelError(f"multiple_of is a whole number, 1 or more, got {multiple_of!r}")
    if not tolerance >= 0:
        raise ModelError(f"tolerance is a share of the largest output and not negative, got {tolerance}")
    network = copy_of(module)
    _check_precision(network)
    opened = open_module(network)
    inputs = next(inputs_of(example if isinstance(example, Tensor) else [example], network))
    more = [] if images is None else list(filter(len, inputs_of(images, network)))
    reference = Reference(network, inputs, more, seed)
    dead = dead_filters(network, opened, None if images is None else reference.inputs)
    trial = _Trial(network, opened, exported(network, inputs), reference, tolerance)
    kept, found, small, faults = trial.without(dead)
    if multiple_of > 1:  # afterwards, so that no filter is blamed for those that go with it only
        kept, found, small, further = replace(trial, multiple_of=multiple_of).without(kept)
        faults |= further
    left = _reasons(kept, found, trial.keys) | faults
    return Pruning(
        small,
        (_filters(network, opened), _filters(small, opened)),
        tuple(dead),
        {one: left[one] for one in dead if one in left},
        _sizes(network, small),
        (parameter_count(network), parameter_count(small)),
        (multiplications(network, inputs), multiplications(small, inputs)),
        reference.difference(small),
    )


@dataclass(frozen=True, eq=False)
class _Trial:
    """A network, and what tells whether its outputs stay the same without some of its filters."""

    network: nn.Module
    opened: Checkpoint
    graph: Exported
    reference: Reference
    tolerance: float
    multiple_of: int = 1

    @property
    def keys(self) -> dict[str, str]:
        """The names of the depthwise weights by layer."""
        return {layer.name: layer.key for layer in self.opened.layers}

    def removed(self, dead: Iterable[DeadFilter]) -> tuple[Removal, nn.Module]:
        """Return the network without some dead filters, as far as they can be removed."""
        layers, constants = depthwise_layers(self.network, self.opened), {}
        for layer, filters in groupby(dead, key=lambda one: one.layer):
            values = torch.full((layers[layer].out_channels,), torch.nan, dtype=torch.float64)
            for one in filters:
                values[one.channel] = one.constant
            constants[self.keys[layer]] = values
        found = removal(channels_of(self.graph, constants), self.multiple_of)
        return found, resized(self.network, reduced_state(found))

    def without(self, dead: Sequence[DeadFilter]) -> tuple[list[DeadFilter], Removal, nn.Module, dict[DeadFilter, str]]:
        """Return the filters without which outputs stay the same, the network without them, and faults of the others.

        All are tried at once, and halves of those that cannot go.
        """
        order = {one: number for number, one in enumerate(dead)}
        kept: list[DeadFilter] = []
        faults: dict[DeadFilter, str] = {}
        best = self.removed(kept)
        waiting = [list(dead)] if dead else []
        while waiting:
            some = waiting.pop()
            more = sorted([*kept, *some], key=order.__getitem__)
            found, small = self.removed(more)
            fault = self._fault(small)
            if fault is None:
                kept, best = more, (found, small)
            elif len(some) == 1:
                faults[some[0]] = fault
            else:
                waiting += [some[len(some) // 2 :], some[: len(some) // 2]]
        return kept, *best, faults

    def _fault(self, small: nn.Module) -> str | None:
        try:
            difference = self.reference.difference(small)
        except Exception as error:  # whatever the network raises
            return f"the network does not run without it ({in_short(error.__cause__ or error)})"
        if difference <= self.tolerance:
            return None
        return f"the outputs would differ by {difference:.1e} of the largest one"


def _check_precision(network: nn.Module) -> None:
    half = {str(one.dtype) for one in network.parameters() if one.is_floating_point() and one.dtype.itemsize < 4}
    if half:
        raise ModelError(f"the network has parameters of type {', '.join(sorted(half))}; prune it in float32")


def _reasons(dead: Iterable[DeadFilter], found: Removal, keys: dict[str, str]) -> dict[DeadFilter, str]:
    unread = "the layer is not called as a layer of its own with weights of its own"
    left = {}
    for one in dead:
        reasons = found.reasons(keys[one.layer])
        reason = reasons[one.channel] if reasons else unread
        if reason is not None:
            left[one] = reason
    return left


def _filters(network: nn.Module, opened: Checkpoint) -> int:
    return sum(layer.out_channels for layer in depthwise_layers(network, opened).values())


def _sizes(before: nn.Module, after: nn.Module) -> tuple[LayerSize, ...]:
    sizes: list[LayerSize] = []
    for name, layer in before.named_modules():
        weight = layer._parameters.get("weight")
        if weight is not None:
            now = len(after.get_parameter(f"{name}.weight".removeprefix(".")))
            sizes += [LayerSize(name, len(weight), now)] if now < len(weight) else []
    return tuple(sizes)
