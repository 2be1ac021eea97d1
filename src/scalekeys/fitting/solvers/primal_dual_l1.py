"""Least absolute differences over scales and linear unknowns, for many filters at once. Problems are the last axis."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scalekeys.fitting.solvers.box_newton import box_step
from scalekeys.fitting.solvers.small_linear import Factors
from scalekeys.fitting.templates.residuals import Moving, Residuals

_AT_ONCE = 8_192  # problems; bounds the memory
_SHRINK = 0.1
_INSIDE = 1 - 1e-9
_SMALLEST_RESIDUAL = 1e-3
_SMALLEST_RADIUS = {torch.float32: 1e-5, torch.float64: 1e-12}
_COMPACTION = 0.2
_ROUNDING = 4


@dataclass(frozen=True)
class Schedule:
    """How far to go."""

    first: float
    last: float
    """`first` and `last`: the eps of ``sqrt(r^2 + eps^2)`` at the start and at the end."""
    steps: int
    """The most steps."""
    enough: float
    """In units of the last eps: a smaller descent is not worth another step."""
    reweighted: int = 0
    """Steps of reweighted least squares, at the scales of the start, that find the linear unknowns beforehand; with
    none they are those of the start."""


@dataclass(eq=False)
class _Path:
    """The problems still at work, with unknowns u of which the first are bounded."""

    index: Tensor
    trust: Tensor
    u: Tensor
    eps: Tensor
    value: Tensor
    residual: Tensor
    multipliers: Tensor
    tips: Tensor
    gradient: Tensor
    hessian: Tensor

    def select(self, keep: Tensor) -> "_Path":
        return _Path(**{name: tensor.index_select(-1, keep) for name, tensor in vars(self).items()})

    def replaced(self, where: Tensor, other: "_Path") -> "_Path":
        """Return the other state where it is wanted, but its trust radius everywhere."""
        if bool(where.all()):
            return other
        mixed = {name: torch.where(where, value, getattr(self, name)) for name, value in vars(other).items()}
        return _Path(**mixed | {"trust": other.trust})


def descend(
    residuals: Residuals, start: Tensor, lower: Tensor, upper: Tensor, schedule: Schedule
) -> tuple[Tensor, Tensor]:
    r"""Follow the optimum of ``sum of sqrt(r^2 + eps^2)`` as eps falls.

    `start`: shape (p, n); single precision is enough for an eps of 3e-4.
    `lower`, `upper`: shape (parameters,); bounds of the first unknowns, the search coordinates.
    `value`: shape (n,); the smoothed sum at the last eps.

    Each step is one of Newton's method on the optimality conditions with multipliers w, ``sum of w dr = 0`` and
    ``w sqrt(r^2 + eps^2) = r`` (Chan, Golub, Mulet, SIAM J. Sci. Comput. 20, 1999). Eliminating w leaves a step in the
    parameters for which a residual bends by :math:`(1 - w r / \tau) / \tau` with :math:`\tau = \sqrt{r^2 +
    \epsilon^2}`; unlike the second derivative :math:`\epsilon^2 / \tau^3` it stays in proportion when eps falls, so
    that each problem may lower its own eps tenfold as soon as a step promises less descent than eps.

    A step is taken where it descends; its radius is that of the bounded unknowns alone. Before it is looked at,
    the linear unknowns follow the bend of the model: the valleys of the sum are narrow and curved.
    """
    found, values = torch.empty_like(start), torch.empty_like(start[0])
    with torch.inference_mode():
        for index in torch.arange(start.shape[1], device=start.device).split(_AT_ONCE):
            part = residuals.select(index)
            found[:, index], values[index] = _descend(part, start[:, index], lower[:, None], upper[:, None], schedule)
    return found, values


def _descend(
    residuals: Residuals, start: Tensor, lower: Tensor, upper: Tensor, schedule: Schedule
) -> tuple[Tensor, Tensor]:
    path = _begin(residuals, start, lower, upper, schedule)
    final_u, final_value = path.u.clone(), path.value.clone()
    for _ in range(schedule.steps):
        step = _step(path, lower, upper)
        promised = -(path.gradient * step).sum(0)
        done = (path.eps <= schedule.last) & (promised < schedule.enough * schedule.last)
        done |= path.trust < _SMALLEST_RADIUS[start.dtype]
        ended, left = done.nonzero()[:, 0], (~done).nonzero()[:, 0]
        if len(ended):
            final_u[:, path.index[ended]], final_value[path.index[ended]] = _ends(path.select(ended), schedule.last)
        if len(left) == 0:
            break
        if len(left) < (1 - _COMPACTION) * len(done):
            path, residuals, step, promised = path.select(left), residuals.select(left), step[:, left], promised[left]
        path = _moved(path, residuals, step, promised, schedule.last, lower, upper)
    if len(left):
        final_u[:, path.index], final_value[path.index] = _ends(path, schedule.last)
    return final_u, final_value


def _ends(path: _Path, last: float) -> tuple[Tensor, Tensor]:
    """Return where problems are, and the sum at the last eps, also of those that have not come to it."""
    return path.u, torch.sqrt(path.residual.square() + last**2).sum(0)


def _begin(residuals: Residuals, start: Tensor, lower: Tensor, upper: Tensor, schedule: Schedule) -> _Path:
    count = len(lower)
    bounded = torch.maximum(torch.minimum(start[:count], upper), lower)
    moving = residuals.moving(bounded)
    u = torch.cat([bounded, start[count:]])
    if schedule.reweighted and residuals.units is not None:
        u = _reweighted(residuals, u, moving, schedule.reweighted)
    eps = torch.full_like(start[0], schedule.first)
    residual = residuals(u, moving)
    tips = torch.sqrt(residual * residual + eps * eps)
    slope = residual / tips
    gradient, hessian = residuals.derivatives(u, moving, slope, (1 - slope * slope) / tips, slope)
    index = torch.arange(len(eps), device=eps.device)
    return _Path(index, torch.ones_like(eps), u, eps, tips.sum(0), residual, slope, tips, gradient, hessian)


def _moved(
    path: _Path, residuals: Residuals, step: Tensor, promised: Tensor, last: float, lower: Tensor, upper: Tensor
) -> _Path:
    """Take the steps that descend; where a step promises little, with a lower eps from now on."""
    count = len(lower)
    length = step[:count].abs().amax(0)
    share = (path.trust / length.clamp(min=torch.finfo(step.dtype).tiny)).clamp(max=1.0)
    u = path.u + step * share
    u[:count] = torch.maximum(torch.minimum(u[:count], upper), lower)
    moving = residuals.moving(u[:count])
    slope = path.residual / path.tips
    bend = (1 - path.multipliers * slope) / path.tips
    residual = residuals(u, moving)
    if residuals.units is not None:
        ahead = torch.addcmul(slope, bend, residual - path.residual)
        matrix, right = residuals.normal_equations(moving, ahead, bend)
        # A full step would leave a slope of zero along the linear unknowns, a part of it leaves the rest of the slope.
        change = _solved(matrix, (right + (1 - share) * path.gradient[count:])[:, None])[:, 0]
        u[count:] += change
        residual = residuals.changed(residual, moving, change)
    multipliers = torch.addcmul(slope, bend, residual - path.residual).clamp_(-_INSIDE, _INSIDE)
    eps = torch.where(promised < path.eps, (_SHRINK * path.eps).clamp(min=last), path.eps)
    tips = torch.sqrt(residual * residual + eps * eps)
    value, slope = tips.sum(0), residual / tips
    bend = (1 - multipliers * slope) / tips
    gradient, hessian = residuals.derivatives(u, moving, slope, bend, multipliers)
    better = value <= path.value * (1 + _ROUNDING * torch.finfo(value.dtype).eps)
    trust = torch.where(better, torch.maximum(path.trust, 2 * share * length), 0.25 * share * length).clamp(max=1.0)
    new = _Path(path.index, trust, u, eps, value, residual, multipliers, tips, gradient, hessian)
    return path.replaced(better, new)


def _reweighted(residuals: Residuals, parameters: Tensor, moving: Moving, steps: int) -> Tensor:
    """Linear unknowns of least squares, reweighted some times, at given scales."""
    count = moving.parameters
    parameters = torch.cat([parameters[:count], torch.zeros_like(parameters[count:])])
    residual = residuals(parameters, moving)
    weights = torch.ones_like(residual)
    for _ in range(steps + 1):
        matrix, right = residuals.normal_equations(moving, weights * residual, weights)
        change = _solved(matrix, right[:, None])[:, 0]
        parameters[count:] += change
        residual = residuals.changed(residual, moving, change)
        weights = residual.abs().clamp_(min=_SMALLEST_RESIDUAL).reciprocal_()
    return parameters


def _step(path: _Path, lower: Tensor, upper: Tensor) -> Tensor:
    """Newton step: in the bounded unknowns on the reduced Hessian, then in the others."""
    u, gradient, hessian, count = path.u, path.gradient, path.hessian, len(lower)
    if len(u) == count:
        return box_step(u, gradient, hessian, lower, upper)
    mixed = hessian[count:, :count]
    solved = _solved(hessian[count:, count:], torch.cat([gradient[count:, None], mixed], dim=1))
    reduced = hessian[:count, :count] - (mixed[:, :, None] * solved[:, None, 1:]).sum(0)
    bounded = box_step(u[:count], gradient[:count] - (mixed * solved[:, :1]).sum(0), reduced, lower, upper)
    return torch.cat([bounded, -(solved[:, 0] + (solved[:, 1:] * bounded).sum(1))])


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve positive systems (m, m, n) with right sides (m, k, n)."""
    factors = Factors(lambda row, column: matrix[row, column], len(matrix), 10 * torch.finfo(matrix.dtype).eps)
    return torch.stack(factors.solve(right.unbind()))
