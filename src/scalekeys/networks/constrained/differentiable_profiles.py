"""Profiles along an axis of a window as functions of the scale, for training: few tensor operations, exact derivatives.

A profile is a difference operator applied to the discrete analogue of the Gaussian, cut to the window, or a derivative
in another discretization. The values of the kernel are a constant matrix times decaying exponentials of the variance,
and all profiles of a layer are another matrix times these values.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.networks.constrained.exponential_sums import exponential_sum
from scalekeys.scalespace import GAP, Discretization, Window, smallest_variance
from scalekeys.scalespace.profiles import Profiles
from scalekeys.shapes import Size

_LATTICE = 2.0  # the fastest decay on a lattice of pixels, of the pattern 1, -1, 1, -1, ...
_FASTEST = 20.0  # in other discretizations, divided by the smallest variance


def ceiling(size: Size) -> float:
    """Return the largest value of the smaller of two variances, and of the gap between them, in a window."""
    return 32.0 * max(size) ** 2


def largest_variance(size: Size) -> float:
    """Return the largest variance in a window: its scale is eight times the longest side, where a kernel looks flat."""
    return 2 * ceiling(size) + GAP


class Constants(NamedTuple):
    """What :func:`profiles` needs beside the variances."""

    rates: Float[Tensor, "rates 1"]
    """Of the exponentials, negative; the last one is 0."""
    series: Float[Tensor, "values rates"]
    """What the exponentials are multiplied by for ``T(0; t) .. T(radius; t)``, or the atoms of another discretization,
    and the number 1."""
    folded: Float[Tensor, "axes operators_of_taps values"]
    """The operators along (x, y, z) as functions of these values; taps are those of the longest side, and what the
    other sides lack is zero."""
    minimum: float
    maximum: float
    """`minimum` and `maximum`: variances between which the series holds, see :func:`largest_variance`."""
    operators: tuple[str, ...]
    window: tuple[Size, Window, Discretization]
    """Sides, kind and discretization; with the operators, all that constants depend on."""


@lru_cache(maxsize=256)
def constants_of(
    operators: tuple[str, ...], size: Size, window: Window, discretization: Discretization = "discrete"
) -> Constants:
    """Return the constants of some operators on a window with given sides, in float64.

    `operators`: names in :data:`scalekeys.scalespace.DIFFERENCES`, or :data:`scalekeys.scalespace.IMPULSE`.
    """
    along = Profiles([operators] * len(size), size[::-1], window, discretization, folded=True)
    folded = torch.zeros(len(size), len(operators), max(size), len(along.atoms) + 1, dtype=torch.float64)
    for axis, taps in enumerate(reversed(size)):
        folded[axis, :, :taps] = torch.tensor(along.rows[axis], dtype=torch.float64)
    minimum, maximum = smallest_variance(discretization), largest_variance(size)
    rates, coefficients = exponential_sum(
        lambda excess: along.values(excess + minimum, max_variance=maximum).T,
        maximum - minimum,
        _FASTEST / minimum if minimum else _LATTICE,
    )
    series = torch.zeros(len(coefficients) + 1, len(rates) + 1, dtype=torch.float64)
    series[:-1, :-1], series[-1, -1] = coefficients, 1.0
    rates = torch.cat([-rates, rates.new_zeros(1)])[:, None]
    return Constants(rates, series, folded.flatten(1, 2), minimum, maximum, operators, (size, window, discretization))


def profiles(t: Float[Tensor, "axes kernels"], constants: Constants) -> Float[Tensor, "axes operators taps kernels"]:
    """Evaluate the profiles of all operators along the axes.

    `t`: variances along (x, y, z); those beyond ``constants.minimum .. constants.maximum`` are brought there, see
    :func:`within`.
    `constants`: in the type and on the device of `t`.
    Taps are those of the longest side; what the other sides lack is zero.
    """
    return profiles_inside(inside(t, constants), constants)


def inside(t: Float[Tensor, "axes kernels"], constants: Constants) -> Float[Tensor, "axes kernels"]:
    """Bring variances where the series holds, and return by how much they exceed the smallest."""
    minimum, maximum = constants.minimum, constants.maximum
    return within(t - minimum if minimum else t, maximum - minimum)


def profiles_inside(
    excess: Float[Tensor, "axes kernels"], constants: Constants
) -> Float[Tensor, "axes operators taps kernels"]:
    """Evaluate the profiles at variances of :func:`inside`."""
    values = constants.series @ torch.exp(constants.rates * excess.reshape(-1))
    along = torch.bmm(constants.folded, values.view(-1, *excess.shape).transpose(0, 1))
    return along.view(len(along), len(constants.operators), -1, excess.shape[1])


def with_slopes(
    excess: Float[Tensor, "axes kernels"], constants: Constants
) -> Float[Tensor, "axes operators taps 2 kernels"]:
    """Evaluate the profiles at variances of :func:`inside`, and their derivatives by the variance, without a graph."""
    decays = (constants.rates * excess.reshape(-1)).exp_()
    both = torch.cat([constants.series, constants.series * constants.rates.T]) @ decays
    values = both.view(2, -1, *excess.shape).permute(2, 1, 0, 3).flatten(2)
    along = torch.bmm(constants.folded, values)
    return along.view(len(along), len(constants.operators), -1, 2, excess.shape[1])


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
        inside = t.clamp(0.0, maximum)
        ctx.save_for_backward(t - inside)
        return inside

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Pass a gradient on unless descent along it leads further out."""
        (beyond,) = ctx.saved_tensors
        return gradients[0].masked_fill(gradients[0] * beyond < 0, 0.0), None
