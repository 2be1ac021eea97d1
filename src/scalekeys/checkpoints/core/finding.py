"""Which tensors of a flat dict are depthwise weights, and which have the shape of one and are not read, and why.

There is no graph: shapes and names decide. What these leave open is decided by the values, which are loaded for it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isqrt, prod
from typing import TypeAlias

from torch import Tensor

from scalekeys.checkpoints.core.arrangement import Arrangement, one_input_channel, sparse_columns
from scalekeys.checkpoints.core.checkpoint import is_depthwise_shape
from scalekeys.checkpoints.core.computed import is_part
from scalekeys.checkpoints.core.inventory import TensorInfo, is_floating
from scalekeys.checkpoints.core.naming import (
    is_of_training,
    last_name,
    may_be_fixed,
    names_a_weight,
    names_depthwise,
)

OTHER_AXES = {
    3: "its kernels have one axis, and kernels of two axes are read",
    5: "its kernels have three axes, and kernels of two axes are read",
}
"""Why a weight with that many axes is left out."""

_PART = "it is a part of a computed weight; give the module itself"
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
_OTHER_SHAPE = "its name is that of a depthwise layer, and its shape is not (channels, 1, rows, columns)"
_OF_TYPES = {
    "nested": "it is a nested tensor, whose parts have shapes of their own",
    "DTensor": "it is a part of a DTensor of a sharded training; gather the whole with torch.distributed.checkpoint "
    "(get_model_state_dict with full_state_dict=True) and save that",
    "float8_e8m0fnu": "it holds float8_e8m0fnu values, which are scales of blocks and no filters",
}
_NAMES_OF_SCALES = frozenset({"sigma", "sigmas", "sigma_raw", "raw_sigma", "log_sigma", "sigma_log", "log_scale"})
_SIDES_OF_COLUMNS = range(2, 32)
_MOST_VALUES = 2**24

Load: TypeAlias = Callable[[str], Tensor]


@dataclass(frozen=True)
class Found:
    """A tensor that looks like a depthwise weight: how its filters stand in it, or why it is not read."""

    key: str
    arrangement: Arrangement | None = None
    reason: str = ""
    is_of_other_type: bool = False


def find_kernels(tensors: Mapping[str, TensorInfo], load: Load) -> list[Found]:
    """Judge every tensor of a flat dict.

    Parameters
    ----------
    tensors : mapping of str to TensorInfo
        With weights that are computed in the place of their parts.
    load : callable
        Gives the values of one of them.

    Examples
    --------
    >>> import torch
    >>> state = {"dw.weight": torch.rand(8, 1, 3, 3), "blur.filt": torch.ones(8, 1, 3, 3)}
    >>> infos = {key: TensorInfo(tuple(value.shape), "float32") for key, value in state.items()}
    >>> [(found.key, found.reason) for found in find_kernels(infos, state.__getitem__)]
    [('dw.weight', ''), ('blur.filt', "its name 'filt' is not that of a weight")]
    """
    named = any(map(names_a_weight, tensors))
    plain = any(last_name(key) == "weight" for key in tensors)
    sparse = any(_is_sparse_and_dense(key, info) for key, info in tensors.items())
    found = []
    for key, info in tensors.items():
        judged = _special(key, info) or _of_two_axes(key, info, load, named, plain) or _of_columns(key, info, sparse)
        judged = judged or _of_other_axes(key, info, named, sparse) or _of_other_shape(key, info.shape)
        if judged is not None and not is_of_training(key):
            found.append(judged)
    return found


def shapes_of_kernels(tensors: Mapping[str, TensorInfo]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what may be a depthwise weight, or the main part of one, by shape and name alone.

    Examples
    --------
    >>> shapes_of_kernels({"dw.weight": TensorInfo((8, 1, 3, 3), "float32"), "mask": TensorInfo((8, 1, 3, 3), "bool")})
    {'dw.weight': (8, 1, 3, 3)}
    """
    named = any(map(names_a_weight, tensors))
    return {
        key: info.shape
        for key, info in tensors.items()
        if (is_depthwise_shape(info.shape) and (names_a_weight(key) or is_part(key) or not named))
        or (_is_of_columns(key, info.shape) and names_depthwise(key))
        if not is_of_training(key)
    }


def _special(key: str, info: TensorInfo) -> Found | None:
    """Judge what stands for weights that the source does not hold."""
    owner, _, last = key.rpartition(".")
    if last == "original" and owner.endswith("parametrizations.weight") and 0 in info.shape[:1]:
        return Found(key, reason=_CONSTRAINED)
    if last in _NAMES_OF_SCALES and len(info.shape) == 2 and info.shape[0] > 1 and info.shape[1] in (1, 2, 3):
        return Found(key, reason=_SCALES)
    if last == "weight" and info.shape == (0,):
        return Found(key, reason=_EMPTY)
    if last in ("_flat_param", "flat_param", "flat_params"):
        return Found(key, reason=_FLAT)
    if info.dtype == "nested":
        return Found(key, reason=_OF_TYPES["nested"])
    return None


def _of_two_axes(key: str, info: TensorInfo, load: Load, named: bool, plain: bool) -> Found | None:
    """Judge a weight of the usual shape; `plain` tells that others have the usual name."""
    if not is_depthwise_shape(info.shape):
        return None
    if is_part(key):
        return Found(key, reason=_PART)
    if named and not names_a_weight(key):
        return Found(key, reason=f"its name {last_name(key)!r} is not that of a weight")
    if not is_floating(info.dtype):
        return Found(key, reason=_of_type(info.dtype), is_of_other_type=info.dtype not in _OF_TYPES)
    unusual, fixed = plain and last_name(key) != "weight", may_be_fixed(key)
    if unusual and fixed:
        return Found(key, reason=_FIXED)
    if (unusual or fixed) and _are_alike(key, info, load):
        return Found(key, reason=_ALIKE)
    return Found(key, one_input_channel)


def _of_columns(key: str, info: TensorInfo, sparse: bool) -> Found | None:
    """Judge a weight of a sparse convolution that has one row for each place of a kernel."""
    if not _is_of_columns(key, info.shape):
        return None
    side = isqrt(info.shape[0])
    if not (names_depthwise(key) or (sparse and side % 2)):
        return Found(key, reason=_UNCLEAR) if side % 2 and side > 1 else None
    return Found(key, sparse_columns) if is_floating(info.dtype) else Found(key, reason=_of_type(info.dtype))


def _of_other_axes(key: str, info: TensorInfo, named: bool, sparse: bool) -> Found | None:
    """Judge a weight whose kernels have one axis or three."""
    shape, last = info.shape, last_name(key)
    if (sparse and last == "kernel") or not (names_a_weight(key) or is_part(key) or not named):
        return None
    if len(shape) in OTHER_AXES and shape[0] > 1 == shape[1] and prod(shape[2:]) > 1:
        return Found(key, reason=OTHER_AXES[len(shape)])
    return None


def _of_other_shape(key: str, shape: tuple[int, ...]) -> Found | None:
    """Judge a weight that is called depthwise, or has its channels last, and has several places for each channel."""
    owner = re.split(r"[./]", key)[-2:-1]
    if not (names_a_weight(re.split(r"[./]", key)[-1]) and prod(shape) > 1):
        return None
    if len(shape) == 4 and shape[0] == shape[1] in _SIDES_OF_COLUMNS and 1 in shape[2:] and max(shape[2:]) > shape[0]:
        return Found(key, reason=_CHANNELS_LAST)
    if not (owner and names_depthwise(owner[0])):
        return None
    of_rows = len(shape) == 2 and any(isqrt(side) ** 2 == side and isqrt(side) % 2 and side > 1 for side in shape)
    return Found(key, reason=_OTHER_SHAPE) if of_rows or prod(shape[2:]) > 1 else None


def _is_of_columns(key: str, shape: tuple[int, ...]) -> bool:
    if last_name(key) != "kernel" or len(shape) != 2 or shape[1] < 2:
        return False
    side = isqrt(shape[0])
    return side in _SIDES_OF_COLUMNS and side**2 == shape[0]


def _is_sparse_and_dense(key: str, info: TensorInfo) -> bool:
    """Tell whether a weight is that of an ordinary sparse convolution: (places, inputs, outputs)."""
    return last_name(key) == "kernel" and len(info.shape) == 3 and isqrt(info.shape[0]) ** 2 == info.shape[0]


def _are_alike(key: str, info: TensorInfo, load: Load) -> bool:
    """Tell whether all filters of a weight are the same; those of a dead layer, which are zero, are not meant."""
    if prod(info.shape) > _MOST_VALUES:
        return False
    weight = load(key)
    return not weight.is_meta and bool(weight.any()) and bool((weight.float() == weight[:1].float()).all())


def _of_type(dtype: str) -> str:
    if dtype.startswith("complex"):
        return f"it holds complex numbers ({dtype}), and filters of real numbers are read"
    return _OF_TYPES.get(dtype) or (
        f"it holds {dtype} values, not floating-point filters; give the network before quantisation, or convert its "
        "weights to float"
    )
