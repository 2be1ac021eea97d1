"""How well a scale is determined: standard errors from the curvature at the optimum, and a word where there is none."""

import torch
from torch import Tensor

from scalekeys.fitting.grids import FamilyGrid, max_sigma
from scalekeys.fitting.loss import Solution

SCALE_STATUSES: tuple[str, ...] = ("ok", "flat", "at-zero", "at-bound")
"""The words of the columns `sigma_x_status` and `sigma_y_status`; only the first carries a standard error that means
something. `flat`: two standard errors either side span the whole range of the search, or the objective does not curve
upwards."""

_AT_BOUND = 1e-9
_AT_ZERO = 1e-9


def scale_errors(
    solution: Solution, left: Tensor, parameters: Tensor, grid: FamilyGrid, fixed_numbers: int
) -> tuple[Tensor, Tensor]:
    r"""Return the standard error of each scale of filters of one family, and a word for each, as an index.

    Parameters
    ----------
    solution : Solution
        With the curvature of the sum of squares.
    left : Tensor, shape (filters,)
        The sum of squares that is left.
    parameters : Tensor, shape (filters, 2)
        As they were fitted, ``(t_x, t_y)`` or ``(t, alpha)``.
    grid : FamilyGrid
    fixed_numbers : int
        How many numbers are taken from a filter beside the parameters.

    Returns
    -------
    errors : Tensor, shape (filters, 2)
        Of sigma_x and sigma_y, in pixels; NaN where a scale is at a bound or nothing curves.
    words : Tensor of int64, shape (filters, 2)
        Index into :data:`SCALE_STATUSES`.

    Notes
    -----
    With the Hessian H of the sum of squares in the free parameters, the linear ones eliminated, and the residual
    variance :math:`s^2 = RSS / (taps - numbers)`, the covariance of the parameters is :math:`2 s^2 H^{-1}`. Where
    the amplitude is a moment, the noise moves it too: then it is :math:`s^2 J J^T`, with
    :math:`J = -H^{-1} \partial g / \partial h` and the gradient g. Residuals are taken to be independent from tap to
    tap. A parameter at a bound is held there.
    """
    assert solution.hessian is not None
    rows, cols = grid.size
    single = grid.common or grid.family.isotropic
    seen = torch.tensor([single or cols > 1, grid.family.isotropic or (not single and rows > 1)]).to(parameters.device)
    at_zero, at_bound = parameters <= _AT_ZERO, parameters >= grid.upper.to(parameters) * (1 - _AT_BOUND)
    free = ~(at_zero | at_bound) & seen
    freedom = rows * cols - fixed_numbers - int(seen.sum())
    noise = left / freedom if freedom > 0 else torch.full_like(left, torch.inf)

    inverse, curved = _inverse(solution.hessian.permute(2, 0, 1), free)
    change = solution.gradient_by_tap
    spread = 2 * inverse.diagonal(dim1=-2, dim2=-1) if change is None else (inverse @ change).square().sum(-1)
    error = (noise[:, None] * spread).sqrt() / (2 * parameters.sqrt())
    words = torch.where(curved & (error < max_sigma(grid.size) / 4), 0, SCALE_STATUSES.index("flat"))
    words = torch.where(at_zero, SCALE_STATUSES.index("at-zero"), words)
    words = torch.where(at_bound, SCALE_STATUSES.index("at-bound"), words)
    error = torch.where(free & curved & error.isfinite(), error, torch.nan)
    if single:
        error, words = error[:, :1].expand(-1, 2), words[:, :1].expand(-1, 2)
    return error, words


def _inverse(hessian: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of the Hessian in the free parameters, zero elsewhere, and which of them see it curve upwards."""
    both = free[:, :, None] & free[:, None]
    a, b, c = hessian[:, 0, 0], torch.where(both[:, 0, 1], hessian[:, 0, 1], 0.0), hessian[:, 1, 1]
    a, c = torch.where(free[:, 0], a, 1.0), torch.where(free[:, 1], c, 1.0)
    determinant = a * c - b * b
    rows = torch.stack([torch.stack([c, -b], dim=-1), torch.stack([-b, a], dim=-1)], dim=-2)
    inverse = torch.where(both, rows / determinant[:, None, None], 0.0)
    return inverse, (torch.stack([a, c], dim=-1) > 0) & (determinant > 0)[:, None]
