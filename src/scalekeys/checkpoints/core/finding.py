"""Which tensors of a flat dict are weights of convolutions, and which have the shape of one and are not read, and why.

There is no graph: shapes and names decide. What these leave open is decided by the values, which are loaded for it, and
for kernels of one or three axes by the weights around them (:mod:`scalekeys.checkpoints.core.neighbours`). How many
groups an ordinary convolution has is not known, so that a grouped one counts as ordinary.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from math import isqrt, prod
from typing import TypeAlias

from torch import Tensor

from scalekeys.checkpoints.core.arrangement import inputs_first, outputs_first, sparse_columns
from scalekeys.checkpoints.core.checkpoint import dense, has_sides, is_depthwise_shape
from scalekeys.checkpoints.core.computed import SCALED, is_part, scale_beside
from scalekeys.checkpoints.core.found import Found, of_other_type
from scalekeys.checkpoints.core.inventory import NESTED, TensorInfo, is_floating
from scalekeys.checkpoints.core.kinds import DEPTHWISE, DEPTHWISE_ONLY, ORDINARY, Kinds
from scalekeys.checkpoints.core.naming import (
    is_of_training,
    last_name,
    may_be_fixed,
    names_a_weight,
    names_depthwise,
    parts_of,
)
from scalekeys.checkpoints.core.neighbours import TO_ONE_CHANNEL, UNCLEAR, Neighbours
from scalekeys.checkpoints.core.ordinary import PART, find_ordinary, is_sparse_kernel

_CONSTRAINED = (
    "sk.constrain computes its filters from scales; save the state dict of sk.bake(module), or give the module"
)
_SCALES = "a module computes its filters from these scales; give the module itself, or save the weights it computes"
_EMPTY = (
    "it is an empty placeholder of a sharded training (DeepSpeed ZeRO-3); join the parts with zero_to_fp32.py, "
    "which lies beside the checkpoint"
)
_FLAT = "it is a flat parameter of a sharded training (FSDP); save the full state dict of the network"
_FIXED = "its name is that of a fixed filter"
_ALIKE = "its filters are all the same, as those of a fixed filter"
_UNCLEAR = "its shape is that of a sparse convolution or of a linear layer, and its name does not say which"
_CHANNELS_LAST = (
    "its channels stand last, (rows, columns, channels, multiplier), as in Keras and JAX; give the Keras file, or put "
    "the axes into the order (channels, 1, rows, columns)"
)
_POSITIONS = (
    "a module computes its filters from these values and their positions (DCLS); give the module itself, or save the "
    "weights it computes"
)
OTHER_SHAPE = "its name is that of a depthwise layer, and its shape is not (channels, 1, rows, columns)"
"""Why a weight that is called depthwise is not read."""
_NAMES_OF_SCALES = frozenset({"sigma", "sigmas", "sigma_raw", "raw_sigma", "log_sigma", "sigma_log", "log_scale"})
_SCALES_OF_DEPTHWISE = re.compile(r"(?:(?:raw|log)_?)?(?:sigma|scale)s?(?:_(?:x|y|z|raw|log))*")
_SHAPES_OF_SCALES = ((), *((axes,) for axes in (1, 2, 3)), *((1, axes) for axes in (1, 2, 3)), (1, 1, 1))
"""What may stand behind the number of channels in the shape of scales."""
_SIDES_OF_COLUMNS = range(2, 32)
_MOST_VALUES = 2**24

Load: TypeAlias = Callable[[str], Tensor]


def find_kernels(tensors: Mapping[str, TensorInfo], load: Load, kinds: Kinds = DEPTHWISE_ONLY) -> list[Found]:
    """Judge every tensor of a flat dict.

    `tensors`: in the order of the network, with weights that are computed in the place of their parts.
    `load`: gives the values of one of them.
    `kinds`: the kinds of convolutions that are asked for; of ordinary ones that are not, those are found that could be
    read.

    >>> import torch
    >>> state = {"dw.weight": torch.rand(8, 1, 3, 3), "blur.filt": torch.ones(8, 1, 3, 3)}
    >>> infos = {key: TensorInfo(tuple(value.shape), "float32") for key, value in state.items()}
    >>> [(found.key, found.reason) for found in find_kernels(infos, state.__getitem__)]
    [('dw.weight', ''), ('blur.filt', "its name 'filt' is not that of a weight")]
    """
    source = _Source(tensors, load)
    found = []
    for key, info in tensors.items():
        judged = _special(key, info, source) or _of_channels(key, info, source) or _of_columns(key, info, source.sparse)
        if judged is None:
            ordinary = find_ordinary(key, info, source.around, named=source.named, sparse=source.sparse)
            other = _of_other_shape(key, info.shape, source)
            if ORDINARY in kinds:
                judged = ordinary or other
            else:
                judged = other or (None if ordinary is None or ordinary.reason else ordinary)
        if judged is not None and not is_of_training(key, tensors):
            found.append(judged)
    return found


class _Source:
    """What judging one tensor needs to know of the others."""

    def __init__(self, tensors: Mapping[str, TensorInfo], load: Load) -> None:
        self.load = load
        self.around = Neighbours(tensors)
        self.named = any(map(names_a_weight, tensors))
        self.plain = any(last_name(key) == "weight" for key in tensors)
        self.sparse = any(is_sparse_kernel(key, info.shape) for key, info in tensors.items())
        self._weights = sorted(key for key in tensors if is_part(key) or re.search("weight|kernel", last_name(key)))

    def has_weight_in(self, owner: str) -> bool:
        """Tell whether a module, or one in it, has a weight."""
        place = bisect_left(self._weights, f"{owner}.")
        return any(key.startswith(f"{owner}.") for key in self._weights[place : place + 1])


def shapes_of_kernels(tensors: Mapping[str, TensorInfo]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what may be a depthwise weight, or the main part of one, by shape and name alone.

    >>> shapes_of_kernels({"dw.weight": TensorInfo((8, 1, 3, 3), "float32"), "mask": TensorInfo((8, 1, 3, 3), "bool")})
    {'dw.weight': (8, 1, 3, 3)}
    """
    return {
        key: shape
        for key, shape in shapes_of_convolutions(tensors).items()
        if is_depthwise_shape(shape) or len(shape) == 2
    }


def shapes_of_convolutions(tensors: Mapping[str, TensorInfo]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what may be the weight of a convolution, or the main part of one, by shape and name alone.

    >>> shapes_of_convolutions({"stem.weight": TensorInfo((8, 3, 3, 3), "float32")})
    {'stem.weight': (8, 3, 3, 3)}
    """
    named = any(map(names_a_weight, tensors))
    return {
        key: info.shape
        for key, info in tensors.items()
        if (has_sides(info.shape) and (names_a_weight(key) or is_part(key) or (not named and len(info.shape) > 3)))
        or (_is_of_columns(key, info.shape) and names_depthwise(key))
        if not is_of_training(key, tensors)
    }


def _special(key: str, info: TensorInfo, source: _Source) -> Found | None:
    """Judge what stands for weights that the source does not hold."""
    owner, _, last = key.rpartition(".")
    if last == "original" and owner.endswith("parametrizations.weight") and 0 in info.shape[:1]:
        return Found(key, reason=_CONSTRAINED)
    if last in _NAMES_OF_SCALES and len(info.shape) == 2 and info.shape[0] > 1 and info.shape[1] in (1, 2, 3):
        return Found(key, reason=_SCALES)
    if _SCALES_OF_DEPTHWISE.fullmatch(last) and info.shape[:1] > (1,) and info.shape[1:] in _SHAPES_OF_SCALES:
        names = [name for name in owner.split(".") if not name.isdecimal()]
        if names and names_depthwise(names[-1]) and not source.has_weight_in(owner):
            return Found(key, reason=_SCALES)
    if last == "weight" and info.shape == (0,):
        return Found(key, reason=_EMPTY)
    if last in ("_flat_param", "flat_param", "flat_params"):
        return Found(key, reason=_FLAT)
    if info.dtype == "nested":
        return Found(key, reason=NESTED)
    positions = source.around.tensors.get(f"{owner}.P")
    if last == "weight" and len(info.shape) > 2 and positions and positions.shape[1:] == info.shape:
        return Found(key, reason=_POSITIONS)
    return None


def _of_channels(key: str, info: TensorInfo, source: _Source) -> Found | None:
    """Judge a weight of the usual shape, (channels, 1, *sides)."""
    other_axes = len(info.shape) != 4
    if not is_depthwise_shape(info.shape) or (other_axes and source.sparse and last_name(key) == "kernel"):
        return None
    if is_part(key):
        return Found(key, reason=PART)
    if source.named and not names_a_weight(key):  # with one axis position embeddings and tokens have this shape too
        is_listed = len(info.shape) > 3 or names_depthwise(key) or source.around.bias(key) == info.shape[:1]
        return Found(key, reason=f"its name {last_name(key)!r} is not that of a weight") if is_listed else None
    if not is_floating(info.dtype):
        return of_other_type(key, info.dtype)
    if scale_beside(key, source.around.tensors):
        return Found(key, reason=SCALED)
    if reason := _why_fixed(key, info, source):
        return Found(key, reason=reason)
    reason = source.around.refusal(key) if other_axes else source.around.refusal_of_planes(key)
    if reason == TO_ONE_CHANNEL:
        return Found(key, inputs_first(1), reason, kinds=frozenset({ORDINARY}))
    if reason == UNCLEAR:
        return Found(key, outputs_first, UNCLEAR, kinds=frozenset({DEPTHWISE, ORDINARY}))
    return Found(key, reason=reason) if reason else Found(key, outputs_first)


def _why_fixed(key: str, info: TensorInfo, source: _Source) -> str:
    """Say why a weight holds fixed filters, by its name and its values; empty where it does not."""
    unusual, fixed = source.plain and last_name(key) != "weight", may_be_fixed(key)
    if unusual and fixed:
        return _FIXED
    return _ALIKE if (unusual or fixed) and _are_alike(key, info, source.load) else ""


def _of_columns(key: str, info: TensorInfo, sparse: bool) -> Found | None:
    """Judge a weight of a sparse convolution that has one row for each place of a kernel."""
    if not _is_of_columns(key, info.shape):
        return None
    side = isqrt(info.shape[0])
    if not (names_depthwise(key) or (sparse and side % 2)):
        return Found(key, reason=_UNCLEAR) if side % 2 and side > 1 else None
    return Found(key, sparse_columns) if is_floating(info.dtype) else of_other_type(key, info.dtype)


def _of_other_shape(key: str, shape: tuple[int, ...], source: _Source) -> Found | None:
    """Judge a weight that is called depthwise, or has its channels last, and has several places for each channel."""
    if not (names_a_weight(key) and prod(shape) > 1):
        return None
    may_be_last = len(shape) == 4 and shape[0] == shape[1] in _SIDES_OF_COLUMNS
    if may_be_last and 1 in shape[2:] and max(shape[2:]) > shape[0] and source.around.vector_after(key) != shape[:1]:
        return Found(key, reason=_CHANNELS_LAST)
    return Found(key, reason=OTHER_SHAPE) if is_called_depthwise(key, shape) else None


def is_called_depthwise(key: str, shape: tuple[int, ...]) -> bool:
    """Tell whether a weight is one of a layer that is called depthwise, and can hold several values for each channel.

    >>> is_called_depthwise("conv_dw.weight", (4, 1000)), is_called_depthwise("conv_dw.weight", (40, 1, 1, 1))
    (True, False)
    >>> is_called_depthwise("depthwise_block.fc.weight", (10, 40))
    False
    """
    owner = ["", *parts_of(key)][-2]
    if not (names_a_weight(key) and names_depthwise(owner)):
        return False
    return 1 not in shape if len(shape) == 2 else prod(shape[2:]) > 1


def _is_of_columns(key: str, shape: tuple[int, ...]) -> bool:
    if last_name(key) != "kernel" or len(shape) != 2 or shape[1] < 2:
        return False
    side = isqrt(shape[0])
    return side in _SIDES_OF_COLUMNS and side**2 == shape[0]


def _are_alike(key: str, info: TensorInfo, load: Load) -> bool:
    """Tell whether all filters of a weight are the same; those of a dead layer, which are zero, are not meant."""
    if prod(info.shape) > _MOST_VALUES:
        return False
    weight = load(key)
    if weight.is_meta:
        return False
    values = dense(weight).float()
    return bool(values.any()) and bool((values == values[:1]).all())
