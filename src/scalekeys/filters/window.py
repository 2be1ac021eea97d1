"""Windows: filters of one size cut to another, or surrounded with zeros, along each axis."""

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.shapes import Size


def in_window(filters: Float[Tensor, "..."], window: Size) -> Float[Tensor, "..."]:
    """Cut filters to a window, or surround them with zeros up to it, central tap on central tap.

    `filters`: shape (..., *sides).
    `window`: a side for each axis of the filters, in the order of the array.
    Returns a tensor of shape (..., *window).

    >>> in_window(torch.tensor([[1.0, 2.0, 3.0]]), (3, 1))[:, 0]
    tensor([0., 2., 0.])
    >>> in_window(torch.tensor([1.0, 2.0, 3.0]), (5,))
    tensor([0., 1., 2., 3., 0.])
    """
    return padded(cropped(filters, window), window)


def cropped(filters: Float[Tensor, "..."], window: Size) -> Float[Tensor, "..."]:
    """Crop filters to a window around their central tap; axes that are smaller stay as they are.

    The centre of an even side is the tap before its middle, as in a convolution with ``padding="same"``.
    """
    for axis, side in enumerate(window, start=-len(window)):
        if filters.shape[axis] > side:
            filters = filters.narrow(axis, _centre(filters.shape[axis]) - _centre(side), side)
    return filters


def padded(filters: Float[Tensor, "..."], window: Size) -> Float[Tensor, "..."]:
    """Surround filters with zeros up to a window, central tap on central tap."""
    borders = []
    for axis, side in reversed(tuple(enumerate(window, start=-len(window)))):
        before = _centre(side) - _centre(filters.shape[axis])
        borders += [before, side - filters.shape[axis] - before]
    return torch.nn.functional.pad(filters, borders)


def _centre(side: int) -> int:
    return (side - 1) // 2
