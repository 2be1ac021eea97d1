"""Profiles along an axis of a window as functions of the scale, for training: few tensor operations, exact derivatives.

A profile is a difference operator applied to the discrete analogue of the Gaussian, cut to the window. The values of
the kernel are a constant matrix times the terms of a Chebyshev series, and so are their derivatives in t, by the heat
equation ``dT/dt = (T(n-1) - 2 T(n) + T(n+1)) / 2``; all profiles of a layer are another matrix times these values.
"""

from dataclasses import dataclass
from functools import lru_cache

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


def ceiling(size: tuple[int, int]) -> float:
    """Return the largest variance of a kernel in a window, at which it looks flat: that of the search of a fit."""
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
    maximum : float
        Largest variance for which the series holds: enough for the larger of two scales.
    """

    series: Float[Tensor, "length derivatives_of_values"]
    folded: Float[Tensor, "2 values operators_of_taps"]
    maximum: float


@lru_cache(maxsize=256)
def constants_of(operators: tuple[str, ...], size: tuple[int, int], window: Window) -> Constants:
    """Return the constants of some operators, or of :data:`IMPULSE`, on a window of rows and columns."""
    rows, cols = size
    longer, maximum = max(size), 2 * ceiling(size) + GAP + 1
    radius = longer // 2 + max(operator.reach for operator in DIFFERENCES.values())
    folded = torch.zeros(2, len(operators), longer, radius + 2, dtype=torch.float64)
    for axis, taps in enumerate((cols, rows)):
        for number, name in enumerate(operators):
            functions = _functions(name, taps, radius, window)
            folded[axis, number, :taps] = functions.flip(0) if axis else functions  # rows run down and y points up
    return Constants(_series(radius, maximum), folded.flatten(1, 2).mT.contiguous(), maximum)


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
    known = kernel_series(radius + ORDERS - 1, maximum).coefficients.clone()
    known[:, 1::2] *= -1  # the terms are cos(k angle) with the angle that is 0 at t = 0, where the series has -1
    orders = [known]
    for _ in range(ORDERS - 1):
        wide = orders[-1]
        orders.append((torch.cat([wide[1:2], wide[:-2]]) + wide[1:]) / 2 - wide[:-1])
    series = torch.zeros(ORDERS, radius + 2, known.shape[1], dtype=torch.float64)
    series[:, :-1] = torch.stack([values[: radius + 1] for values in orders])
    series[0, -1, 0] = 1
    return series.flatten(0, 1).T.contiguous()


def profiles(
    t: Float[Tensor, "2 kernels"], series: Tensor, folded: Tensor, maximum: float
) -> Float[Tensor, "2 kernels operators_of_taps"]:
    """Evaluate the profiles of all operators along x and y.

    Parameters
    ----------
    t : Tensor, shape (2, kernels)
        Variances along (x, y), from 0 to `maximum`.
    series, folded, maximum
        See :class:`Constants`; in the type and on the device of `t`.

    Returns
    -------
    Tensor, shape (2, kernels, operators * taps)

    Notes
    -----
    The values are those of a Chebyshev series, in ``cos(k phi)`` with ``sin(phi / 2)^2`` in proportion to
    ``t / (c + t)``. What is differentiated is their Taylor polynomial of second order at t, with the derivatives that
    the heat equation gives: first and second derivatives are exact, also at t = 0, where those of the angle do not
    exist.
    """
    with torch.no_grad():
        bend = maximum**0.5
        share = t * ((bend + maximum) / maximum) / (t + bend)
        angle = 2 * torch.asin(share.sqrt())
        terms = torch.cos(angle[..., None] * torch.arange(len(series), dtype=t.dtype, device=t.device))
        value, first, second = (terms @ series).chunk(ORDERS, dim=-1)
    step = (t - t.detach())[..., None]
    values = torch.addcmul(value, torch.addcmul(first, second, step, value=0.5), step)
    return torch.bmm(values, folded)


def within(values: Tensor, largest: float) -> Tensor:
    """Bring values into ``0 .. largest``, with a gradient at either end only where descent along it leads inwards.

    Without any gradient there a value would never come back, and with all of them it would drift on without effect.
    """
    inside: Tensor = _Within.apply(values, largest)  # type: ignore[no-untyped-call]
    return inside


class _Within(torch.autograd.Function):
    """See :func:`within`."""

    @staticmethod
    def forward(values: Tensor, largest: float) -> Tensor:
        """Clamp."""
        return values.clamp(0.0, largest)

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, float], _: Tensor) -> None:
        """Keep at which end a value is: below, -1, above, 1, or none, 0."""
        values, largest = inputs
        ctx.save_for_backward((values >= largest).to(values.dtype) - (values <= 0).to(values.dtype))

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        """Pass a gradient on unless its negative points outwards."""
        (end,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0].masked_fill(gradients[0] * end < 0, 0.0), None
