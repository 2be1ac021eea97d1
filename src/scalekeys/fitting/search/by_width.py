"""The criteria that compare widths: scales from the spread of a filter, with the centre weighted most."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from scalekeys.filters import coordinates as positions
from scalekeys.filters import dc_offset, spread
from scalekeys.fitting.losses.table import loss_of
from scalekeys.fitting.prepare import Targets
from scalekeys.fitting.search.families import Best, competed_for, grids_for, parameters_of, search, tie_break
from scalekeys.fitting.spec import FitSpec
from scalekeys.fitting.templates.grid import FamilyGrid, family_grid, widest
from scalekeys.scalespace import AxisScales, families, place_of, variance_at
from scalekeys.shapes import kernel_dims

_NODES = 513
_NEWTON_STEPS = 12
_NO_WIDTH = 1e-9


def search_by_width(targets: Targets, spec: FitSpec, assigned: Tensor | None = None) -> Best:
    """Find the scales of each family from widths; the families compete by what they leave unexplained.

    `targets`: filters whose centred norm is 1.
    `assigned`: shape (filters,); the one family (index into those of the spec) of each filter; by default all compete.

    What has no width is that of l2: scale and strength of `sharpen`, as in the paper, and the scale along a derivative
    of three taps.
    """
    best = Best.none(targets.taps, parameters_of(targets.size, spec))
    lowest = best.loss.clone()
    for name, grid in grids_for(targets.size, spec).items():
        index = spec.families.index(name)
        rows = competed_for(index, targets.taps, assigned)
        if len(rows):
            found, loss = _one_family(targets.select(rows), grid, spec)
            ranked = loss + tie_break(grid.family)
            improved = ranked < lowest[rows]
            lowest[rows[improved]] = ranked[improved]
            best.take(rows[improved], index, found[improved], loss[improved])
    return best


def _one_family(targets: Targets, grid: FamilyGrid, spec: FitSpec) -> tuple[Tensor, Tensor]:
    """Coordinates and loss (that of l2, which the criterion itself does not have)."""
    name = grid.family.name
    if not isinstance(grid.family.parametrization, AxisScales):
        found = search(targets, replace(spec, families=(name,), criterion="l2"))
        return found.coordinates, found.loss
    size = targets.size
    alone = family_grid(families(len(size))[name], size, spec.window)  # with a scale for each axis
    places = _places(targets.filters, alone, spec)
    if places.isnan().any():  # no width tells this scale
        single = replace(spec, families=(name,), criterion="l2", scales="per-axis")
        places = torch.where(places.isnan(), search(targets, single).coordinates, places)
    if grid.common:
        places = place_of(common_variance(variance_at(places, grid.bend), size), grid.bend)[:, None]
    index = torch.arange(len(targets), device=places.device)
    return places, loss_of(spec)(targets, grid).at(index, places)


def common_variance(variances: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the geometric mean of the variances of the axes of each filter; an axis of one tap does not count."""
    seen = [axis for axis, taps in enumerate(reversed(size)) if taps > 1] or [0]
    mean: Tensor = variances[:, seen].log().mean(-1).exp()
    return mean


def _places(filters: Tensor, grid: FamilyGrid, spec: FitSpec) -> Tensor:
    """Coordinates of the scale along each axis from the weighted spread of each filter, shape (n, axes)."""
    size, axes = grid.size, len(grid.size)
    weight = _widths_weight(grid).to(filters)
    if not any(grid.family.order):
        filters = filters - dc_offset(filters, axes=axes).reshape(-1, *(1,) * axes)
    centred = any(grid.family.order) and spec.normalization == "affine"  # the moments keep the mean of a derivative
    if centred:
        filters = filters - filters.mean(kernel_dims(axes), keepdim=True)
    measured = spread(filters, weight=weight, axes=axes).covariance.diagonal(dim1=-2, dim2=-1)
    if spec.criterion == "variance-continuous":
        ratio = measured.new_tensor([continuous_ratio(order) for order in grid.family.order])
        return place_of((measured * ratio).clamp(max=widest(size)), grid.bend)
    return torch.stack([_inverse(measured[:, axis], axis, grid, centred=centred) for axis in range(axes)], dim=-1)


def continuous_ratio(order: int) -> float:
    """Return the variance of a Gaussian in units of that of the square of its derivative of an order.

    Such a derivative is a Hermite polynomial times the Gaussian, and the moments of ``exp(-x^2)`` of even orders k are
    in proportion to ``(k - 1)!! / 2^(k/2)``.

    >>> [round(continuous_ratio(order), 4) for order in range(3)]
    [2.0, 0.6667, 0.8571]
    """
    hermite = np.polynomial.hermite_e.herme2poly([0] * order + [1])
    squared = np.polynomial.polynomial.polymul(hermite, hermite)[::2]
    moments = np.cumprod([1, *(np.arange(1, 2 * len(squared), 2) / 2)])
    return float(squared @ moments[:-1] / (squared @ moments[1:]))


def _at_one(grid: FamilyGrid, count: int) -> Tensor:
    """Coordinates of scale 1 along every axis, shape (axes, count)."""
    one = place_of(torch.ones((), dtype=torch.float64), grid.bend)
    return one.expand(len(grid.size), count).clone()


def _widths_weight(grid: FamilyGrid) -> Tensor:
    """Absolute values of the template at scale 1."""
    return grid.plan(_at_one(grid, 1).T)[0, 0].abs().reshape(grid.size)


def _inverse(measured: Tensor, axis: int, grid: FamilyGrid, *, centred: bool) -> Tensor:
    """Coordinate at which the template is as wide along an axis as was measured; the nearest where none is.

    NaN where the width does not depend on the scale, as that of a centred difference on three taps. A table brackets
    the first crossing, and Newton's method inside the bracket, safeguarded by bisection, refines it.
    """
    nodes = torch.linspace(0, float(grid.bounds(0.0)[1][axis]), _NODES, dtype=torch.float64).to(measured)
    width = _width(axis, grid, centred=centred)
    table = width(nodes)[0]
    if float(table.max() - table.min()) < _NO_WIDTH:
        return torch.full_like(measured, torch.nan)
    above = table >= measured[:, None]
    crossing = above[:, 1:] != above[:, :-1]
    bracket = crossing.long().argmax(-1)
    low, high = nodes[bracket], nodes[bracket + 1]
    rising = above.gather(-1, bracket[:, None] + 1)[:, 0]
    place = (low + high) / 2
    for _ in range(_NEWTON_STEPS):
        value, slope = width(place)
        right = (value < measured) == rising
        low, high = torch.where(right, place, low), torch.where(right, high, place)
        step = place + (measured - value) / slope
        place = torch.where((step >= low) & (step <= high), step, (low + high) / 2)
    nearest = nodes[(table - measured[:, None]).abs().argmin(-1)]
    return torch.where(crossing.any(-1), place, nearest)


def _width(axis: int, grid: FamilyGrid, *, centred: bool) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return the weighted variance of the template along an axis, and its slope, as a function of the coordinate there.

    The scale along the other axes is 1. It does not matter where templates, and weights, are separable, which one less
    its mean is not.
    """
    weight = _widths_weight(grid)
    position = positions(*grid.size, like=weight)[axis]
    moments = torch.stack([weight, weight * position, weight * position.square()]).flatten(1)

    def width(place: Tensor) -> tuple[Tensor, Tensor]:
        coordinates = _at_one(grid, len(place)).to(place)
        coordinates[axis] = place
        templates = grid.true_whole(coordinates)[[0, 1 + axis], 0].movedim(-1, 0)  # (n, 2, taps)
        templates = templates - templates.mean(-1, keepdim=True) if centred else templates
        signs = templates[:, :1].sign()
        mass, first, second = (signs * templates @ moments.T.to(place)).unbind(-1)  # each with its derivative
        mean, mean_slope = first[:, 0] / mass[:, 0], _ratio_slope(first, mass)
        return second[:, 0] / mass[:, 0] - mean.square(), _ratio_slope(second, mass) - 2 * mean * mean_slope

    return width


def _ratio_slope(above: Tensor, below: Tensor) -> Tensor:
    """Return the derivative of a ratio of two functions that are given with theirs: shape (..., 2)."""
    return (above[..., 1] - above[..., 0] / below[..., 0] * below[..., 1]) / below[..., 0]
