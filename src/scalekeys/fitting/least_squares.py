"""Sums of squares as smooth objectives of two parameters, with exact derivatives."""

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.fitting.grids import FamilyGrid
from scalekeys.fitting.newton import Objective

_SECOND = (3, 4, 4, 5)  # positions of K_11, K_12, K_21, K_22 among the derivatives of a template
_RIDGE = 1e-8


def unexplained(targets: Float[Tensor, "problems taps"], grid: FamilyGrid) -> Objective:
    r"""Return the objective of the least-squares fit ``h ~ sum of a_c K_c + b``, with coefficients and offset free.

    Parameters
    ----------
    targets : Tensor, shape (problems, taps)
        Filters, centred and of unit norm.
    grid : FamilyGrid
        The family to fit, of one component or several.

    Notes
    -----
    With centred components, the best coefficients leave :math:`1 - r^2`, and the objective is :math:`-r^2`. For one
    component that is

    .. math:: f = - \frac{\langle h, K \rangle^2}{\langle K, K \rangle} ,

    and for several the squared length of a projection (variable projection: Golub and Pereyra, 1973). The derivatives
    follow from those of the templates, which are exact.
    """

    def one(parameters: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        templates = grid.plan(parameters, order=2).flatten(2)
        templates = templates - templates.mean(-1, keepdim=True)
        products = torch.einsum("ndk,nk->nd", templates, targets[index])
        gram = torch.einsum("nik,njk->nij", templates, templates[:, :3])
        return _ratio(products, gram)

    def several(parameters: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        templates = grid.plan(parameters, order=2).flatten(3)
        templates = templates - templates.mean(-1, keepdim=True)
        return _projection(templates, targets[index])

    return several if grid.family.is_jet else one


def distance(
    targets: Float[Tensor, "problems taps"],
    amplitudes: Float[Tensor, "problems"],
    grid: FamilyGrid,
) -> Objective:
    """Return the objective ``|h - a K|^2 - 1`` of a least-squares fit whose amplitude is given.

    Parameters
    ----------
    targets : Tensor, shape (problems, taps)
        Filters without their offset, in units in which their centred norm is 1.
    amplitudes : Tensor, shape (problems,)
        The given amplitudes.
    grid : FamilyGrid
        The family to fit, of one component.
    """

    def objective(parameters: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        models = grid.plan(parameters, order=2).flatten(2) * amplitudes[index, None, None]
        residual = targets[index] - models[:, 0]
        products = torch.einsum("ndk,nk->nd", models, residual)
        slopes = models[:, 1:3]
        hessian = 2 * (slopes @ slopes.mT - products[:, _SECOND].reshape(-1, 2, 2))
        return residual.square().sum(-1) - 1, -2 * products[:, 1:3], hessian

    return objective


def _ratio(products: Tensor, gram: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient and Hessian of ``-g^2 / q``, from the derivatives of ``g = <h, K>`` and ``q = <K, K>``."""
    g, q = products[:, 0, None], gram[:, 0, 0, None].clamp(min=torch.finfo(gram.dtype).tiny)
    g_i, q_i = products[:, 1:3], 2 * gram[:, 1:3, 0]
    g_ij = products[:, _SECOND].reshape(-1, 2, 2)
    q_ij = 2 * (gram[:, 1:3, 1:3] + gram[:, _SECOND, 0].reshape(-1, 2, 2))

    ratio = g / q
    value = -ratio * g
    slope = g_i - ratio * q_i  # q d(g/q)
    gradient = -ratio * (g_i + slope)
    g, q, ratio = g[..., None], q[..., None], ratio[..., None]
    outer = slope[:, :, None] * slope[:, None, :]
    hessian = -2 * outer / q - ratio * (2 * g_ij - ratio * q_ij)
    return value[:, 0], gradient, hessian


def _projection(templates: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient and Hessian of minus the squared projection of targets on the span of their components.

    Parameters
    ----------
    templates : Tensor, shape (problems, 6, components, taps)
        Centred components and their derivatives.
    targets : Tensor, shape (problems, taps)
    """
    # Components of unit norm, with a ridge far below rounding that matters, so that dependent ones do no harm.
    size = templates[:, 0].norm(dim=-1).clamp(min=torch.finfo(templates.dtype).tiny)
    templates = templates / size[:, None, :, None]
    basis = templates[:, 0].mT
    ridge = _RIDGE * torch.eye(basis.shape[-1], dtype=basis.dtype, device=basis.device)
    q, r = torch.linalg.qr(torch.cat([basis, ridge.expand(len(basis), -1, -1)], dim=1))
    q = q[:, : basis.shape[1]]
    coefficients = torch.linalg.solve_triangular(r, q.mT @ targets[..., None], upper=True)
    residual = targets - (basis @ coefficients)[..., 0]

    changes = (templates.mT @ coefficients[:, None])[..., 0]  # of the model, with fixed coefficients
    gradient = -2 * (changes[:, 1:3] @ residual[..., None])[..., 0]
    w = (templates[:, 1:3] @ residual[:, None, :, None])[..., 0] - changes[:, 1:3] @ basis
    half = torch.linalg.solve_triangular(r.mT, w.mT, upper=False)
    curvature = (changes[:, _SECOND] @ residual[..., None]).reshape(-1, 2, 2)
    hessian = 2 * (changes[:, 1:3] @ changes[:, 1:3].mT - curvature - half.mT @ half)
    return residual.square().sum(-1) - 1, gradient, hessian
