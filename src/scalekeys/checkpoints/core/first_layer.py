"""The first layer of a network for images of one channel, whose weight has the shape of a depthwise one.

An ordinary convolution with one input channel and a depthwise convolution have the same shape, (C, 1, rows, cols). What
follows it in the network tells them apart, where the order of the layers is that of the network.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from scalekeys.checkpoints.core.checkpoint import is_depthwise_shape

OF_ONE_CHANNEL = "it is the first layer of a network for images of one channel, an ordinary convolution"
_COLOURS = 4  # with as many channels a layer can work on each colour of an image


def judge_first(convolutions: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[str, bool]:
    """Find a first layer with the shape of a depthwise one that may be, or is, an ordinary convolution.

    `convolutions`: name and shape of all weights of four axes, from input to output.
    `name`: of the layer; empty where there is none.
    `is_ordinary`: whether it is an ordinary convolution, which is so where a larger convolution takes all of its
    channels and nothing else in the network looks like that.

    >>> judge_first([("conv1", (32, 1, 3, 3)), ("conv2", (64, 32, 3, 3))])
    ('conv1', True)
    >>> judge_first([("conv1", (32, 1, 3, 3)), ("dw", (32, 1, 3, 3)), ("pw", (64, 32, 1, 1))])
    ('conv1', False)
    >>> judge_first([("stem", (32, 3, 3, 3)), ("dw", (32, 1, 3, 3)), ("pw", (64, 32, 1, 1))])
    ('', False)
    """
    (name, shape), *others = convolutions or [("", ())]
    if not is_depthwise_shape(shape) or shape[0] <= _COLOURS or all(one[1] == 1 for _, one in others):
        return "", False
    if any(one[1] == 3 for _, one in others):
        return "", False  # which takes the image
    shapes = [one for _, one in convolutions]
    second = shapes[1]
    if second[1] != shape[0] and not (is_depthwise_shape(second) and second[0] == shape[0]):
        return "", False
    taken_whole = [
        is_depthwise_shape(first) and second[1] == first[0] > 1 and prod(second[2:]) > 1
        for first, second in pairwise(shapes)
    ]
    return name, taken_whole[0] and not any(taken_whole[1:])


def said_of_first(name: str) -> str:
    """Return the note on a layer of which it is not certain that it is depthwise.

    >>> said_of_first("conv1")[:52]
    "layer 'conv1' is read as depthwise by its shape; in "
    """
    return (
        f"layer {name!r} is read as depthwise by its shape; in a network for images of one channel this first layer is "
        "an ordinary convolution"
    )
