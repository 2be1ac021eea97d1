"""Sums of absolute differences, as limits of smooth objectives."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.fitting.grids import FamilyGrid
from scalekeys.fitting.newton import Objective

SMOOTHINGS: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
"""The eps of ``sqrt(r^2 + eps^2)``, from the first round to the last; filters have unit norm."""

_SECOND = (3, 4, 4, 5)
_ITERATIONS = 50
_TOLERANCE = 1e-14
_RIDGE = 1e-13
_BYTES = 2**26  # of the largest array
_MOST_TAPS = 169  # beyond them there are too many pairs to try


@dataclass(frozen=True, eq=False)
class _RowWise:
    """An objective that is computed with the problems first."""

    function: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
    index: Tensor

    def __call__(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value, gradient, hessian = self.function(parameters.T, self.index)
        return value, gradient.T, hessian.permute(1, 2, 0)

    def select(self, index: Tensor) -> "_RowWise":
        return replace(self, index=self.index[index])


def smoothed(
    targets: Float[Tensor, "problems taps"],
    amplitudes: Float[Tensor, "problems"],
    grid: FamilyGrid,
    eps: float,
) -> Objective:
    r"""Return the objective ``sum of sqrt(r^2 + eps^2)`` with ``r = h - a K`` and the amplitude given.

    It is at most ``taps * eps`` above the sum of ``|r|``.

    Parameters
    ----------
    targets : Tensor, shape (problems, taps)
        Filters, in units in which their centred norm is 1.
    amplitudes : Tensor, shape (problems,)
    grid : FamilyGrid
        The family to fit, of one component.
    eps : float
        Width of the rounded tip.
    """

    def objective(parameters: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        models = grid.plan(parameters, order=2).flatten(2) * amplitudes[index, None, None]
        tip, slope, bend = _tips(targets[index] - models[:, 0], eps)
        products = (models @ slope[..., None])[..., 0]
        moves = models[:, 1:3]
        hessian = (moves * bend[:, None]) @ moves.mT - products[:, _SECOND].reshape(-1, 2, 2)
        return tip.sum(-1), -products[:, 1:3], hessian

    return _RowWise(objective, torch.arange(len(targets), device=targets.device))


def smoothed_free(
    targets: Float[Tensor, "problems taps"],
    units: Float[Tensor, "components"],
    grid: FamilyGrid,
    eps: float,
) -> Objective:
    r"""Return the objective ``sum of sqrt(r^2 + eps^2)`` with ``r = h - sum of a_c K_c / u_c - b / sqrt(taps)``.

    The coefficients and the offset b are parameters of the objective, after the two of the plan.

    Parameters
    ----------
    targets : Tensor, shape (problems, taps)
        Filters, in units in which their centred norm is 1.
    units : Tensor, shape (components,)
        The constants u, about the norms of the components, so that all parameters are of one order.
    grid : FamilyGrid
        The family to fit.
    eps : float
        Width of the rounded tip.
    """

    def objective(parameters: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        templates = grid.plan(parameters[:, :2], order=2).flatten(3) / units[:, None]
        basis = with_constant(templates[:, 0])
        free = parameters[:, 2:, None]
        tip, slope, bend = _tips(targets[index] - (basis @ free)[..., 0], eps)

        changes = (templates[:, 1:].mT @ free[:, None, :-1])[..., 0]  # of the model, with fixed coefficients
        moves = torch.cat([changes[:, :2], basis.mT], dim=1)  # by each parameter
        hessian = (moves * bend[:, None]) @ moves.mT
        hessian[:, :2, :2] -= (changes[:, [2, 3, 3, 4]] @ slope[..., None]).reshape(-1, 2, 2)
        across = (templates[:, 1:3] @ slope[:, None, :, None])[..., 0]
        hessian[:, :2, 2:-1] -= across
        hessian[:, 2:-1, :2] -= across.mT
        return tip.sum(-1), -(moves @ slope[..., None])[..., 0], hessian

    return _RowWise(objective, torch.arange(len(targets), device=targets.device))


def with_constant(components: Float[Tensor, "problems components taps"]) -> Float[Tensor, "problems taps unknowns"]:
    """Return the matrix of components and a constant of unit norm."""
    ones = torch.full_like(components[:, :1], components.shape[-1] ** -0.5)
    return torch.cat([components, ones], dim=1).mT


def least_absolute(
    basis: Float[Tensor, "problems taps unknowns"], targets: Float[Tensor, "problems taps"]
) -> tuple[Tensor, Tensor]:
    """Minimise the sum of ``|h - B c|`` for many problems at once.

    With two unknowns the optimum passes through two taps, and all pairs are tried. With others, and where there are too
    many pairs, the sum is smoothed: it
    is convex, Newton's step is taken where it descends, and where not, a step of reweighted least squares, which always
    does. Columns should be of one order.

    Returns
    -------
    coefficients : Tensor, shape (problems, unknowns)
    residual : Tensor, shape (problems, taps)
    """
    if basis.shape[-1] == 2 and basis.shape[1] <= _MOST_TAPS:
        size = max(1, _BYTES // (8 * basis.shape[1] ** 3))
        parts = [_through_two_taps(b, h) for b, h in zip(basis.split(size), targets.split(size), strict=True)]
        coefficients = torch.cat(parts)
        return coefficients, targets - (basis @ coefficients[..., None])[..., 0]
    coefficients = weighted_least_squares(basis, torch.ones_like(targets), targets)
    residual = targets - (basis @ coefficients[..., None])[..., 0]
    for eps in SMOOTHINGS:
        _descend(basis, coefficients, residual, eps)
    return coefficients, targets - (basis @ coefficients[..., None])[..., 0]


def _through_two_taps(basis: Tensor, targets: Tensor) -> Tensor:
    """Best coefficients of two columns among those that leave nothing at two of the taps."""
    one, two = torch.combinations(torch.arange(basis.shape[1], device=basis.device)).unbind(-1)
    (a, b), (c, d) = basis[:, one].unbind(-1), basis[:, two].unbind(-1)
    p, q = targets[:, one], targets[:, two]
    determinant = a * d - b * c
    found = torch.stack([p * d - b * q, a * q - p * c], dim=-1) / determinant[..., None]
    values = (targets[:, None] - found @ basis.mT).abs().sum(-1)
    best = torch.where(values.isfinite(), values, torch.inf).argmin(-1)
    return found.gather(1, best[:, None, None].expand(-1, 1, 2))[:, 0]


def _descend(basis: Tensor, coefficients: Tensor, residual: Tensor, eps: float) -> None:
    """Minimise the smoothed sum in place."""
    active = torch.arange(len(residual), device=residual.device)
    for _ in range(_ITERATIONS):
        if len(active) == 0:
            return
        b, r = basis[active], residual[active]
        tip, slope, bend = _tips(r, eps)
        gradient = (b.mT @ slope[..., None])[..., 0]
        step = _solve((b * bend[..., None]).mT @ b, gradient[..., None])[..., 0]
        promised = (gradient * step).sum(-1)
        moved = r - (b @ step[..., None])[..., 0]
        worse = ~(_tips(moved, eps)[0].sum(-1) < tip.sum(-1))
        if worse.any():
            safe = weighted_least_squares(b[worse], 1 / tip[worse], r[worse])
            step[worse], moved[worse] = safe, r[worse] - (b[worse] @ safe[..., None])[..., 0]
        better = _tips(moved, eps)[0].sum(-1) < tip.sum(-1)
        coefficients[active] += torch.where(better[:, None], step, 0.0)
        residual[active] = torch.where(better[:, None], moved, r)
        active = active[better & (promised > max(_TOLERANCE, 0.01 * eps))]


def _tips(residual: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """``sqrt(r^2 + eps^2)`` and its first and second derivative."""
    tip = torch.sqrt(residual.square() + eps**2)
    return tip, residual / tip, eps**2 / tip**3


def weighted_least_squares(basis: Tensor, weights: Tensor, targets: Tensor) -> Tensor:
    """Return the coefficients of weighted least squares, shape (problems, unknowns)."""
    weighted = (basis * weights[..., None]).mT
    return _solve(weighted @ basis, weighted @ targets[..., None])[..., 0]


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve symmetric positive systems; a ridge far below what matters stands in for lost directions."""
    trace = matrix.diagonal(dim1=-2, dim2=-1).sum(-1).clamp(min=torch.finfo(matrix.dtype).tiny)
    ridge = torch.diag_embed((_RIDGE * trace)[:, None].expand(matrix.shape[:-1]))
    solution, _ = torch.linalg.solve_ex(matrix + ridge, right)
    return torch.nan_to_num(solution)
