"""The share of a filter that a template leaves unexplained, with amplitude and offset eliminated."""

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.fitting.newton import Objective
from scalekeys.scalespace import TemplatePlan

_SECOND = (3, 4, 4, 5)  # positions of K_11, K_12, K_21, K_22 among the derivatives of a template


def unexplained(targets: Float[Tensor, "problems taps"], plan: TemplatePlan, max_variance: float) -> Objective:
    r"""Return the objective of the least-squares fit ``h ~ a K + b``.

    Parameters
    ----------
    targets : Tensor, shape (problems, taps)
        Filters, centred and of unit norm.
    plan : TemplatePlan
        The family to fit.
    max_variance : float
        Upper bound of the variances that will be asked for.

    Notes
    -----
    With K centred, the best amplitude leaves :math:`1 - r^2`, and the objective is

    .. math:: f = - \frac{\langle h, K \rangle^2}{\langle K, K \rangle} = -r^2 .

    Its derivatives follow from those of the template, which are exact.
    """

    def objective(parameters: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        templates = plan(parameters, max_variance, order=2).flatten(2)
        templates = templates - templates.mean(-1, keepdim=True)
        products = torch.einsum("ndk,nk->nd", templates, targets[index])
        gram = torch.einsum("nik,njk->nij", templates, templates[:, :3])
        return _ratio(products, gram)

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
