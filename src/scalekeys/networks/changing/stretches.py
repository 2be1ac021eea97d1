"""Stretches of a network, from one depthwise layer to the next, in the original and in a changed copy side by side."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.sources.module import open_module
from scalekeys.filters import FilterBank
from scalekeys.networks.running.depthwise_layers import Convolution, copied, copy_of, depthwise_layers, make_plain
from scalekeys.networks.running.partial_run import Passage, call_order, next_layer, run_between
from scalekeys.networks.running.suspended_run import SuspendedRun

_BYTES = 2**31  # of maps that are kept between layers; batches beyond it are run from their beginning
_FEW = 2  # inputs with which the way through the network is found, and suspended runs are tried
_SAME = 1e-3  # of the largest value


class Walk:
    """All batches in the original and in the changed network, on their way from layer to layer.

    `module`: in any mode; it stays as it is.
    `bank`: its depthwise filters.
    `wanted`: the layers that are changed.
    `order`: the layers that are changed, in the order in which they are called first.
    `kernels`: their kernels in the changed network. Their memory stays where it is: runs may hold views of it.
    """

    def __init__(self, module: nn.Module, bank: FilterBank, wanted: Collection[str], batches: Sequence[Tensor]) -> None:
        original, (changed, self._layers) = copy_of(module), copied(module, bank)
        for one in (original, changed):
            one.eval().requires_grad_(False)
        self._sources = depthwise_layers(original, open_module(module))
        few = batches[0][:_FEW]
        self._calls = call_order(original, few, self._sources)
        self.order = tuple(dict.fromkeys(name for name in self._calls if name in wanted))
        self.kernels = {name: make_plain(self._layers[name], name) for name in self.order}
        self.twins = [Twin.of(original, changed, batch) for batch in batches]
        self._few, self._from_start = (Twin.of(original, changed, few) for _ in range(2))
        self._suspends = True

    def stretch_from(self, name: str) -> "Stretch | None":
        """Go on to a layer, and return the stretch to the next one.

        None if the layer is not called just once, or nothing that the network gives depends on it by its gradient.
        """
        calls, end = next_layer(self._from_start.original, self._sources[name], self._sources)
        if calls != 1 or self._calls.count(name) != 1:
            return None
        ends = (None, None) if end is None else (self._sources[end], self._layers[end])
        stretch = Stretch(name, self._sources[name], self._layers[name], *ends)
        if end is None and not stretch.passage(self._from_start, gradients=True).target.requires_grad:
            return None
        if self._suspends:
            self._few.suspend_before(self._sources[name], self._layers[name])
            self._suspends = stretch.is_same(self._few, self._from_start)
        left = _BYTES
        for twin in self.twins:
            if self._suspends:
                twin.suspend_before(self._sources[name], self._layers[name])
            left -= twin.nbytes
            if not self._suspends or left < 0:
                twin.restart()
        return stretch


@dataclass(frozen=True, eq=False)
class Twin:
    """One batch in the original and in the changed network."""

    original: SuspendedRun
    changed: SuspendedRun

    @classmethod
    def of(cls, original: nn.Module, changed: nn.Module, batch: Tensor) -> "Twin":
        """Begin with a batch in both networks."""
        return cls(SuspendedRun(original, batch), SuspendedRun(changed, batch))

    @property
    def nbytes(self) -> int:
        """The memory that is taken by what both networks hold, in bytes."""
        return self.original.nbytes + self.changed.nbytes

    def suspend_before(self, source: Convolution, layer: Convolution) -> None:
        """Suspend both runs before the same layer."""
        self.original.suspend_before(source)
        self.changed.suspend_before(layer)

    def restart(self) -> None:
        """Begin with the batch again."""
        self.original.restart()
        self.changed.restart()


@dataclass(frozen=True, eq=False)
class Stretch:
    """A layer in the original and in the changed network, and where both are compared."""

    name: str
    source: Convolution
    layer: Convolution
    source_end: Convolution | None
    layer_end: Convolution | None

    def target(self, twin: Twin) -> Tensor:
        """Return what the end sees in the original network."""
        return run_between(twin.original, self.source, self.source_end, gradients=False).target

    def passage(self, twin: Twin, *, gradients: bool) -> Passage:
        """Return what the changed network makes of a batch."""
        return run_between(twin.changed, self.layer, self.layer_end, gradients=gradients)

    def passages(self, twins: Sequence[Twin]) -> Iterator[tuple[Passage, Tensor]]:
        """Give what the changed network makes of each batch, with gradients, and what it should make of it."""
        for twin in twins:
            yield self.passage(twin, gradients=True), self.target(twin)

    def error(self, twins: Sequence[Twin], targets: Sequence[Tensor]) -> float:
        """Return the squared difference between both networks at the end."""
        return sum(
            float((self.passage(twin, gradients=False).target - target).double().square().sum())
            for twin, target in zip(twins, targets, strict=True)
        )

    def is_same(self, one: Twin, other: Twin) -> bool:
        """Tell whether two runs of a batch come to the same in both networks, and with the same gradients."""
        passages = self.passage(one, gradients=True), self.passage(other, gradients=True)
        slopes = map(_slope, passages)
        pairs = (map(self.target, (one, other)), (passage.target for passage in passages), slopes)
        return all(bool((found - known).abs().max() <= _SAME * known.abs().max()) for found, known in pairs)


def _slope(passage: Passage) -> Tensor:
    """Return the gradient of the sum of the target; zeros where no way leads there."""
    if not passage.target.requires_grad:
        return torch.zeros_like(passage.outputs)
    return torch.autograd.grad(passage.target.sum(), passage.outputs)[0]
