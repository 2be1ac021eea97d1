"""How well a scale is determined: standard errors from the curvature at the optimum, and a word where there is none."""

import torch
from torch import Tensor

from scalekeys.fitting.losses.base import Solution
from scalekeys.fitting.templates.grid import FamilyGrid
from scalekeys.scalespace import smallest_variance

SCALE_STATUSES: tuple[str, ...] = ("ok", "flat", "at-zero", "at-bound", "infinite")
"""The words of the columns of status by axis; only the first carries a standard error that means something.

`flat`: two standard errors either side span the whole range from zero to the side of the kernel, or the objective does
not curve upwards. `at-zero`: the smallest scale that is searched, 0 for the discrete analogue of the Gaussian and 0.2
pixels for the other discretizations. `at-bound`: the largest scale that is searched for a family that has no form of
its own at an infinite scale. `infinite`: so large that the window shows no decay.
"""

_AT_END = 1e-9


def scale_errors(
    solution: Solution, left: Tensor, coordinates: Tensor, grid: FamilyGrid, fixed_numbers: int
) -> tuple[Tensor, Tensor]:
    r"""Return the standard error of each scale of filters of one family, and a word for each, as an index.

    `solution`: with the curvature of the sum of squares.
    `left`: shape (filters,); the sum of squares that is left.
    `coordinates`: shape (filters, parameters); as they were fitted.
    `fixed_numbers`: how many numbers are taken from a filter beside the parameters.
    `errors`: shape (filters, axes); of the scale along each axis, in pixels; NaN where a scale is at an end or nothing
    curves.
    `words`: shape (filters, axes); index into :data:`SCALE_STATUSES`.

    With the Hessian H of the sum of squares in the free parameters, the linear ones eliminated, and the residual
    variance :math:`s^2 = RSS / (taps - numbers)`, the covariance of the parameters is :math:`2 s^2 H^{-1}`. Where
    the amplitude is a moment, the noise moves it too: then it is :math:`s^2 J J^T`, with
    :math:`J = -H^{-1} \partial g / \partial h` and the gradient g. A scale is a function of the parameters, and its
    variance follows by its slopes. Residuals are taken to be independent from tap to tap. A parameter at an end of its
    range is held there.
    """
    assert solution.hessian is not None
    lower, upper = (ends.to(coordinates) for ends in grid.bounds())
    matters = torch.tensor(grid.turns).to(coordinates.device)
    ended = grid.ended.to(coordinates.device)
    at_low, at_high = (coordinates <= lower + _AT_END) & ended, (coordinates >= upper - _AT_END) & ended
    infinite = grid.is_infinite(coordinates)
    free = ~(at_low | at_high | infinite) & matters
    freedom = solution.model.shape[-1] - fixed_numbers - int(matters.sum())
    noise = left / freedom if freedom > 0 else torch.full_like(left, torch.inf)

    inverse, curved = _inverse(solution.hessian.movedim(-1, 0), free)
    change = solution.gradient_by_tap
    covariance = 2 * inverse if change is None else (inverse @ change) @ (inverse @ change).mT
    sigma, slopes = _scales(grid, coordinates)
    spread = ((slopes @ covariance) * slopes).sum(-1)
    error = (noise[:, None] * spread).sqrt()

    moved = slopes.abs() > 0  # by parameter: (filters, axes, parameters)
    loose = moved & free[:, None] & ~curved[:, None, None]
    words = torch.where(loose.any(-1) | ~(error < max(grid.size) / 4), SCALE_STATUSES.index("flat"), 0)
    for ends, word in ((at_high, "at-bound"), (infinite, "infinite")):
        words = torch.where((moved & ends[:, None]).any(-1), SCALE_STATUSES.index(word), words)
    smallest = smallest_variance(grid.family.discretization)
    words = torch.where(sigma.square() <= smallest + _AT_END, SCALE_STATUSES.index("at-zero"), words)
    own = grid.family.parametrization.groups
    if own is not None:  # a scale that changes nothing, as that along a centred difference of three taps
        words = torch.where(matters[list(own)], words, SCALE_STATUSES.index("flat"))
    known = (moved & free[:, None]).any(-1) & curved[:, None] & error.isfinite()
    return torch.where(known & (words < SCALE_STATUSES.index("at-zero")), error, torch.nan), words


def _scales(grid: FamilyGrid, coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scale along each axis, (n, axes), and its slopes in the coordinates, (n, axes, parameters)."""
    own = grid.family.parametrization
    with torch.enable_grad():
        rows = coordinates.detach().T.contiguous().requires_grad_()
        sigma = own.axis_variances(own.parameters(rows, grid.bend).T).clamp(min=1e-30).sqrt()
        slopes = [
            torch.autograd.grad(sigma[:, axis].sum(), rows, retain_graph=True)[0].T for axis in range(sigma.shape[1])
        ]
    return sigma.detach(), torch.stack(slopes, dim=1)


def _inverse(hessian: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of the Hessian in the free parameters, zero elsewhere, and whether it curves upwards there."""
    both = free[:, :, None] & free[:, None]
    masked = torch.where(both, hessian, 0.0) + torch.diag_embed((~free).to(hessian))
    factor, info = torch.linalg.cholesky_ex(masked)
    curved = (info == 0) & factor.flatten(1).isfinite().all(-1)
    identity = torch.eye(hessian.shape[-1]).to(hessian).expand_as(hessian)
    inverse = torch.cholesky_inverse(torch.where(curved[:, None, None], factor, identity))
    return torch.where(both & curved[:, None, None], inverse, 0.0), curved
