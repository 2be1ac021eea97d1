"""Scale-normalized derivatives: the factors that make responses at different scales comparable."""

import math
from functools import lru_cache
from itertools import pairwise
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.scalespace.discretizations import Discretization
from scalekeys.scalespace.gaussian import check_arguments, checked_maximum
from scalekeys.scalespace.gaussian_derivatives import gaussian_derivative
from scalekeys.shapes import Variances

ScaleNormalization: TypeAlias = Literal["variance", "lp"]

_REACH, _TAPS = 12.0, 20  # half width of a support, in standard deviations and in pixels beyond
_LARGEST_P = 1e5  # for larger ones a norm is the maximum, and quadrature misses it


def scale_normalization(
    t: Variances,
    order: int,
    *,
    gamma: float = 1.0,
    method: ScaleNormalization = "variance",
    p: float | None = None,
    discretization: Discretization = "discrete",
) -> Variances:
    r"""Return the factor that turns a derivative along one axis into a scale-normalized one.

    Parameters
    ----------
    t : Tensor, shape (...)
        Variance in pixels squared, ``t > 0`` for the method `lp`.
    order : int
        Order of differentiation m.
    gamma : float
        The exponent of Lindeberg's gamma-normalized derivatives.
    method : {"variance", "lp"}
        `variance`: :math:`t^{\gamma m / 2}`. `lp`: this factor, times the number that brings the l_p norm of the
        discrete kernel to the L_p norm of the continuous Gaussian derivative at the same scale.
    p : float, optional
        For the method `lp`; by default :math:`p = 1 / (1 + m (1 - \gamma))`, for which the norm of the continuous
        gamma-normalized derivative is the same at all scales. That is 1 for ``gamma = 1``.
    discretization : str
        For the method `lp`: see :func:`gaussian_derivative`.

    Returns
    -------
    Tensor, shape (...)
        Differentiable in `t`. A partial derivative on several axes is normalized by the product of the factors of its
        axes, with one and the same `p`.

    Raises
    ------
    ModelError
        If an option is unknown, the order negative or `t` no variance; for the method `lp` also if `t` is 0, `p` is not
        above 0 or is above 1e5, or `gamma` leaves no `p`, that is ``gamma >= 1 + 1 / order``.

    References
    ----------
    T. Lindeberg, "Feature detection with automatic scale selection", IJCV 30(2):77-116, 1998, sections 4.1 and 9.1.

    Examples
    --------
    >>> import torch
    >>> t = torch.tensor([0.25, 4.0, 100.0], dtype=torch.float64)
    >>> scale_normalization(t, 2)
    tensor([  0.2500,   4.0000, 100.0000], dtype=torch.float64)
    >>> scale_normalization(t, 2, method="lp")
    tensor([  0.3492,   3.9587, 100.0591], dtype=torch.float64)
    """
    if method not in get_args(ScaleNormalization):
        raise ModelError(f"method must be 'variance' or 'lp', got {method!r}")
    if order < 0:
        raise ModelError(f"the order of a derivative must be at least 0, got {order}")
    check_arguments(t, 0)
    largest = checked_maximum(t)
    factor = t ** (gamma * order / 2)
    if method == "variance":
        return factor
    if p is None:
        inverse = 1 + order * (1 - gamma)
        if inverse < 1 / _LARGEST_P:
            limit = 1 + 1 / order
            raise ModelError(f"gamma={gamma} leaves no p for order {order}; give p, or a gamma below {limit:g}")
        p = 1 / inverse
    if not 0 < p <= _LARGEST_P:
        raise ModelError(f"p must be above 0 and at most {_LARGEST_P:g}, got {p}")
    if bool((t == 0).any()):
        raise ModelError("t must be above 0: the norm of the continuous Gaussian derivative is infinite at t = 0")
    radius = math.ceil(_REACH * math.sqrt(largest / min(p, 1.0))) + _TAPS + order
    size = gaussian_derivative(t, order, radius, discretization).abs()
    # Sizes are taken in units of the largest, since a power of one may fall below any number.
    info = torch.finfo(t.dtype)
    peak = size.detach().amax(-1, keepdim=True).clamp(info.tiny, info.max)
    powers = torch.where(size > 0, size / peak, 1.0) ** p * (size > 0)
    return factor * continuous_norm(t, order, p) / (peak[..., 0] * powers.sum(-1) ** (1 / p))


def continuous_norm(t: Variances, order: int, p: float = 1.0) -> Tensor:
    r"""Return the L_p norm of the derivative of order m of the continuous Gaussian, :math:`(\int |g^{(m)}|^p)^{1/p}`.

    Parameters
    ----------
    t : Tensor, shape (...)
        Variance in pixels squared, above 0.
    order : int
    p : float

    Returns
    -------
    Tensor, shape (...)

    Examples
    --------
    The L_1 norm of the first derivative is twice the maximum of the Gaussian:

    >>> import math, torch
    >>> float(continuous_norm(torch.tensor(1.0, dtype=torch.float64), 1)) - 2 / math.sqrt(2 * math.pi) < 1e-14
    True
    """
    return _norm_at_one(order, p) * t ** (-(order + 1 - 1 / p) / 2)


@lru_cache(maxsize=128)
def _norm_at_one(order: int, p: float) -> float:
    """Return the norm at t = 1, by quadrature between the zeros and the extrema of the derivative."""
    from scipy import integrate

    hermite, following = (np.polynomial.hermite_e.HermiteE.basis(m) for m in (order, order + 1))

    def size(x: float) -> float:
        return float(abs(hermite(x) * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)))

    roots = {float(root) for root in np.real([*hermite.roots(), *following.roots()]) if root > 1e-9}
    ends = sorted({0.0, *roots, 12.0 / math.sqrt(min(p, 1.0))})
    peak = max(map(size, ends))
    parts = [
        integrate.quad(lambda x: (size(x) / peak) ** p, low, high, epsabs=1e-15, epsrel=1e-13, limit=200)[0]
        for low, high in pairwise(ends)
    ]
    return float(peak * (2 * math.fsum(parts)) ** (1 / p))
