"""N-jets of signals, images and volumes: their Gaussian derivatives up to an order at a scale."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from scalekeys.errors import ModelError
from scalekeys.scalespace.discretizations import Discretization
from scalekeys.scalespace.gaussian import check_arguments, checked_maximum
from scalekeys.scalespace.gaussian_derivatives import gaussian_derivative, is_direct
from scalekeys.scalespace.scale_normalization import scale_normalization
from scalekeys.shapes import SIDES, ArrayLike, as_float_tensor

_REACH, _TAPS = 8.5, 8  # half width of a support, in standard deviations and in pixels beyond


def n_jet(
    images: ArrayLike,
    t: Float[Tensor, "axes"],
    order: int,
    discretization: Discretization = "discrete",
    *,
    gamma: float | None = None,
) -> dict[tuple[int, ...], Tensor]:
    r"""Return all Gaussian derivatives of images up to a total order.

    Parameters
    ----------
    images : array, shape (..., *sides)
        Signals, images or volumes, with as many axes at the end as `t` has entries. Beyond their borders they are
        continued by mirror images, in which the outermost pixels are repeated.
    t : Tensor, shape (D,), float32 or float64
        Variances along the axes (x, y, z), pixels squared.
    order : int
        Largest total order N.
    discretization : str
        See :func:`gaussian_derivative`.
    gamma : float, optional
        Multiplies a derivative of order m along an axis by :math:`t^{\gamma m / 2}`; by default derivatives are not
        scale-normalized.

    Returns
    -------
    dict
        By the orders along (x, y, z) a tensor of the shape of `images`: for two axes `[0, 0]` is the smoothed image,
        `[1, 0]` its derivative along x, `[0, 1]` that along y, which points up, and `[1, 1]` the mixed one.
        Differentiable in `images` and in `t`.

    Raises
    ------
    ModelError
        If `t` does not hold one to three variances, the order is negative, the images have too few axes or an empty
        side, or sampled or integrated derivatives are asked for at t = 0.

    References
    ----------
    L. Florack, B. ter Haar Romeny, M. Viergever, J. Koenderink, "The Gaussian scale-space paradigm and the multiscale
    local jet", IJCV 18(1):61-75, 1996.
    T. Lindeberg, "Discrete derivative approximations with scale-space properties", JMIV 3:349-376, 1993.

    Examples
    --------
    The derivatives of a ramp along x, away from the border:

    >>> import torch
    >>> ramp = torch.arange(41, dtype=torch.float64).expand(41, 41)
    >>> jet = n_jet(ramp, torch.tensor([1.0, 1.0], dtype=torch.float64), 2)
    >>> sorted(jet)
    [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]
    >>> round(float(jet[0, 0][20, 20]), 6), round(float(jet[1, 0][20, 20]), 6)
    (20.0, 1.0)
    """
    values = as_float_tensor(images)
    _check(values, t, order, discretization)
    fields: dict[tuple[int, ...], Tensor] = {(): values}
    for axis, variance in enumerate(t):
        radius = math.ceil(_REACH * math.sqrt(float(variance.detach()))) + _TAPS + order
        kernels = [gaussian_derivative(variance, k, radius, discretization).to(values) for k in range(order + 1)]
        if gamma is not None:
            kernels = [own * scale_normalization(variance, k, gamma=gamma).to(values) for k, own in enumerate(kernels)]
        fields = {
            (*orders, k): _convolved(field, kernels[k], axis)
            for orders, field in fields.items()
            for k in range(order + 1 - sum(orders))
        }
    return fields


def _check(values: Tensor, t: Tensor, order: int, discretization: Discretization) -> None:
    """Refuse what has no jet."""
    if t.ndim != 1 or len(t) not in (1, 2, 3):
        raise ModelError(f"t must hold one variance for each of one to three axes, got shape {tuple(t.shape)}")
    if order < 0:
        raise ModelError(f"the order of a jet must be at least 0, got {order}")
    check_arguments(t, 0)
    checked_maximum(t)
    if is_direct(discretization) and bool((t == 0).any()):
        raise ModelError(f"discretization {discretization!r} has no derivatives at t = 0, where its kernels degenerate")
    if values.ndim < len(t) or 0 in values.shape[-len(t) :]:
        sides = ", ".join(SIDES[-len(t) :])
        raise ModelError(f"images must have shape (..., {sides}) with no empty side, got {tuple(values.shape)}")


def _convolved(field: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """Convolve along an axis of mirrored images; along y, which points up, rows run against the coordinate."""
    radius, along = len(kernel) // 2, field.movedim(-1 - axis, -1)
    side = along.shape[-1]
    place = torch.arange(-radius, side + radius, device=field.device) % (2 * side)
    mirrored = along.index_select(-1, torch.minimum(place, 2 * side - 1 - place))
    taps = kernel if axis == 1 else kernel.flip(-1)
    found = F.conv1d(mirrored.reshape(-1, 1, side + 2 * radius), taps[None, None])
    return found.reshape(along.shape).movedim(-1, -1 - axis)
