"""How the filters of a convolution stand in its weight: one function for each habit of a format.

Each gives a view of a stored weight with the shape (groups, outputs of a group, inputs of a group, *sides), so that the
filters can be written back through it. In this order they are the filters of a layer: those of the first output channel
come first, one for each input of its group. Where outputs stand in the order of the network whatever their group, as
almost everywhere, the weight counts as one group.
"""

from collections.abc import Callable
from functools import partial
from math import isqrt
from typing import TypeAlias

import torch
from torch import Tensor

Arrangement: TypeAlias = Callable[[Tensor], Tensor]

LEADING = 3
"""How many axes of an arranged weight count filters."""


def outputs_first(weight: Tensor) -> Tensor:
    """Arrange a weight of shape (outputs, inputs of a group, *sides), as torch and ONNX have it.

    >>> outputs_first(torch.zeros(8, 1, 3, 5)).shape
    torch.Size([1, 8, 1, 3, 5])
    """
    return weight[None]


def inputs_first(groups: int) -> Arrangement:
    """Return the arrangement of a transposed convolution: a weight of shape (inputs, outputs of a group, *sides).

    >>> inputs_first(2)(torch.zeros(8, 3, 5)).shape
    torch.Size([2, 3, 4, 5])
    """
    return partial(_inputs_first, groups=groups)


def _inputs_first(weight: Tensor, groups: int) -> Tensor:
    grouped: Tensor = weight.unflatten(0, (groups, -1))
    return grouped.transpose(1, 2)


def sparse_columns(weight: Tensor) -> Tensor:
    """Arrange a depthwise sparse convolution: a weight of shape (rows * cols, channels), square kernels by columns.

    Fully convolutional masked autoencoders store the kernels of their encoder so (Woo et al., ConvNeXt V2, 2023).

    >>> sparse_columns(torch.arange(9)[:, None])[0, 0, 0]
    tensor([[0, 3, 6],
            [1, 4, 7],
            [2, 5, 8]])
    """
    side = isqrt(len(weight))
    return weight.view(side, side, -1).permute(2, 1, 0)[None, :, None]


def sparse_kernels(weight: Tensor) -> Tensor:
    """Arrange an ordinary sparse convolution: a weight of shape (rows * cols, inputs, outputs), kernels by columns.

    >>> sparse_kernels(torch.zeros(9, 8, 16)).shape
    torch.Size([1, 16, 8, 3, 3])
    """
    side = isqrt(len(weight))
    return weight.view(side, side, *weight.shape[1:]).permute(3, 2, 1, 0)[None]


def channels_of(arrangement: Arrangement, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many outputs, and inputs of a group, a weight of some shape has.

    >>> channels_of(outputs_first, (8, 3, 5, 5)), channels_of(inputs_first(2), (8, 3, 5, 5))
    ((8, 3), (6, 4))
    """
    groups, outputs, inputs = arrangement(torch.empty(shape, device="meta")).shape[:LEADING]
    return groups * outputs, inputs


def shape_of_filters(arrangement: Arrangement, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape (filters, *sides) of the filters in a weight of some shape.

    >>> shape_of_filters(sparse_columns, (49, 96)), shape_of_filters(outputs_first, (8, 3, 5))
    ((96, 7, 7), (24, 5))
    """
    outputs, inputs = channels_of(arrangement, shape)
    return (outputs * inputs, *arrangement(torch.empty(shape, device="meta")).shape[LEADING:])
