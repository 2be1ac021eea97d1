"""Depthwise weights that onnxruntime has reordered for its CPU, in blocks of 8 or 16 channels (NCHWc).

A weight of shape (C, 1, rows, cols) keeps its shape, with C filled up by zeros to whole blocks, and its numbers
stand as (blocks, rows, cols, channels of a block). The file does not say how large a block is: it depends on the
machine that wrote the file. The number of channels tells, or a channel of zeros, which is one under one size only.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod

import numpy as np

from scalekeys.checkpoints.formats.onnx_model.parsed import NotReadError

SIZES = (8, 16)
LAYOUT = "its weight is in the blocked layout of onnxruntime (com.microsoft.nchwc)"


@dataclass(frozen=True, eq=False)
class Reordered:
    """A reordered weight, not necessarily a depthwise one, and the groups of its convolution."""

    shape: tuple[int, ...]
    groups: int
    load: Callable[[], np.ndarray]


def in_order(weight: np.ndarray, size: int) -> np.ndarray:
    """Return a reordered depthwise weight as it was, with the channels that fill up the last block.

    >>> in_order(np.arange(32).reshape(8, 1, 2, 2), 8)[:2, 0].tolist()
    [[[0, 8], [16, 24]], [[1, 9], [17, 25]]]
    """
    if len(weight) % size:
        raise NotReadError(f"{LAYOUT}, and {len(weight)} channels are no whole blocks of {size}")
    return weight.reshape(len(weight) // size, -1, size).transpose(0, 2, 1).reshape(weight.shape)


def block_size(weights: Iterable[Reordered]) -> int:
    """Return how many channels a block has in a model, from all its reordered weights.

    Raises NotReadError if they do not tell.
    """
    told = {size for weight in weights if (size := _told_by(weight))}
    if len(told) != 1:
        raise NotReadError(
            f"{LAYOUT}, and nothing tells whether in blocks of {SIZES[0]} or {SIZES[1]} channels; give the model that "
            "was optimised, or save it with ORT_ENABLE_EXTENDED"
        )
    return told.pop()


def without_filling(weight: np.ndarray, size: int, bias: np.ndarray | None) -> np.ndarray:
    """Return a weight in order without the channels of zeros, in filter and bias, that fill up its last block."""
    zero = _zero(weight)
    if bias is not None and bias.shape == (len(weight),):
        zero &= bias == 0
    filled = 0
    while filled < size - 1 and zero[len(weight) - 1 - filled]:
        filled += 1
    return weight[: len(weight) - filled]


def _told_by(weight: Reordered) -> int | None:
    if len(weight.shape) != 4 or 0 in weight.shape:
        return None
    channels, inputs = weight.shape[:2]
    if channels % SIZES[1]:
        return SIZES[0] if channels % SIZES[0] == 0 else None
    one_block = inputs == 1 if weight.groups > 1 else inputs < SIZES[0]  # else inputs stand in blocks as well
    if prod(weight.shape[1:]) == 1 or not one_block:
        return None
    array = weight.load()
    zeros = {size: _zero(in_order(array, size)) for size in SIZES}
    fit = [size for size, other in (SIZES, SIZES[::-1]) if _is_filled(zeros[size], zeros[other])]
    return fit[0] if len(fit) == 1 else None


def _is_filled(zeros: np.ndarray, otherwise: np.ndarray) -> bool:
    """Tell whether channels of zeros are the filling of the last block; others may be dead if none is otherwise."""
    only_filling = bool((np.diff(zeros.astype(int)) >= 0).all())
    return bool(zeros[-1]) and (only_filling or not bool(otherwise.any()))


def _zero(weight: np.ndarray) -> np.ndarray:
    return np.array([not channel.any() for channel in weight])
