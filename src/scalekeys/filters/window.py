"""Windows: filters of one size cut to another, or surrounded with zeros."""

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

Size: TypeAlias = tuple[int, int]


def in_window(filters: Float[Tensor, "*batch rows cols"], window: Size) -> Float[Tensor, "*batch _rows _cols"]:
    """Cut filters to a window, or surround them with zeros up to it, central tap on central tap.

    Examples
    --------
    >>> in_window(torch.tensor([[1.0, 2.0, 3.0]]), (3, 1))[:, 0]
    tensor([0., 2., 0.])
    """
    return padded(cropped(filters, window), window)


def cropped(filters: Float[Tensor, "*batch rows cols"], window: Size) -> Float[Tensor, "*batch _rows _cols"]:
    """Crop filters to a window around their central tap; axes that are smaller stay as they are.

    The centre of an even side is the tap before its middle, as in a convolution with ``padding="same"``.
    """
    for axis, side in ((-2, window[0]), (-1, window[1])):
        if filters.shape[axis] > side:
            filters = filters.narrow(axis, (filters.shape[axis] - 1) // 2 - (side - 1) // 2, side)
    return filters


def padded(filters: Float[Tensor, "*batch rows cols"], window: Size) -> Float[Tensor, "*batch _rows _cols"]:
    """Surround filters with zeros up to a window, central tap on central tap."""
    (rows, cols), (height, width) = filters.shape[-2:], window
    top, left = (height - 1) // 2 - (rows - 1) // 2, (width - 1) // 2 - (cols - 1) // 2
    return torch.nn.functional.pad(filters, (left, width - cols - left, top, height - rows - top))
