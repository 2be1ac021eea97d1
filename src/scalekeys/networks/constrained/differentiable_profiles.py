"""Profiles along an axis of a window as functions of the scale, for training: few tensor operations, exact derivatives.

A profile is a difference operator applied to the discrete analogue of the Gaussian, cut to the window. The values of
the kernel are a constant matrix times the terms of a Chebyshev series, and so are their derivatives in t, by the heat
equation ``dT/dt = (T(n-1) - 2 T(n) + T(n+1)) / 2``; all profiles of a layer are another matrix times these values.
"""

from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.networks.constrained.kernel_series import series_coefficients
from scalekeys.scalespace import DIFFERENCES, GAP, IDENTITY, Difference, Window
from scalekeys.scalespace.differences import difference_rows

IMPULSE = "impulse"
"""Stands beside the difference operators: the profile of the unit impulse, which does not depend on the scale."""

Size: TypeAlias = tuple[int, ...]

_ORDERS = 3  # a profile and its first two derivatives in t
_NEGLIGIBLE = 1e-13
_MARGIN = 1.0  # by how much a series reaches beyond what it serves, so that rounding leads to no angle beyond its end


def ceiling(size: Size) -> float:
    """Return the largest value of the smaller of two variances, and of the gap between them, in a window."""
    return 32.0 * max(size) ** 2


def largest_variance(size: Size) -> float:
    """Return the largest variance in a window: its scale is eight times the longest side, where a kernel looks flat."""
    return 2 * ceiling(size) + GAP


class Constants(NamedTuple):
    """What :func:`profiles` needs beside the variances.

    Parameters
    ----------
    series : Tensor, shape (3 * values, length)
        What the terms of a series are multiplied by for ``T(0; t) .. T(radius; t)`` and the number 1, and for their
        first and second derivatives in t.
    frequencies : Tensor, shape (length, 1, 1)
        Of the terms of the series, in half of their angle.
    folded : Tensor, shape (axes, values, operators * taps)
        The operators along (x, y, z) as functions of these values; taps are those of the longest side, and what the
        other sides lack is zero.
    maximum : float
        Largest variance for which the series holds, see :func:`largest_variance`.
    """

    series: Float[Tensor, "derivatives_of_values length"]
    frequencies: Float[Tensor, "length 1 1"]
    folded: Float[Tensor, "axes values operators_of_taps"]
    maximum: float


@lru_cache(maxsize=256)
def constants_of(operators: tuple[str, ...], size: Size, window: Window) -> Constants:
    """Return the constants of some operators, or of :data:`IMPULSE`, on a window with given sides, in float64.

    Parameters
    ----------
    operators : tuple of str
        Names in :data:`scalekeys.scalespace.DIFFERENCES`, or :data:`IMPULSE`.
    size : tuple of int
        Sides in the order of the array: (cols,), (rows, cols) or (slices, rows, cols).
    window : {"exact", "published"}
    """
    longest, maximum = max(size), largest_variance(size)
    radius = longest // 2 + max(_operator(name).reach for name in operators)
    folded = torch.zeros(len(size), len(operators), longest, radius + 2, dtype=torch.float64)
    for axis, taps in enumerate(reversed(size)):
        for number, name in enumerate(operators):
            functions = _functions(name, taps, radius, window)
            folded[axis, number, :taps] = functions.flip(0) if axis == 1 else functions  # rows run down, y points up
    series = _series(radius, maximum)
    frequencies = 2 * torch.arange(series.shape[1], dtype=torch.float64)
    return Constants(series, frequencies[:, None, None], folded.flatten(1, 2).mT.contiguous(), maximum)


def _operator(name: str) -> Difference:
    return IDENTITY if name == IMPULSE else DIFFERENCES[name]


def _functions(name: str, taps: int, radius: int, window: Window) -> Tensor:
    """Return a profile as functions of ``T(0) .. T(radius)`` and 1: shape (taps, radius + 2).

    The unit impulse is the kernel T(.; 0), which is 1 at 0, whatever the scale.
    """
    functions = torch.zeros(taps, radius + 2, dtype=torch.float64)
    whole = torch.tensor(difference_rows(_operator(name), taps, radius - taps // 2, window), dtype=torch.float64)
    if name == IMPULSE:
        functions[:, -1] = whole[:, radius]
        return functions
    functions[:, :-1] = whole[:, radius:]
    functions[:, 1:-1] += whole[:, :radius].flip(1)
    return functions


def _series(radius: int, maximum: float) -> Tensor:
    """Return :attr:`Constants.series` without the last terms, where these are negligible together."""
    known = series_coefficients(radius + _ORDERS - 1, maximum + _MARGIN)
    known[:, 1::2] *= -1  # the terms are cos(k angle) with the angle that is 0 at t = 0, where the series has -1
    orders = [known]
    for _ in range(_ORDERS - 1):
        wide = orders[-1]
        orders.append((torch.cat([wide[1:2], wide[:-2]]) + wide[1:]) / 2 - wide[:-1])
    series = torch.zeros(_ORDERS, radius + 2, known.shape[1], dtype=torch.float64)
    series[:, :-1] = torch.stack([values[: radius + 1] for values in orders])
    series[0, -1, 0] = 1
    left = series.abs().amax((0, 1)).flip(0).cumsum(0).flip(0)
    return series[..., left > _NEGLIGIBLE].flatten(0, 1)


def profiles(t: Float[Tensor, "axes kernels"], constants: Constants) -> Float[Tensor, "axes kernels operators_of_taps"]:
    """Evaluate the profiles of all operators along the axes.

    Parameters
    ----------
    t : Tensor, shape (axes, kernels)
        Variances along (x, y, z); those beyond ``0 .. constants.maximum`` are brought there, see :func:`within`.
    constants : Constants
        In the type and on the device of `t`.

    Returns
    -------
    Tensor, shape (axes, kernels, operators * taps)
        With exact first and second derivatives in t, by the heat equation.
    """
    series, frequencies, folded, maximum = constants
    values: Tensor = _Smoothing.apply(t, series, frequencies, maximum)  # type: ignore[no-untyped-call]
    return torch.bmm(values.permute(1, 2, 0), folded)


def within(t: Tensor, maximum: float) -> Tensor:
    """Bring variances into ``0 .. maximum``, with a gradient beyond either end only where descent leads back inwards.

    Without any gradient there a variance would never come back, and with all of them it would drift on without effect.
    """
    inside: Tensor = _Within.apply(t, maximum)  # type: ignore[no-untyped-call]
    return inside


class _Within(torch.autograd.Function):
    """See :func:`within`."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, maximum: float) -> Tensor:
        """Return the nearest variances inside."""
        ctx.maximum = maximum
        ctx.save_for_backward(t)
        return t.clamp(0.0, maximum)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Pass a gradient on unless descent along it leads further out."""
        (t,) = ctx.saved_tensors
        return _inwards(gradients[0], t, ctx.maximum), None


class _Smoothing(torch.autograd.Function):
    """``T(0; t) .. T(radius; t)`` and 1, of variances brought into ``0 .. maximum`` as by :func:`within`.

    The terms of the series are ``cos(k phi)`` with ``sin(phi / 2)^2`` in proportion to ``t / (c + t)``. Derivatives
    come from the heat equation, not from the angle, whose own does not exist at t = 0.
    """

    @staticmethod
    def forward(ctx: Any, t: Tensor, series: Tensor, frequencies: Tensor, maximum: float) -> Tensor:
        """Return the values, shape (values, axes, kernels), and keep their first two derivatives in t."""
        end = maximum + _MARGIN
        bend = end**0.5
        inside = t.clamp(0.0, maximum)
        half_angle = inside.div(inside + bend).mul_((bend + end) / end).sqrt_().asin_()
        terms = (frequencies * half_angle).cos_()
        values, first, second = (series @ terms.flatten(1)).view(-1, *t.shape).chunk(_ORDERS)
        ctx.maximum = maximum
        ctx.save_for_backward(t, first, second)
        return values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Multiply by the derivative, and where that is differentiated again let it depend on t."""
        t, derivative, second = ctx.saved_tensors
        if torch.is_grad_enabled():
            derivative = derivative + second * (t - t.detach())
        return _inwards((gradients[0] * derivative).sum(0), t, ctx.maximum), None, None, None


def _inwards(gradient: Tensor, t: Tensor, maximum: float) -> Tensor:
    beyond = (t - t.clamp(0.0, maximum)).detach()
    return gradient.masked_fill(gradient * beyond < 0, 0.0)
