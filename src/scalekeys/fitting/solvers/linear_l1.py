"""Sums of absolute differences, as limits of smooth objectives."""

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.fitting.solvers.lines import fitted_lines

SMOOTHINGS: tuple[float, ...] = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
"""The eps of ``sqrt(r^2 + eps^2)``, from the first round to the last; filters have unit norm."""

_ITERATIONS = 50
_TOLERANCE = 1e-14
_RIDGE = 1e-13
_LINES = 1024


def with_constant(components: Float[Tensor, "problems components taps"]) -> Float[Tensor, "problems taps unknowns"]:
    """Return the matrix of components and a constant of unit norm."""
    ones = torch.full_like(components[:, :1], components.shape[-1] ** -0.5)
    return torch.cat([components, ones], dim=1).mT


def least_absolute(
    basis: Float[Tensor, "problems taps unknowns"], targets: Float[Tensor, "problems taps"]
) -> tuple[Float[Tensor, "problems unknowns"], Float[Tensor, "problems taps"]]:
    """Return the coefficients with the least sum of ``|h - B c|``, and what they leave, for many problems at once.

    With two unknowns the optimum passes through two taps, and all pairs are tried. With others, and where there are too
    many pairs, the sum is smoothed: it is convex, Newton's step is taken where it descends, and where not, a step of
    reweighted least squares, which always does. Columns should be of one order.
    """
    if basis.shape[-1] == 2:
        parts = [
            fitted_lines(h.T.contiguous(), b.permute(2, 1, 0).contiguous())
            for b, h in zip(basis.split(_LINES), targets.split(_LINES), strict=True)
        ]
        coefficients = torch.cat(parts, dim=1).T
        return coefficients, targets - (basis @ coefficients[..., None])[..., 0]
    coefficients = weighted_least_squares(basis, torch.ones_like(targets), targets)
    residual = targets - (basis @ coefficients[..., None])[..., 0]
    for eps in SMOOTHINGS:
        _descend(basis, coefficients, residual, eps)
    return coefficients, targets - (basis @ coefficients[..., None])[..., 0]


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
