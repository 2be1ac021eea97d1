r"""Discrete approximations of Gaussian derivatives, of any order along each of one to three axes.

With :math:`g(x; t)` the Gaussian density of variance t and T the discrete analogue of the Gaussian, the derivative of
order m is, by the name of the discretization:

- ``discrete``: central differences :math:`\delta^m T(n; t)`;
- ``sampled``: the derivative :math:`g^{(m)}(n; t)` at the pixels;
- ``normalized-sampled``: the same, divided by the sum of :math:`g(n; t)` over all integers n; at places half-way
  between integers, the taps of even sides and the one-sided differences along odd sides, by the sum over these places;
- ``integrated``: the integral of :math:`g^{(m)}` over each pixel;
- ``hybrid-sampled``: central differences of the normalized sampled Gaussian;
- ``hybrid-integrated``: central differences of the integrated Gaussian.

The central difference of order m is :math:`\delta\delta` applied m / 2 times, and for an odd m :math:`\delta` after it.

References
----------
T. Lindeberg, "Discrete approximations of Gaussian smoothing and Gaussian derivatives", JMIV 66:759-800, 2024.
T. Lindeberg, "Approximation properties relative to continuous scale space for hybrid discretizations of Gaussian
derivative operators", Frontiers in Signal Processing 4:1447841, 2025.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.scalespace.differences import CENTRAL, SECOND, Difference, compose, difference
from scalekeys.scalespace.discretizations import (
    Discretization,
    check_discretization,
    checked_taps,
    density,
    distribution,
    integer_taps,
    positive_variances,
)
from scalekeys.scalespace.gaussian import discrete_gaussian
from scalekeys.shapes import Kernel1d, Variances

_Values = TypeVar("_Values", Tensor, np.ndarray)

DIRECT = 0.5
"""Variance up to which the sum over a lattice is taken directly, and beyond which by its Fourier series."""

REACH = 8
"""Pixels on either side that matter to the direct sum."""


def gaussian_derivative(t: Variances, order: int, radius: int, discretization: Discretization = "discrete") -> Kernel1d:
    r"""Evaluate a derivative of the Gaussian on the taps of one axis from ``-radius`` to ``radius``.

    Parameters
    ----------
    t : Tensor, shape (...), float32 or float64
        Variance in pixels squared, ``t >= 0``.
    order : int
        Order of differentiation, at least 0.
    radius : int
        Half width of the support.
    discretization : str
        ``"discrete"``, ``"sampled"``, ``"normalized-sampled"``, ``"integrated"``, ``"hybrid-sampled"`` or
        ``"hybrid-integrated"``, see :mod:`scalekeys.scalespace.gaussian_derivatives`.

    Returns
    -------
    Tensor, shape (..., 2 radius + 1)
        The taps in the order of growing coordinates, differentiable in `t`. The kernel is a part of the kernel on all
        integers, cut off at the radius.

    Raises
    ------
    ModelError
        If the discretization is unknown, the order or the radius negative, or `t` no variance.

    Notes
    -----
    The discrete analogue and both hybrids respond to the monomial :math:`x^m / m!` with exactly 1; the sampled and the
    integrated derivatives do so at coarse scales only. At ``t = 0`` each takes its limit: the sampled derivatives of
    even order are infinite at the centre, and the integrated ones of order 1 and above vanish.

    References
    ----------
    T. Lindeberg, "Discrete approximations of Gaussian smoothing and Gaussian derivatives", JMIV 66:759-800, 2024,
    sections 2 and 3.

    Examples
    --------
    >>> import torch
    >>> from scalekeys.scalespace import gaussian_derivative
    >>> t = torch.tensor(0.5, dtype=torch.float64)
    >>> gaussian_derivative(t, 1, 2)
    tensor([ 0.0774,  0.3128,  0.0000, -0.3128, -0.0774], dtype=torch.float64)
    >>> gaussian_derivative(t, 1, 2, "sampled")
    tensor([ 0.0413,  0.4151, -0.0000, -0.4151, -0.0413], dtype=torch.float64)
    """
    check_discretization(discretization)
    if order < 0:
        raise ModelError(f"the order of a derivative must be at least 0, got {order}")
    taps = checked_taps(t, radius)
    if is_direct(discretization):
        return derivative_at(t, order, taps, discretization)
    operator = central_difference(order)
    return difference(smoothing_kernel(t, radius + operator.reach, discretization), operator)


def derivative_kernel(
    t: Float[Tensor, "*batch axes"],
    orders: Sequence[int],
    radius: int | Sequence[int],
    discretization: Discretization = "discrete",
) -> Float[Tensor, "..."]:
    """Evaluate a partial derivative of the Gaussian on one, two or three axes.

    Parameters
    ----------
    t : Tensor, shape (..., D)
        Variances along the axes in the order (x, y, z), pixels squared.
    orders : sequence of int, length D
        Orders of differentiation along (x, y, z).
    radius : int or sequence of int
        Half width of the support, for all axes or along (x, y, z).
    discretization : str
        See :func:`gaussian_derivative`.

    Returns
    -------
    Tensor, shape (..., *size)
        An outer product in the order of the array, (cols,), (rows, cols) or (slices, rows, cols); rows run down and y
        points up. Differentiable in `t`.

    Raises
    ------
    ModelError
        If the numbers of variances, orders and radii differ, or for the reasons of :func:`gaussian_derivative`.

    Examples
    --------
    >>> import torch
    >>> derivative_kernel(torch.zeros(2), (1, 1), 1) + 0.0
    tensor([[-0.2500,  0.0000,  0.2500],
            [ 0.0000,  0.0000,  0.0000],
            [ 0.2500,  0.0000, -0.2500]])
    """
    axes = len(orders)
    radii = [radius] * axes if isinstance(radius, int) else list(radius)
    if axes not in (1, 2, 3) or t.ndim == 0 or t.shape[-1] != axes or len(radii) != axes:
        raise ModelError(
            "t must end in an axis of one variance for each of one to three orders and radii, "
            f"got shape {tuple(t.shape)}, {axes} orders and {len(radii)} radii"
        )
    field: Tensor | None = None
    for axis, (order, own) in enumerate(zip(orders, radii, strict=True)):
        profile = gaussian_derivative(t[..., axis], order, own, discretization)
        profile = profile.flip(-1) if axis == 1 else profile
        if field is not None:
            profile = profile[(..., *[None] * axis)] * field.unsqueeze(-1 - axis)
        field = profile
    assert field is not None
    return field


def central_difference(order: int) -> Difference:
    """Return the central difference operator of an order.

    Examples
    --------
    >>> dict(central_difference(3).stencil)
    {2: 0.5, 1: -1.0, 0: 0.0, -1: 1.0, -2: -0.5}
    """
    return compose(*[CENTRAL] * (order % 2), *[SECOND] * (order // 2))


def is_direct(discretization: Discretization) -> bool:
    """Whether derivatives are taken of the continuous Gaussian, and not by differences of a discrete kernel."""
    return discretization in ("sampled", "normalized-sampled", "integrated")


def smoothing_kernel(
    t: Tensor, radius: int, discretization: Discretization, *, max_variance: float | None = None
) -> Tensor:
    """Return the kernel on ``-radius .. radius`` of which a discretization takes differences."""
    if discretization == "discrete":
        return discrete_gaussian(t, radius, max_variance=max_variance)
    own: Discretization = "normalized-sampled" if discretization == "hybrid-sampled" else "integrated"
    return derivative_at(t, 0, integer_taps(t, radius), own)


def derivative_at(t: Tensor, order: int, x: Tensor, discretization: Discretization) -> Tensor:
    """Return a derivative of the continuous Gaussian at places x, sampled or integrated over a pixel around each.

    `t`: shape (...).
    `x`: shape (taps,); integers and places half-way between integers; samples at either are normalized by their own
    sum.
    Returns a tensor of shape (..., taps).
    """
    positive, safe = positive_variances(t)
    limit = torch.where(x == 0, 1.0, torch.where(x.abs() == 0.5, 0.5, 0.0)) if order == 0 else torch.zeros_like(x)
    if discretization == "integrated":
        return torch.where(positive, _integrated(safe, order, x), limit)
    if discretization == "normalized-sampled":
        log_sum = torch.where(x % 1 == 0, _log_sum(safe, half=False), _log_sum(safe, half=True))
        weight = torch.exp(-x * x / (2 * safe) - log_sum)
    else:
        weight = density(safe, x)
    if order % 2 == 0 and (order or discretization == "sampled"):
        limit = torch.where(x == 0, math.inf * (-1) ** (order // 2), 0.0)
    return torch.where(positive, derivatives_of(weight, x, safe, order)[order], limit.to(t.dtype))


def derivatives_of(weight: _Values, x: Any, t: Any, order: int) -> list[_Values]:
    """Return the derivatives up to an order of a Gaussian whose values are given, as tensors or as arrays.

    By ``g_(k + 1) = -(x g_k + k g_(k - 1)) / t``, where g_k is the derivative of order k.
    """
    found = [weight]
    for k in range(order):
        lower = found[k - 1] * k if k else 0.0
        found.append(-(x * found[k] + lower) / t)
    return found


def _integrated(t: Tensor, order: int, x: Tensor) -> Tensor:
    def antiderivative(y: Tensor) -> Tensor:
        if order == 0:
            return distribution(t, y)
        return derivatives_of(density(t, y), y, t, order - 1)[-1]

    return antiderivative(x + 0.5) - antiderivative(x - 0.5)


def _log_sum(t: Tensor, *, half: bool) -> Tensor:
    """Logarithm of the sum of ``exp(-x^2 / 2 t)`` over all integers, or all places half-way between them."""
    n = torch.arange(-REACH, REACH + 1 - half, dtype=t.dtype, device=t.device) + 0.5 * half
    direct = torch.logsumexp(-n * n / (2 * t.clamp(max=DIRECT)), dim=-1, keepdim=True)
    wave = 2 * torch.exp(-2 * math.pi**2 * t.clamp(min=DIRECT))
    series = 0.5 * torch.log(2 * math.pi * t) + torch.log1p(-wave if half else wave)
    return torch.where(t < DIRECT, direct, series)
