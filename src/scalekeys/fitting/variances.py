"""The criteria that compare widths: scales from the spread of a filter, with the centre weighted most."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from scalekeys.filters import coordinates, dc_offset, spread
from scalekeys.fitting.grids import family_grid, max_sigma, variance_nodes
from scalekeys.fitting.losses import loss_of
from scalekeys.fitting.search import Best, competed_for, families_for, search
from scalekeys.fitting.spec import FitSpec
from scalekeys.fitting.targets import Targets
from scalekeys.scalespace import FAMILIES, Family, Window, template_plan

_CONTINUOUS = {0: 2.0, 1: 2 / 3, 2: 6 / 7}
"""The variance of a continuous Gaussian, or of its derivative of that order, in units of the variance of its square."""

_NODES = 513
_NEWTON_STEPS = 12
_NO_WIDTH = 1e-9


def search_by_variance(targets: Targets, spec: FitSpec, assigned: Tensor | None = None) -> Best:
    """Find the scales of each family from widths; the families compete by what they leave unexplained.

    Parameters
    ----------
    targets : Targets
        Filters whose centred norm is 1.
    spec : FitSpec
    assigned : Tensor of int64, shape (filters,), optional
        The one family (index into those of the spec) of each filter; by default all compete.

    Notes
    -----
    What has no width is that of l2: scale and strength of `sharpen`, as in the paper, and the scale along a derivative
    of three taps.
    """
    best = Best.none(targets.taps)
    for name in families_for(targets.size, spec):
        index = spec.families.index(name)
        rows = competed_for(index, targets.taps, assigned)
        if len(rows):
            parameters, loss = _one_family(targets.select(rows), FAMILIES[name], spec)
            improved = loss < best.loss[rows]
            rows = rows[improved]
            best.family[rows], best.parameters[rows], best.loss[rows] = index, parameters[improved], loss[improved]
    return best


def _one_family(targets: Targets, model: Family, spec: FitSpec) -> tuple[Tensor, Tensor]:
    """Parameters and loss (that of l2, which the criterion itself does not have)."""
    if model.has_alpha:
        found = search(targets, replace(spec, families=(model.name,), criterion="l2"))
        return found.parameters, found.loss
    size = targets.size
    grid = family_grid(model.name, size, spec.window, common=spec.scales != "per-axis")
    variances = _variances(targets.filters, model, spec)
    if variances.isnan().any():  # no width tells this scale
        single = replace(spec, families=(model.name,), criterion="l2", scales="per-axis")
        variances = torch.where(variances.isnan(), search(targets, single).parameters, variances)
    parameters = common_variance(variances, size) if grid.common else variances
    index = torch.arange(len(targets), device=parameters.device)
    return parameters, loss_of(spec)(targets, grid).at(index, parameters)


def common_variance(variances: Tensor, size: tuple[int, int]) -> Tensor:
    """Geometric mean of the variances (x, y) of each filter, twice; an axis of one tap does not count."""
    seen = [axis for axis, taps in enumerate(reversed(size)) if taps > 1] or [0]
    mean = variances[:, seen].log().mean(-1).exp()
    return torch.stack([mean, mean], dim=-1)


def _variances(filters: Tensor, model: Family, spec: FitSpec) -> Tensor:
    """``(t_x, t_y)`` of one family from the weighted spread of each filter."""
    size = (filters.shape[1], filters.shape[2])
    weight = _widths_weight(model, size, spec.window).to(filters)
    if model.order == (0, 0):
        filters = filters - dc_offset(filters)[:, None, None]
    measured = spread(filters, weight=weight).covariance.diagonal(dim1=-2, dim2=-1)
    if spec.criterion == "variance-continuous":
        ratio = torch.tensor([_CONTINUOUS[order] for order in model.order], dtype=torch.float64).to(measured)
        return (measured * ratio).clamp(max=max_sigma(size) ** 2)
    return torch.stack([_inverse(measured[:, axis], axis, model, size, spec.window) for axis in (0, 1)], dim=-1)


def _widths_weight(model: Family, size: tuple[int, int], window: Window) -> Tensor:
    """Absolute values of the template at scale 1."""
    return template_plan(model.name, size, window)(torch.ones(1, 2, dtype=torch.float64))[0, 0, 0].abs()


def _inverse(measured: Tensor, axis: int, model: Family, size: tuple[int, int], window: Window) -> Tensor:
    """Variance t at which the template is as wide along an axis as was measured; the nearest where none is.

    NaN where the width does not depend on t, as that of a centred difference on three taps. A table brackets the first
    crossing, and Newton's method inside the bracket, safeguarded by bisection, refines it.
    """
    limit = max_sigma(size) ** 2
    nodes = variance_nodes(_NODES, limit).to(measured)
    width = _width(axis, model, size, window)
    table = width(nodes)[0]
    if float(table.max() - table.min()) < _NO_WIDTH:
        return torch.full_like(measured, torch.nan)
    above = table >= measured[:, None]
    crossing = above[:, 1:] != above[:, :-1]
    bracket = crossing.long().argmax(-1)
    low, high = nodes[bracket], nodes[bracket + 1]
    rising = above.gather(-1, bracket[:, None] + 1)[:, 0]
    t = (low + high) / 2
    for _ in range(_NEWTON_STEPS):
        value, slope = width(t)
        right = (value < measured) == rising
        low, high = torch.where(right, t, low), torch.where(right, high, t)
        step = t + (measured - value) / slope
        t = torch.where((step >= low) & (step <= high), step, (low + high) / 2)
    nearest = nodes[(table - measured[:, None]).abs().argmin(-1)]
    return torch.where(crossing.any(-1), t, nearest)


def _width(
    axis: int, model: Family, size: tuple[int, int], window: Window
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Return the weighted variance of the template along an axis, and its derivative, as a function of t there.

    Templates and weights are separable, so that the scale along the other axis, which is 1, does not matter.
    """
    grid, weight = family_grid(model.name, size, window), _widths_weight(model, size, window)
    position = coordinates(*size, like=weight)[axis]
    moments = torch.stack([weight, weight * position, weight * position.square()]).flatten(1)

    def width(t: Tensor) -> tuple[Tensor, Tensor]:
        parameters = torch.ones(len(t), 2, dtype=t.dtype, device=t.device)
        parameters[:, axis] = t
        templates = grid.plan(parameters, order=2)[:, [0, 1 + axis], 0].flatten(2)
        signs = templates[:, :1].sign()
        mass, first, second = (signs * templates @ moments.T.to(t)).unbind(-1)  # each with its derivative
        mean, mean_slope = first[:, 0] / mass[:, 0], _ratio_slope(first, mass)
        return second[:, 0] / mass[:, 0] - mean.square(), _ratio_slope(second, mass) - 2 * mean * mean_slope

    return width


def _ratio_slope(above: Tensor, below: Tensor) -> Tensor:
    """Return the derivative of a ratio of two functions that are given with theirs: shape (..., 2)."""
    return (above[..., 1] - above[..., 0] / below[..., 0] * below[..., 1]) / below[..., 0]
