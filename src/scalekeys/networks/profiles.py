"""Profiles along an axis of a window as functions of the scale, for training: few tensor operations, exact derivatives.

A profile is a difference operator applied to the discrete analogue of the Gaussian, cut to the window. The values of
the kernel are a constant matrix times the terms of a Chebyshev series, and so are their derivatives in t, by the heat
equation ``dT/dt = (T(n-1) - 2 T(n) + T(n+1)) / 2``; all profiles of a layer are another matrix times these values.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.fitting.grids import max_sigma
from scalekeys.fitting.series import kernel_series
from scalekeys.scalespace import DIFFERENCES, GAP, Window
from scalekeys.scalespace.differences import difference_rows

IMPULSE = "impulse"
"""Stands beside the difference operators: the profile that is the unit impulse at every scale."""

ORDERS = 3
"""A profile and its first two derivatives in t."""

_NEGLIGIBLE = 1e-13
_MARGIN = 1.0
"""By how much the interval of a series is longer than what it serves, so that rounding leads to no angle beyond it."""


def ceiling(size: tuple[int, int]) -> float:
    """Return the largest variance that the search of a fit tries in a window, where a kernel looks flat."""
    return max_sigma(size) ** 2


@dataclass(frozen=True, eq=False)
class Constants:
    """What :func:`profiles` needs, in float64.

    Parameters
    ----------
    series : Tensor, shape (length, 3 * values)
        What the terms of a series are multiplied by for ``T(0; t) .. T(radius; t)`` and the number 1, and for their
        first and second derivatives in t.
    folded : Tensor, shape (2, values, operators * taps)
        The operators along (x, y) as functions of these values; taps are those of the longer side, and what the shorter
        one lacks is zero.
    frequencies : Tensor, shape (length,)
        Of the terms of the series, in half of their angle.
    maximum : float
        Largest variance for which the series holds: enough for the larger of two scales.
    """

    series: Float[Tensor, "length derivatives_of_values"]
    folded: Float[Tensor, "2 values operators_of_taps"]
    frequencies: Float[Tensor, "length"]
    maximum: float


@lru_cache(maxsize=256)
def constants_of(operators: tuple[str, ...], size: tuple[int, int], window: Window) -> Constants:
    """Return the constants of some operators, or of :data:`IMPULSE`, on a window of rows and columns."""
    rows, cols = size
    longer, maximum = max(size), 2 * ceiling(size) + GAP
    radius = longer // 2 + max(operator.reach for operator in DIFFERENCES.values())
    folded = torch.zeros(2, len(operators), longer, radius + 2, dtype=torch.float64)
    for axis, taps in enumerate((cols, rows)):
        for number, name in enumerate(operators):
            functions = _functions(name, taps, radius, window)
            folded[axis, number, :taps] = functions.flip(0) if axis else functions  # rows run down and y points up
    series = _series(radius, maximum)
    frequencies = 2 * torch.arange(len(series), dtype=torch.float64)
    return Constants(series, folded.flatten(1, 2).mT.contiguous(), frequencies, maximum)


def _functions(name: str, taps: int, radius: int, window: Window) -> Tensor:
    """Return a profile as functions of ``T(0) .. T(radius)`` and 1: shape (taps, radius + 2)."""
    functions = torch.zeros(taps, radius + 2, dtype=torch.float64)
    if name == IMPULSE:
        functions[taps // 2, -1] = 1
        return functions
    whole = torch.tensor(difference_rows(DIFFERENCES[name], taps, radius - taps // 2, window), dtype=torch.float64)
    functions[:, :-1] = whole[:, radius:]
    functions[:, 1:-1] += whole[:, :radius].flip(1)
    return functions


def _series(radius: int, maximum: float) -> Tensor:
    """Return :attr:`Constants.series` without the last terms, where these are negligible together."""
    known = kernel_series(radius + ORDERS - 1, maximum + _MARGIN).coefficients.clone()
    known[:, 1::2] *= -1  # the terms are cos(k angle) with the angle that is 0 at t = 0, where the series has -1
    orders = [known]
    for _ in range(ORDERS - 1):
        wide = orders[-1]
        orders.append((torch.cat([wide[1:2], wide[:-2]]) + wide[1:]) / 2 - wide[:-1])
    series = torch.zeros(ORDERS, radius + 2, known.shape[1], dtype=torch.float64)
    series[:, :-1] = torch.stack([values[: radius + 1] for values in orders])
    series[0, -1, 0] = 1
    left = series.abs().amax((0, 1)).flip(0).cumsum(0).flip(0)
    return series[..., left > _NEGLIGIBLE].flatten(0, 1).T.contiguous()


def profiles(
    t: Float[Tensor, "2 kernels"], series: Tensor, folded: Tensor, frequencies: Tensor, maximum: float
) -> Float[Tensor, "2 kernels operators_of_taps"]:
    """Evaluate the profiles of all operators along x and y.

    Parameters
    ----------
    t : Tensor, shape (2, kernels)
        Variances along (x, y); what is not from 0 to `maximum` is brought there, see :func:`within`.
    series, folded, frequencies, maximum
        See :class:`Constants`; in the type and on the device of `t`.

    Returns
    -------
    Tensor, shape (2, kernels, operators * taps)
        With exact first and second derivatives in t, by the heat equation.
    """
    values: Tensor = _Smoothing.apply(t, series, frequencies, maximum)[0]  # type: ignore[no-untyped-call]
    return torch.bmm(values, folded)


def within(t: Tensor, maximum: float) -> Tensor:
    """Bring variances into ``0 .. maximum``, with a gradient beyond either end only where descent leads back inwards.

    Without any gradient there a variance would never come back, and with all of them it would drift on without effect.
    """
    inside: Tensor = _Within.apply(t, maximum)[0]  # type: ignore[no-untyped-call]
    return inside


class _Within(torch.autograd.Function):
    """See :func:`within`."""

    @staticmethod
    def forward(t: Tensor, maximum: float) -> tuple[Tensor, Tensor]:
        """Return what is inside, and by how much each value is beyond: below, negative, or above, positive."""
        inside = t.clamp(0.0, maximum)
        return inside, t - inside

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG004
        """Keep what is beyond."""
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Pass a gradient on unless descent along it leads further out."""
        return _inwards(gradients[0], ctx.saved_tensors[0]), None


class _Smoothing(torch.autograd.Function):
    """``T(0; t) .. T(radius; t)`` and 1, of variances brought into ``0 .. maximum`` as by :func:`within`.

    The terms of the series are ``cos(k phi)`` with ``sin(phi / 2)^2`` in proportion to ``t / (c + t)``. Derivatives
    come from the heat equation, not from the angle, whose own does not exist at t = 0.
    """

    @staticmethod
    def forward(t: Tensor, series: Tensor, frequencies: Tensor, maximum: float) -> tuple[Tensor, ...]:
        """Return the values, their first two derivatives in t, and by how much each variance is beyond."""
        end = maximum + _MARGIN
        bend = end**0.5
        inside = t.clamp(0.0, maximum)
        half_angle = inside.div(inside + bend).mul_((bend + end) / end).sqrt_().asin_()
        terms = (half_angle[..., None] * frequencies).cos_()
        return *(terms @ series).chunk(ORDERS, dim=-1), t - inside

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        """Keep the variances, the derivatives and what is beyond."""
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(inputs[0], *output[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Multiply by the derivative, and where that is differentiated again let it depend on t."""
        t, derivative, second, beyond = ctx.saved_tensors
        if torch.is_grad_enabled():
            derivative = derivative + second * (t - t.detach())[..., None]
        return _inwards((gradients[0] * derivative).sum(-1), beyond), None, None, None


def _inwards(gradient: Tensor, beyond: Tensor) -> Tensor:
    return gradient.masked_fill(gradient * beyond < 0, 0.0)
