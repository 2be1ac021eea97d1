"""Affine Gaussian kernels and their derivatives along an angle, of any order."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.scalespace.differences import difference
from scalekeys.scalespace.discretizations import Discretization, check_discretization
from scalekeys.scalespace.gaussian import check_arguments
from scalekeys.scalespace.gaussian_derivatives import central_difference, derivatives_of
from scalekeys.scalespace.oriented import affine_kernel, upwards


def directional_derivative(
    covariance: Float[Tensor, "*batch 2 2"],
    angle: Float[Tensor, "*batch"] | float,
    order: int,
    radius: int,
    discretization: Discretization = "discrete",
) -> Float[Tensor, "*batch rows cols"]:
    r"""Evaluate the derivative of an affine Gaussian kernel along an angle; of order 0, the kernel itself.

    Parameters
    ----------
    covariance : Tensor, shape (..., 2, 2), float32 or float64
        Covariance matrices C of (x, y), pixels squared.
    angle : Tensor, shape (...), or float
        Direction of differentiation in radians, counter-clockwise from the x axis.
    order : int
        Order of differentiation m, at least 0.
    radius : int
        Half width of the support along both axes.
    discretization : {"discrete", "sampled"}
        Differences of the positive discrete affine kernel, or the continuous derivative at the pixels.

    Returns
    -------
    Tensor, shape (..., 2 radius + 1, 2 radius + 1)
        Rows run down and y points up. Differentiable in `covariance` and `angle`.

    Raises
    ------
    ModelError
        If the order or the radius is negative, the discretization has no affine form, a matrix is not symmetric and
        positive (semi-definite for ``"discrete"``, definite for ``"sampled"``), or, for ``"discrete"``, has
        ``|Cxy| > min(Cxx, Cyy)``, where the discrete kernel is not positive.

    Notes
    -----
    .. math:: \partial_\varphi^m = \sum_k \binom{m}{k} \cos^k \varphi \, \sin^{m-k} \varphi \, \delta_x^k \delta_y^{m-k}

    with central differences, of the convolution of three discrete analogues of the Gaussian: along x, y and a diagonal.
    Along a line with the unit direction n the continuous kernel is a Gaussian of one variable with the precision
    :math:`n^T C^{-1} n`, whose derivatives have a closed form. The scale-normalized derivative is the kernel times
    :func:`scale_normalization` of the variance :math:`n^T C n`.

    References
    ----------
    T. Lindeberg, "Discrete derivative approximations with scale-space properties", JMIV 3:349-376, 1993.
    T. Lindeberg, "Normative theory of visual receptive fields", Heliyon 7(1):e05897, 2021, section 2.

    Examples
    --------
    >>> import torch
    >>> covariance = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    >>> directional_derivative(covariance, 0.0, 0, 1)
    tensor([[0.0197, 0.0814, 0.0814],
            [0.0814, 0.2760, 0.0814],
            [0.0814, 0.0814, 0.0197]], dtype=torch.float64)
    """
    check_discretization(discretization)
    if discretization not in ("discrete", "sampled"):
        raise ModelError(f"discretization {discretization!r} has no affine form; use 'discrete' or 'sampled'")
    if order < 0:
        raise ModelError(f"the order of a derivative must be at least 0, got {order}")
    check_arguments(covariance, radius)
    _check_covariance(covariance, discretization)
    batch = covariance.shape[:-2]
    flat = covariance.reshape(-1, 2, 2)
    angles = torch.as_tensor(angle, dtype=flat.dtype, device=flat.device).expand(batch).reshape(-1)
    evaluate = _differences if discretization == "discrete" else _sampled
    fields = evaluate(flat, angles, order, radius)
    return fields.flip(-2).reshape(*batch, 2 * radius + 1, 2 * radius + 1)  # rows run down


def _check_covariance(covariance: Tensor, discretization: Discretization) -> None:
    """Refuse matrices that no kernel is made for."""
    if covariance.shape[-2:] != (2, 2):
        raise ModelError(f"covariance must have shape (..., 2, 2), got {tuple(covariance.shape)}")
    matrix = covariance.detach()
    x, y, mixed = matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 0, 1]
    valid = torch.isfinite(matrix).all((-2, -1)) & (mixed == matrix[..., 1, 0])
    if discretization == "sampled":
        valid = valid & (x > 0) & (x * y > mixed.square())
        rule = "positive definite"
    else:
        valid = valid & (torch.minimum(x, y) >= mixed.abs())
        rule = "with |Cxy| <= min(Cxx, Cyy), which a positive discrete kernel needs"
    if not bool(valid.all()):
        raise ModelError(f"each covariance matrix must be finite, symmetric and {rule}")


def _differences(covariance: Tensor, angle: Tensor, order: int, radius: int) -> Tensor:
    """Return differences of the discrete affine kernel, rows in the order of growing y."""
    mixed = covariance[:, 0, 1]
    diagonal, wide = mixed.abs(), radius + (order + 1) // 2
    variances = torch.stack([covariance[:, 0, 0] - diagonal, covariance[:, 1, 1] - diagonal, diagonal])
    kernel = upwards(affine_kernel(variances, (wide, wide), (False, False)), mixed)
    total = kernel.new_zeros(len(kernel), 2 * radius + 1, 2 * radius + 1)
    for k in range(order + 1):
        along_x = difference(kernel, central_difference(k))
        field = difference(along_x.mT, central_difference(order - k)).mT
        rows, cols = (side // 2 - radius for side in field.shape[-2:])
        field = field[:, rows : rows + 2 * radius + 1, cols : cols + 2 * radius + 1]
        weight = math.comb(order, k) * torch.cos(angle) ** k * torch.sin(angle) ** (order - k)
        total = total + weight[:, None, None] * field
    return total


def _sampled(covariance: Tensor, angle: Tensor, order: int, radius: int) -> Tensor:
    """Return the derivative of the continuous Gaussian at the pixels, rows in the order of growing y."""
    n = torch.arange(-radius, radius + 1, dtype=covariance.dtype, device=covariance.device)
    places = torch.stack(torch.meshgrid(n, n, indexing="xy"), dim=-1)  # (rows, cols, 2), y grows with the rows
    precision = torch.linalg.inv(covariance)[:, None, None]
    scaled = (precision @ places[..., None])[..., 0]
    height = (2 * math.pi * torch.linalg.det(covariance).sqrt())[:, None, None]
    weight = torch.exp(-(scaled * places).sum(-1) / 2) / height
    direction = torch.stack([torch.cos(angle), torch.sin(angle)], dim=-1)[:, None, None]
    sharpness = (direction[..., None, :] @ precision @ direction[..., None])[..., 0, 0]
    found: Tensor = derivatives_of(weight, (scaled * direction).sum(-1) / sharpness, 1 / sharpness, order)[-1]
    return found
