"""Whether a weight of shape (C, 1, *sides) in a file of weights is depthwise, above all with one axis or three.

The first convolution of a signal or a volume of one channel, a transposed convolution to one channel, the basis of a
Fourier transform and kernels whose channels stand last can have this shape too. Such a weight is read as depthwise if

1. its name says so, as ``dwconv`` and ``depthwise`` do; or
2. the weight before it in the network gives as many channels, two to four times as many (which are split), or a half to
   a quarter as many (each of which has several filters); or
3. another weight is depthwise by the second rule and has the same name but for the numbers; or
4. several weights have the same name but for the numbers, and each of them stands in a block of pointwise and linear
   layers without ordinary convolutions; or
5. the source holds no weights of other shapes.

The rules 2 to 5 do not apply where the next weight is that of an ordinary convolution that takes all channels with
kernels of more than one value, as after the first layer of a network for one channel. They do not apply either where no
weight follows and the layer has no bias of C values, as at the end of a network that gives one channel. A weight that
no rule decides is left out with the reason.

With kernels of two axes a weight is depthwise unless its name or its bias says that its channels stand last.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

from scalekeys.checkpoints.core.inventory import TensorInfo, is_floating
from scalekeys.checkpoints.core.naming import last_name, names_a_weight, names_depthwise, parts_of

Shape = tuple[int, ...]

UNCLEAR = (
    "it can be depthwise, or an ordinary or transposed convolution between one channel and several; give the network "
    "or its graph"
)
CHANNELS_LAST = "its channels stand last, as in Keras and JAX; give the Keras file, or put them first"
TO_ONE_CHANNEL = "its bias has one value, so that it is a transposed convolution to one channel"
_FOURIER = "it is a basis of a Fourier transform by its name or shape, a fixed filter"

_OF_A_TRANSFORM = re.compile(r"stft|fourier|spectro|melspec|fbank|filter_?bank", re.IGNORECASE)
_SHORTEST_TRANSFORM = 32
_MOST_PARTS = 4
_MOST_TAPS = 31


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The weights of a network around one of them."""

    tensors: Mapping[str, TensorInfo]
    """All tensors of the network, in its order."""

    def refusal(self, key: str) -> str:
        """Say why a weight of shape (C, 1, *sides) is not certainly depthwise; empty where it is."""
        shape = self.tensors[key].shape
        if is_of_transform(key, shape):
            return _FOURIER
        if self.has_channels_last(key):
            return CHANNELS_LAST
        if self.bias(key) == (1,):
            return TO_ONE_CHANNEL
        if names_depthwise(key):
            return ""
        if not names_a_weight(key) or self._is_at_an_end(key):
            return UNCLEAR
        known = self.stand_alone or _pattern(key) in self._given | self._repeated
        return "" if known else UNCLEAR

    def refusal_of_planes(self, key: str) -> str:
        """Say why a weight of shape (C, 1, rows, cols) is not depthwise, by name or bias; empty where it may be.

        >>> shapes = {"a.kernel": (31, 1, 1, 64), "b.kernel": (64, 1, 1, 31)}
        >>> around = Neighbours({key: TensorInfo(shape, "float32") for key, shape in shapes.items()})
        >>> [bool(around.refusal_of_planes(key)) for key in shapes]
        [True, False]
        """
        shape, bias, last = self.tensors[key].shape, self.bias(key), last_name(key)
        if bias == shape[:1]:
            return ""
        is_no_window = shape[2] != shape[3] or shape[3] > _MOST_TAPS
        of_keras = last == "depthwise_kernel" or (last == "kernel" and shape[0] <= min(_MOST_TAPS, shape[3] - 1))
        of_keras = of_keras or (bias != (1,) and bias in (shape[3:], (shape[2] * shape[3],)))
        return CHANNELS_LAST if is_no_window and of_keras else ""

    def bias(self, key: str) -> Shape | None:
        """Return the shape of the bias of a layer, None where it has none."""
        found = self.tensors.get(f"{key.removesuffix(last_name(key))}bias")
        return found.shape if found else None

    def vector_after(self, key: str) -> Shape | None:
        """Return the shape of the bias of a layer or, where it has none, of the tensor of one axis behind its weight.

        >>> shapes = {"conv.weight": (16, 16, 64, 1), "norm.weight": (16,)}
        >>> Neighbours({key: TensorInfo(shape, "float32") for key, shape in shapes.items()}).vector_after("conv.weight")
        (16,)
        """
        behind = self.bias(key) or self._behind.get(key)
        return behind if behind and len(behind) == 1 else None

    @cached_property
    def _behind(self) -> dict[str, Shape]:
        """The shape of the tensor behind each."""
        return {key: after.shape for key, after in zip(self.tensors, [*self.tensors.values()][1:], strict=False)}

    def has_channels_last(self, key: str) -> bool:
        """Tell whether a weight has the order (*sides, inputs, outputs) of Keras and JAX, by its bias or else its name.

        >>> infos = {"dw.kernel": TensorInfo((31, 1, 512), "float32"), "dw.weight": TensorInfo((8, 1, 9), "float32")}
        >>> [Neighbours(infos).has_channels_last(key) for key in infos]
        [True, False]
        """
        shape, bias = self.tensors[key].shape, self.bias(key)
        if bias is not None and len(bias) == 1 and shape[0] != shape[-1]:
            return bias[0] == shape[-1]
        return last_name(key) == "kernel" and max(shape[:-2]) <= _MOST_TAPS and shape[-1] > shape[0]

    @cached_property
    def _weights(self) -> dict[str, Shape]:
        """Shapes of all weights with inputs and outputs, in the order of the network."""
        return {
            key: info.shape
            for key, info in self.tensors.items()
            if 2 <= len(info.shape) <= 5 and 0 not in info.shape and names_a_weight(key) and is_floating(info.dtype)
        }

    @cached_property
    def _between(self) -> dict[str, tuple[str, str]]:
        """The nearest weights of several input channels before and after each weight, by name; empty where none is."""
        before, after = _nearest_others(self._weights), _nearest_others(dict(reversed(self._weights.items())))
        return {key: (before[key], after[key]) for key in self._weights}

    @cached_property
    def stand_alone(self) -> bool:
        """Whether the source holds no weights of several input channels."""
        return all(map(_has_one_input, self._weights.values()))

    @cached_property
    def _alike(self) -> dict[str, list[str]]:
        """Names of weights of one input channel, by what they are without their numbers."""
        found: dict[str, list[str]] = {}
        for key, shape in self._weights.items():
            if _has_one_input(shape):
                found.setdefault(_pattern(key), []).append(key)
        return found

    @cached_property
    def _blocks(self) -> dict[str, list[Shape]]:
        """Shapes of the weights of several input channels below each name, without names that all of them are below."""
        found: dict[str, list[Shape]] = {}
        others = [(key, shape) for key, shape in self._weights.items() if not _has_one_input(shape)]
        for key, shape in others:
            for above in _above(key):
                found.setdefault(above, []).append(shape)
        return {name: shapes for name, shapes in found.items() if len(shapes) < len(others)}

    @cached_property
    def _given(self) -> set[str]:
        """Names without their numbers of which one weight gets its channels from the weight before it."""
        return {
            pattern
            for pattern, alike in self._alike.items()
            if any(self._gets_channels(key) and not self._is_at_an_end(key) for key in alike)
        }

    @cached_property
    def _repeated(self) -> set[str]:
        """Names without their numbers of which several weights stand among pointwise and linear layers."""
        return {
            pattern
            for pattern, alike in self._alike.items()
            if len(alike) > 1 and all(map(self._is_among_pointwise, alike))
        }

    def _is_at_an_end(self, key: str) -> bool:
        """Tell whether what comes next is nothing, or is what follows the first layer of a network for one channel."""
        shape, (_, after) = self._weights[key], self._between[key]
        if not after:
            return not self.stand_alone and self.bias(key) != shape[:1]
        taker = self._weights[after]
        return len(taker) == len(shape) and taker[1] == shape[0] and prod(taker[2:]) > 1

    def _gets_channels(self, key: str) -> bool:
        before, _ = self._between[key]
        if not before:
            return False
        shape = self._weights[before]
        given, own = shape[1] if len(shape) == 2 and "embed" in before else shape[0], self._weights[key][0]
        fewer, more = sorted((given, own))
        return given > 1 and more % fewer == 0 and more // fewer <= _MOST_PARTS

    def _is_among_pointwise(self, key: str) -> bool:
        """Tell whether the smallest block around a layer with others in it has pointwise and linear ones alone."""
        block = next((name for name in _above(key) if name in self._blocks), "")
        return bool(block) and all(prod(shape[2:]) == 1 for shape in self._blocks[block])


def is_of_transform(key: str, shape: Shape) -> bool:
    """Tell whether a weight with kernels of one axis is a basis of sines and cosines.

    >>> is_of_transform("stft.conv_real.weight", (513, 1, 1024)), is_of_transform("dw.weight", (64, 1, 11))
    (True, False)
    """
    if len(shape) != 3:
        return False
    length = shape[2]
    of_frequencies = shape[0] in (length // 2 + 1, length + 2)  # each with a cosine, a sine, or one after the other
    return bool(_OF_A_TRANSFORM.search(key)) or (of_frequencies and length >= _SHORTEST_TRANSFORM)


def _has_one_input(shape: Shape) -> bool:
    return len(shape) > 2 and shape[1] == 1 and prod(shape[2:]) > 1


def _nearest_others(weights: Mapping[str, Shape]) -> dict[str, str]:
    """Return for each weight the last one before it that has several input channels."""
    nearest, found = "", {}
    for key, shape in weights.items():
        found[key] = nearest
        nearest = nearest if _has_one_input(shape) else key
    return found


def _pattern(key: str) -> str:
    """Return a name without its numbers, except one that is all the name of the layer, as its place in a block."""
    *above, layer, weight = ["", *parts_of(key)]
    layer = layer if layer.isdecimal() else re.sub(r"\d+", "#", layer)
    return ".".join([re.sub(r"\d+", "#", ".".join(above)), layer, weight])


def _above(key: str) -> list[str]:
    """Return the names of the blocks around a layer, from the smallest, without the network itself."""
    parts = parts_of(key)[:-2]
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
