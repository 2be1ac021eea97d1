"""Profiles along an axis of a window as functions of the scale, for training: few tensor operations, exact derivatives.

A profile is a difference operator applied to the discrete analogue of the Gaussian, cut to the window, or a derivative
in another discretization. The values of the kernel are a constant matrix times the terms of a Chebyshev series, and so
are their derivatives in t, for the discrete analogue by the heat equation
``dT/dt = (T(n-1) - 2 T(n) + T(n+1)) / 2``; all profiles of a layer are another matrix times these values.
"""

from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.networks.constrained.kernel_series import series_coefficients
from scalekeys.scalespace import GAP, Discretization, Window, discrete_gaussian, smallest_variance
from scalekeys.scalespace.gaussian_derivatives import derivative_at
from scalekeys.scalespace.profiles import Profiles

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
        What the terms of a series are multiplied by for ``T(0; t) .. T(radius; t)``, or the atoms of another
        discretization, and the number 1, and for their first and second derivatives in t.
    frequencies : Tensor, shape (length, 1, 1)
        Of the terms of the series, in half of their angle.
    folded : Tensor, shape (axes, values, operators * taps)
        The operators along (x, y, z) as functions of these values; taps are those of the longest side, and what the
        other sides lack is zero.
    minimum, maximum : float
        Variances between which the series holds, see :func:`largest_variance`.
    bend : float
        See :func:`series_coefficients`.
    """

    series: Float[Tensor, "derivatives_of_values length"]
    frequencies: Float[Tensor, "length 1 1"]
    folded: Float[Tensor, "axes values operators_of_taps"]
    minimum: float
    maximum: float
    bend: float


@lru_cache(maxsize=256)
def constants_of(
    operators: tuple[str, ...], size: Size, window: Window, discretization: Discretization = "discrete"
) -> Constants:
    """Return the constants of some operators on a window with given sides, in float64.

    Parameters
    ----------
    operators : tuple of str
        Names in :data:`scalekeys.scalespace.DIFFERENCES`, or :data:`scalekeys.scalespace.IMPULSE`.
    size : tuple of int
        Sides in the order of the array: (cols,), (rows, cols) or (slices, rows, cols).
    window : {"exact", "published"}
    discretization : str
    """
    along = Profiles([operators] * len(size), size[::-1], window, discretization, folded=True)
    folded = torch.zeros(len(size), len(operators), max(size), len(along.atoms) + 1, dtype=torch.float64)
    for axis, taps in enumerate(reversed(size)):
        folded[axis, :, :taps] = torch.tensor(along.rows[axis], dtype=torch.float64)
    minimum, maximum = smallest_variance(discretization), largest_variance(size)
    bend = ((maximum - minimum + _MARGIN) * (minimum or 1.0)) ** 0.5
    series = _series(along, maximum - minimum + _MARGIN, bend)
    frequencies = 2 * torch.arange(series.shape[1], dtype=torch.float64)
    folded = folded.flatten(1, 2).mT.contiguous()
    return Constants(series, frequencies[:, None, None], folded, minimum, maximum, bend)


def _series(along: Profiles, width: float, bend: float) -> Tensor:
    """Return :attr:`Constants.series` without the last terms, where these are negligible together."""
    atoms = len(along.atoms)
    if along.discretization == "discrete":
        orders = _discrete_series(atoms - 1, width, bend)
    else:
        known = series_coefficients(lambda excess: _derivatives(along, excess), width, bend)
        orders = known.unflatten(0, (_ORDERS, -1))
    orders[..., 1::2] *= -1  # the terms are cos(k angle) with an angle that is 0 at the start, where the series has -1
    series = torch.zeros(_ORDERS, atoms + 1, orders.shape[-1], dtype=torch.float64)
    series[:, :-1] = orders
    series[0, -1, 0] = 1
    left = series.abs().amax((0, 1)).flip(0).cumsum(0).flip(0)
    return series[..., left > _NEGLIGIBLE].flatten(0, 1)


def _discrete_series(radius: int, width: float, bend: float) -> Tensor:
    """Return the series of ``T(0) .. T(radius)`` and of two derivatives, by the heat equation: (3, taps, length)."""
    wide = radius + _ORDERS - 1
    orders = [series_coefficients(lambda t: discrete_gaussian(t, wide)[:, wide:].T, width, bend)]
    for _ in range(_ORDERS - 1):
        known = orders[-1]
        orders.append((torch.cat([known[1:2], known[:-2]]) + known[1:]) / 2 - known[:-1])
    return torch.stack([values[: radius + 1] for values in orders])


def _derivatives(along: Profiles, excess: Tensor) -> Tensor:
    """Return the atoms of another discretization, and two derivatives in t, beyond its smallest variance.

    By the heat equation of the continuous Gaussian, ``dg/dt = g'' / 2``; of shape (3 * atoms, variances).
    """
    t = excess + smallest_variance(along.discretization)
    base: Discretization = "integrated" if along.discretization.endswith("integrated") else "sampled"

    def derivative(order: int, place: float) -> Tensor:
        return derivative_at(t, order, torch.tensor([place], dtype=t.dtype), base)[:, 0]

    g = [torch.stack([derivative(m + 2 * k, x) / 2**k for m, x in along.atoms]) for k in range(_ORDERS)]
    if base == "sampled" and along.discretization != "sampled":
        lattice = [int(place % 1 != 0) for _, place in along.atoms]
        r, r1, r2 = (torch.stack(both)[lattice] for both in zip(*map(_factor, (t, t), (0.0, 0.5)), strict=True))
        g = [g[0] * r, g[1] * r + g[0] * r1, g[2] * r + 2 * g[1] * r1 + g[0] * r2]
    return torch.cat(g)


def _factor(t: Tensor, place: float) -> list[Tensor]:
    """Return what normalizes the samples at the integers, or half-way between them, with two derivatives in t."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        t, x = t.clone().requires_grad_(), torch.tensor([place], dtype=t.dtype)
        found = [(derivative_at(t, 0, x, "normalized-sampled") / derivative_at(t, 0, x, "sampled"))[:, 0]]
        for _ in range(_ORDERS - 1):
            found.append(torch.autograd.grad(found[-1].sum(), t, create_graph=True)[0])
    return [one.detach() for one in found]


def profiles(t: Float[Tensor, "axes kernels"], constants: Constants) -> Float[Tensor, "axes kernels operators_of_taps"]:
    """Evaluate the profiles of all operators along the axes.

    Parameters
    ----------
    t : Tensor, shape (axes, kernels)
        Variances along (x, y, z); those beyond ``constants.minimum .. constants.maximum`` are brought there, see
        :func:`within`.
    constants : Constants
        In the type and on the device of `t`.

    Returns
    -------
    Tensor, shape (axes, kernels, operators * taps)
        With exact first and second derivatives in t.
    """
    series, frequencies, folded, minimum, maximum, bend = constants
    ends = (maximum - minimum, bend)
    excess = t - minimum if minimum else t
    values: Tensor = _Smoothing.apply(excess, series, frequencies, ends)  # type: ignore[no-untyped-call]
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
    """The atoms and 1, of variances beyond the smallest that are brought into ``0 .. maximum`` as by :func:`within`.

    The terms of the series are ``cos(k phi)`` with ``sin(phi / 2)^2`` in proportion to ``t / (c + t)``. Derivatives
    have series of their own, and do not come from the angle, whose own does not exist at t = 0.
    """

    @staticmethod
    def forward(ctx: Any, t: Tensor, series: Tensor, frequencies: Tensor, ends: tuple[float, float]) -> Tensor:
        """Return the values, shape (values, axes, kernels), and keep their first two derivatives in t."""
        maximum, bend = ends
        end = maximum + _MARGIN
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
