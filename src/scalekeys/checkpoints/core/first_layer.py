"""The first layers of a network for images of one channel, whose weights have the shape of depthwise ones.

An ordinary convolution with one input channel and a depthwise convolution have the same shape, (C, 1, rows, cols). What
follows it in the network tells them apart, where the order of the layers is that of the network. The patch embedding of
a transformer, whose channels a linear layer takes, is told by its name too.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import TypeAlias

from scalekeys.checkpoints.core.checkpoint import is_depthwise_shape
from scalekeys.checkpoints.core.naming import names_depthwise

_Weight: TypeAlias = tuple[str, tuple[int, ...]]
OF_ONE_CHANNEL = "it is the first layer of a network for images of one channel, an ordinary convolution"
_EMBEDDING = re.compile(r"patch|embed|conv_proj", re.IGNORECASE)
_COLOURS = 4  # with as many channels a layer can work on each colour of an image


def judge_first(weights: Sequence[_Weight]) -> tuple[tuple[str, ...], bool]:
    """Find first layers with the shape of a depthwise one that may be, or are, ordinary convolutions.

    A network with several branches has several. Besides the first convolution of the network it is each whose channels
    a larger convolution takes and no weight before it gives.

    `weights`: name and shape of all weights of two and of four axes, from input to output; of all such tensors where
    none has the name of a weight.
    `are_ordinary`: whether they are ordinary convolutions, which is so where the first convolution of the network is
    among them, a larger convolution takes all channels of each, and nothing else in the network looks like that. A
    patch embedding counts as if a larger convolution took its channels.

    >>> judge_first([("conv1", (32, 1, 3, 3)), ("conv2", (64, 32, 3, 3))])
    (('conv1',), True)
    >>> judge_first([("conv1", (32, 1, 3, 3)), ("dw", (32, 1, 3, 3)), ("pw", (64, 32, 1, 1))])
    (('conv1',), False)
    >>> judge_first([("stem", (32, 3, 3, 3)), ("dw", (32, 1, 3, 3)), ("pw", (64, 32, 1, 1))])
    ((), False)
    >>> judge_first([("a", (16, 1, 9, 9)), ("a2", (32, 16, 7, 7)), ("b", (20, 1, 7, 7)), ("b2", (40, 20, 5, 5))])
    (('a', 'b'), True)
    >>> judge_first([("patch_embed.proj", (192, 1, 16, 16)), ("blocks.0.attn.qkv", (576, 192))])
    (('patch_embed.proj',), True)
    """
    convolutions = [(name, shape) for name, shape in weights if len(shape) == 4]
    if any(shape[1] == 3 for _, shape in convolutions):
        return (), False  # which takes the image
    embedding = _patch_embedding(weights, convolutions)
    taken = embedding | {name for (name, shape), (_, after) in pairwise(convolutions) if _is_taken_whole(shape, after)}
    given = {name for (_, before), (name, shape) in pairwise(weights) if before[0] == shape[0]}
    starts = [name for name, shape in weights if name in taken - (given - embedding) and _may_be_first(name, shape)]
    if _starts_with_one_channel(weights, convolutions):
        starts = list(dict.fromkeys((weights[0][0], *starts)))
    return tuple(starts), taken == set(starts) and starts[:1] == [name for name, _ in convolutions[:1]]


def _patch_embedding(weights: Sequence[_Weight], convolutions: Sequence[_Weight]) -> set[str]:
    """Return the name of the first layer of a transformer for images of one channel; nothing where there is none.

    It is the first weight, with the name of an embedding or kernels of even sides, and a linear layer takes its
    channels. Where the order of the layers is not that of the network, its name tells, if no convolution has several
    inputs.
    """
    if not convolutions or not _may_be_first(*convolutions[0]):
        return set()
    name, shape = convolutions[0]
    is_named = bool(_EMBEDDING.search(name))
    if weights[0] == convolutions[0] and (is_named or not any(side % 2 for side in shape[2:])):
        return {name} if _linear_takes_first(weights) else set()
    is_alone = all(other[1] == 1 for _, other in convolutions)
    is_taken = any(_is_linear_of(shape[0], other) for _, other in weights)
    return {name} if is_named and is_alone and is_taken else set()


def _starts_with_one_channel(weights: Sequence[_Weight], convolutions: Sequence[_Weight]) -> bool:
    """Tell whether the first weight is a convolution of one channel whose channels the next layer takes."""
    if not convolutions or weights[0] != convolutions[0] or not _may_be_first(*weights[0]):
        return False
    if _linear_takes_first(weights):
        return True
    if len(convolutions) == 1:
        return False
    (_, first), (_, second), *_ = convolutions
    is_followed = second[1] == first[0] or (is_depthwise_shape(second) and second[0] == first[0])
    return is_followed and any(shape[1] > 1 for _, shape in convolutions)


def _linear_takes_first(weights: Sequence[_Weight]) -> bool:
    """Tell whether the next weight of several inputs after the first weight is of a linear layer for its channels."""
    (_, first), *others = weights
    after = next((shape for _, shape in others if shape[1] > 1), ())
    return is_depthwise_shape(first) and _is_linear_of(first[0], after)


def _is_linear_of(channels: int, shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and shape[1] == channels


def _may_be_first(name: str, shape: tuple[int, ...]) -> bool:
    return is_depthwise_shape(shape) and len(shape) == 4 and shape[0] > _COLOURS and not names_depthwise(name)


def _is_taken_whole(shape: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Tell whether a larger convolution takes all channels that one with the shape of a depthwise one gives."""
    return is_depthwise_shape(shape) and after[1] == shape[0] and prod(after[2:]) > 1


def said_of_first(name: str) -> str:
    """Return the note on a layer of which it is not certain that it is depthwise.

    >>> said_of_first("conv1")[:52]
    "layer 'conv1' is read as depthwise by its shape; in "
    """
    return (
        f"layer {name!r} is read as depthwise by its shape; in a network for images of one channel this first layer is "
        "an ordinary convolution"
    )
