"""Sides of kernels that follow their scales."""

from jaxtyping import Float
from torch import Tensor

from scalekeys.scalespace import discrete_gaussian
from scalekeys.shapes import Size

MASS_OUTSIDE = 1e-3
"""The share of a smoothing along an axis that may lie outside the window."""

LARGEST = 63
"""The longest side that a kernel takes by itself."""

_SMALLEST = 3


def sides_holding(variances: Float[Tensor, "kernels axes"]) -> Size:
    """Return the smallest odd sides that hold all but a thousandth of each smoothing, along each axis.

    `variances`: shape (kernels, axes); along (x, y, z), pixels squared.
    Returns sides from 3 to 63, in the order of the array.

    >>> import torch
    >>> sides_holding(torch.tensor([[1.0, 0.25], [4.0, 0.25]]))
    (5, 15)
    """
    mass = discrete_gaussian(variances.detach().cpu().double().amax(0), LARGEST // 2)
    right = mass[:, LARGEST // 2 :]
    held = 2 * right.cumsum(1) - right[:, :1]
    radius = (held < 1 - MASS_OUTSIDE).sum(1)
    return tuple(int(side) for side in (2 * radius + 1).clamp(_SMALLEST, LARGEST).flip(0))
