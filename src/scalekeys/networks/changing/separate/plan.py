"""Which layers are computed axis by axis, with how many outer products."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor

from scalekeys.errors import ModelError, counted
from scalekeys.filters import LayerFilters
from scalekeys.networks.changing.separate.factors import LowRank, low_rank, most_rank
from scalekeys.networks.changing.separate.separable_conv import SeparableConv
from scalekeys.networks.changing.separate.timing import Calls, Stopwatch
from scalekeys.networks.changing.shrink import agree
from scalekeys.networks.running.computed_weight import ComputedWeight
from scalekeys.networks.running.depthwise_layers import Convolution, make_plain
from scalekeys.shapes import size_text

TOLERANCE = 0.01
"""The share of the variance of the responses of a layer, or of its energy, that may be lost by default."""

FASTER = 0.95
"""A layer is separated if it then takes at most this share of its time."""

_HALVINGS = 7
_LOWEST = 1e-4


@dataclass(frozen=True)
class Goal:
    """How many outer products each layer gets; exactly one is given."""

    rank: int | None = None
    """So many."""
    tolerance: float | None = None
    """The fewest that lose no more than this share."""
    accuracy: float | None = None
    """The same, for the largest tolerance that loses no more than so many points of top-1 accuracy."""
    time: float | None = None
    """The same, for the smallest tolerance with which the network takes no more than this share of its time."""

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise ModelError(f"give one of rank, tolerance, accuracy and time, got {', '.join(given) or 'none'}")
        for name, value in given.items():
            if not isinstance(value, Integral if name == "rank" else Real):
                raise ModelError(f"{name} is {'a whole' if name == 'rank' else 'a'} number, got {value!r}")
        if self.rank is not None and self.rank < 1:
            raise ModelError(f"rank is the number of outer products for each kernel, at least 1, got {self.rank}")
        if self.tolerance is not None and not 0 <= self.tolerance < 1:
            raise ModelError(f"tolerance is a share, at least 0 and below 1, got {self.tolerance}")
        if self.accuracy is not None and not self.accuracy >= 0:
            raise ModelError(f"accuracy is in points of top-1 that may be lost, not negative, got {self.accuracy}")
        if self.time is not None and not 0 < self.time < 1:
            raise ModelError(f"time is a share of the present time, above 0 and below 1, got {self.time}")


class Candidate:
    """A layer that may be computed axis by axis: what each number of outer products loses, and how long it takes.

    `layer`: its own, for its kind of convolution.
    `covariance`: of what it sees, where that is known.
    `stopwatch`: None for no times.
    `calls`: how often it is called with what, in one pass.
    """

    def __init__(
        self,
        filters: LayerFilters,
        layer: Convolution,
        covariance: Tensor | None,
        stopwatch: Stopwatch | None,
        calls: Calls,
    ) -> None:
        self.filters, self.layer = filters, layer
        self._covariance, self._stopwatch, self._calls = covariance, stopwatch, calls
        self._ranks: dict[int, LowRank] = {}
        self._times: dict[int, tuple[float, float] | None] = {}

    @property
    def name(self) -> str:
        """The name of the layer."""
        return self.filters.name

    def of_rank(self, rank: int) -> LowRank:
        """Return the kernels as sums of so many outer products."""
        if rank not in self._ranks:
            self._ranks[rank] = low_rank(self.filters.kernels, rank, self._covariance)
        return self._ranks[rank]

    def within(self, tolerance: float) -> LowRank | None:
        """Return the fewest outer products that lose no more than a share; None where these multiply as often."""
        tried = (self.of_rank(rank) for rank in range(1, most_rank(self.filters.size) + 1))
        return next((one for one in tried if one.loss <= tolerance), None)

    def times(self, rank: int) -> tuple[float, float] | None:
        """Return the milliseconds that the layer takes now and would take; None where no times are asked for."""
        if rank not in self._times:
            separable = SeparableConv(self.layer, self.of_rank(rank).factors)
            watch = self._stopwatch
            self._times[rank] = None if watch is None else watch.layer(self.layer, separable, self._calls)
        return self._times[rank]

    def fault(self, rank: int) -> str | None:
        """Return why the layer is not to be computed with so many outer products, as a clause; None if it is."""
        size = self.filters.size
        if rank > most_rank(size):
            return f"with {counted(rank, 'outer product')} it multiplies as often as with its {size_text(size)} kernels"
        times = self.times(rank)
        if times is not None and times[1] > FASTER * times[0]:
            runtime = "" if self._stopwatch is None else f" in {self._stopwatch.runtime}"
            return f"with {counted(rank, 'outer product')} it takes {times[1] / times[0]:.2f} of its time{runtime}"
        return None


Plan = Mapping[str, LowRank]
"""The outer products of each layer that is separated, by name."""


def planned(candidates: Sequence[Candidate], goal: Goal, tolerance: float | None) -> tuple[Plan, dict[str, str]]:
    """Choose for each layer, and tell why others are left.

    `goal`: its rank, if it has one.
    `tolerance`: in the place of a rank.
    """
    plan, left = {}, {}
    for one in candidates:
        chosen = one.of_rank(goal.rank) if goal.rank is not None else one.within(tolerance or 0.0)
        if chosen is None:
            most = most_rank(one.filters.size)
            left[one.name] = (
                f"with {counted(most, 'outer product')}, the most that multiply less often than its kernels, it loses "
                f"{100 * one.of_rank(most).loss:.2g} %"
            )
        elif fault := one.fault(chosen.rank):
            left[one.name] = fault
        else:
            plan[one.name] = chosen
    return plan, left


def loosest(fits: Callable[[float], bool], *, upwards: bool = True) -> float | None:
    """Return the largest tolerance, or the smallest, that fits, by halving on a scale of logarithms.

    `fits`: whether a tolerance will do.
    `upwards`: whether small tolerances are those that fit; otherwise large ones are. The result is within 8 % of the
    limit.

    >>> f"{loosest(lambda tolerance: tolerance < 0.1):.2f}, {loosest(lambda one: one > 0.1, upwards=False):.2f}"
    '0.09, 0.11'
    """
    low, high, best = _LOWEST, 1.0, None
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        good = fits(middle)
        best = middle if good else best
        low, high = (middle, high) if good == upwards else (low, middle)
    return best


def fault_of(filters: LayerFilters, layer: Convolution, calls: Calls | None) -> str | None:
    """Return why a layer cannot be computed axis by axis at all, as a clause; None if it can."""
    if isinstance(layer, ComputedWeight) and layer.is_separable:
        return "it is executed along one axis after the other already (sk.bake(network) has plain layers)"
    axes = len([side for side in filters.size if side > 1])
    if axes < 2:
        return "its kernels have one axis of more than one tap, so that there is nothing to separate"
    if not filters.kernels.isfinite().all():
        return "it has kernels that are not finite"
    if most_rank(filters.size) < 1:
        return "its kernels are so small that one outer product multiplies as often"
    if calls is not None and not calls:
        return "it is not called as a layer when the network runs"
    try:
        return None if _same_outputs(layer, filters) else "it computes something else than a convolution of torch"
    except ModelError as error:
        return str(error).removeprefix(f"layer {filters.name!r}: ")


def _same_outputs(layer: Convolution, filters: LayerFilters) -> bool:
    """Tell whether the separable form computes what a layer computes with kernels of rank 1."""
    draw = torch.Generator().manual_seed(0)
    sides = [side for side in filters.size if side > 1]
    factors = [torch.randn(len(filters), side, 1, generator=draw, dtype=torch.float64) for side in sides]
    whole = SeparableConv(layer, factors).to("cpu", torch.float64)
    expected = deepcopy(layer)
    make_plain(expected, filters.name)
    expected.to("cpu", torch.float64)
    with torch.no_grad():
        expected.weight.copy_(whole.kernels()[:, None])
    return agree(expected, whole, layer)
