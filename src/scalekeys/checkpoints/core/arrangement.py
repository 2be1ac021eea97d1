"""How the filters of a depthwise layer stand in its weight: one function for each habit of a format.

Each gives the filters of a stored weight as an array of shape (channels, rows, cols), in the order of the output
channels. What is a view of the weight can be written back through it.
"""

from collections.abc import Callable
from math import isqrt
from typing import TypeAlias

import torch
from torch import Tensor

Arrangement: TypeAlias = Callable[[Tensor], Tensor]


def one_input_channel(weight: Tensor) -> Tensor:
    """Return the filters of a weight of shape (channels, 1, rows, cols), as torch and ONNX have it."""
    return weight[:, 0]


def sparse_columns(weight: Tensor) -> Tensor:
    """Return the filters of a sparse convolution: a weight of shape (rows * cols, channels), square kernels by columns.

    Fully convolutional masked autoencoders store the kernels of their encoder so (Woo et al., ConvNeXt V2, 2023).

    Examples
    --------
    >>> sparse_columns(torch.arange(9)[:, None])[0]
    tensor([[0, 3, 6],
            [1, 4, 7],
            [2, 5, 8]])
    """
    side = isqrt(len(weight))
    return weight.view(side, side, -1).permute(2, 1, 0)


def shape_of_filters(arrangement: Arrangement, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape (channels, rows, cols) of the filters in a weight of some shape.

    Examples
    --------
    >>> shape_of_filters(sparse_columns, (49, 96))
    (96, 7, 7)
    """
    return tuple(arrangement(torch.empty(shape, device="meta")).shape)
