"""Which numbers a layer of modelled filters consists of, and how its kernels are made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.networks.constrained.fitted_filters import FittedFilters, has_two_scales
from scalekeys.networks.constrained.learned_scales import from_log, log_parameter
from scalekeys.scalespace import DIFFERENCES, IMPULSE, Discretization, Window
from scalekeys.shapes import Size

Tie: TypeAlias = Literal["none", "filter", "layer", "network"]
TIES: tuple[Tie, ...] = get_args(Tie)
WIDE_TIES = ("layer", "network")
"""The ties under which all filters of a layer have one scale."""

_FIXED = -1
_OPERATORS = (*DIFFERENCES, IMPULSE)


@dataclass(frozen=True, eq=False)
class LayerTerms:
    """Outer products of one profile for each axis, of which filters are sums."""

    kernel: Int[Tensor, "terms"]
    """At the scales of which kernel each is taken: that of the filter that it belongs to, or the second one of that."""
    operators: Int[Tensor, "axes terms"]
    """Along (x, y, z)."""
    coefficient: Int[Tensor, "terms"]
    """The coefficient that multiplies it."""
    weight: Float[Tensor, "terms"]
    """A constant factor."""

    @classmethod
    def joined(cls, parts: Sequence["LayerTerms"]) -> "LayerTerms":
        """Put lists of terms one after another."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts], dim=-1) for field in fields(cls)))


@dataclass(frozen=True, eq=False)
class ParameterLayout:
    """The modelled filters of a layer."""

    size: Size
    window: Window
    discretization: Discretization
    rows: Int[Tensor, "filters"]
    """Which filters of the layer these are."""
    scale: Int[Tensor, "axes parts"]
    """Which scale parameter each part of a filter has along (x, y, z), or beyond these, along an axis of one tap,
    which fixed variance. The first parts of all filters stand first."""
    further: Int[Tensor, "more"]
    """Which filter the other parts are added to; see :func:`scalekeys.networks.constrained.joined_layouts.split`."""
    variances: Float[Tensor, "scales"]
    fixed: Float[Tensor, "fixed"]
    """Along one tap a scale is but a factor, so that it stays as it was fitted."""
    two_scales: Int[Tensor, "pairs"]
    """Which of the filters have a second kernel, of a larger scale; it follows the kernels of the filters."""
    gap: Int[Tensor, "pairs"]
    """Which gap parameter each of them has."""
    gaps: Float[Tensor, "gaps"]
    operators: tuple[str, ...]
    """Those that occur, the unit impulse among them."""
    terms: LayerTerms
    coefficients: Float[Tensor, "coefficients"]
    owner: Int[Tensor, "coefficients"]
    """The filter of each coefficient."""
    offset: Float[Tensor, "filters"]
    """The mean of each filter."""

    @property
    def kernels(self) -> int:
        """How many kernels there are, those of all parts and the second ones."""
        return self.scale.shape[1] + len(self.two_scales)


def layout_of(filters: FittedFilters, rows: Tensor, tie: Tie) -> ParameterLayout:
    """Lay out the numbers of some filters of a layer.

    `filters`: of finite scales.
    `rows`: where they stand in their layer.
    `tie`: which scales are one parameter; those of a network are tied by the caller.
    """
    two_scales = filters.has_gap.nonzero()[:, 0]
    scale, variances, fixed = _tied(_scale_labels(filters, tie), filters.variances.T)
    gap, gaps, _ = _tied(torch.zeros_like(two_scales) if tie in WIDE_TIES else two_scales, filters.gaps[two_scales])
    terms, operators = _compressed(_terms(filters, two_scales))
    return ParameterLayout(
        size=filters.size,
        window=filters.window,
        discretization=filters.discretization,
        rows=rows,
        scale=scale,
        further=rows[:0],
        variances=variances,
        fixed=fixed,
        two_scales=two_scales,
        gap=gap,
        gaps=gaps,
        operators=operators,
        terms=terms,
        coefficients=filters.weights[filters.used],
        owner=filters.used.nonzero()[:, 0],
        offset=filters.models.flatten(1).mean(1),
    )


def geometric_mean(variances: Float[Tensor, "scales"]) -> Float[Tensor, "1"]:
    """Return the mean of variances in their logarithmic parameter, where 0 is a number like any other.

    >>> geometric_mean(torch.tensor([0.0, 0.35]))
    tensor([0.0914])
    """
    return from_log(log_parameter(variances).mean(0, keepdim=True))


def _scale_labels(filters: FittedFilters, tie: Tie) -> Tensor:
    """Return a label for each axis and filter, shape (axes, filters), equal where one scale serves; -1 if it is fixed.

    An axis of one tap has no scale that can be seen, unless it shares the scale of another axis.
    """
    axes, count = len(filters.size), len(filters)
    families = filters.families
    groups = torch.tensor([own.parametrization.groups or (0,) * axes for own in families])[filters.family].T
    taps = torch.tensor(filters.size[::-1])[:, None]
    seen = ((groups[:, None] == groups) & (taps > 1)).any(1)
    if tie in WIDE_TIES:
        labels = torch.zeros(axes, count, dtype=torch.long)
    else:
        labels = torch.arange(count) + count * (groups if tie == "none" else torch.zeros_like(groups))
    return torch.where(seen, labels, _FIXED)


def _tied(labels: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return labels numbered from 0, for each the mean of its values, and the values that are fixed, numbered after."""
    wanted = labels != _FIXED
    known, index = torch.unique(labels[wanted], return_inverse=True)
    sums = values.new_zeros(len(known)).index_add_(0, index, log_parameter(values[wanted]))
    means = from_log(sums / torch.bincount(index, minlength=len(known)))
    fixed = values[~wanted]
    numbers = torch.empty_like(labels)
    numbers[wanted], numbers[~wanted] = index, len(known) + torch.arange(len(fixed))
    return numbers, means, fixed


def _terms(filters: FittedFilters, two_scales: Tensor) -> LayerTerms:
    """Return the terms of all filters."""
    place = filters.used.flatten().cumsum(0).view_as(filters.used) - 1
    found = []
    for family, members in filters.members():
        for number, component in enumerate(family.components):
            rows = members[filters.used[members, number]]
            second = len(filters) + torch.searchsorted(two_scales, rows)
            for term in component:
                operators = torch.tensor([_OPERATORS.index(name) for name in term.operators])
                found.append(
                    LayerTerms(
                        kernel=second if number and has_two_scales(family) else rows,
                        operators=operators[:, None].expand(-1, len(rows)),
                        coefficient=place[rows, number],
                        weight=torch.full_like(rows, term.weight, dtype=torch.float64),
                    )
                )
    return LayerTerms.joined(found)


def _compressed(terms: LayerTerms) -> tuple[LayerTerms, tuple[str, ...]]:
    """Return terms with numbers of the operators that occur, and the names of these."""
    used, numbers = torch.unique(terms.operators, return_inverse=True)
    return replace(terms, operators=numbers), tuple(_OPERATORS[number] for number in used)
