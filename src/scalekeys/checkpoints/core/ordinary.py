"""Ordinary convolutions in files of weights, which are read where they are asked for.

How many groups a convolution has is not known without a graph, so that a grouped one counts as ordinary.
"""

from math import isqrt

from scalekeys.checkpoints.core.arrangement import inputs_first, outputs_first, sparse_kernels
from scalekeys.checkpoints.core.checkpoint import has_sides
from scalekeys.checkpoints.core.computed import SCALED, is_part, scale_beside
from scalekeys.checkpoints.core.found import Found, of_other_type
from scalekeys.checkpoints.core.inventory import TensorInfo, is_floating
from scalekeys.checkpoints.core.kinds import ORDINARY
from scalekeys.checkpoints.core.naming import last_name, names_a_weight
from scalekeys.checkpoints.core.neighbours import CHANNELS_LAST, Neighbours, Shape

PART = "it is a part of a computed weight; give the module itself"

_KIND = frozenset({ORDINARY})
_UNCLEAR = "it can be a convolution with kernels of one axis, or several linear layers; give the network or its graph"


def find_ordinary(key: str, info: TensorInfo, around: Neighbours, *, named: bool, sparse: bool) -> Found | None:
    """Judge a tensor that is not depthwise.

    `key`, `info`: name, shape and type of the tensor.
    `around`: the other tensors of the network.
    `named`: whether any of these has the usual name of a weight.
    `sparse`: whether any of these is a weight of a sparse convolution.

    >>> infos = {"conv.weight": TensorInfo((8, 3, 5), "float32"), "mean": TensorInfo((3, 1, 1), "float32")}
    >>> [bool(find_ordinary(key, infos[key], Neighbours(infos), named=True, sparse=False)) for key in infos]
    [True, False]
    """
    shape = info.shape
    bias = around.bias(key)
    is_of_sparse = bias is None or (len(bias) == 2 and bias[0] == 1)  # a linear layer of several heads has more rows
    if sparse and is_sparse_kernel(key, shape) and is_of_sparse:
        if shape[0] == 1:
            return None
        return Found(key, sparse_kernels, kinds=_KIND) if is_floating(info.dtype) else of_other_type(key, info.dtype)
    if not has_sides(shape) or (named and not (names_a_weight(key) or is_part(key))):
        return None
    if is_part(key):
        return Found(key, reason=PART)
    if not is_floating(info.dtype):
        return of_other_type(key, info.dtype)
    if scale_beside(key, around.tensors):
        return Found(key, reason=SCALED)
    if around.has_channels_last(key):
        return Found(key, reason=CHANNELS_LAST)
    groups = _groups_of_transposed(shape, bias)
    if len(shape) == 3 and not ("conv" in key.lower() or bias == shape[:1] or groups):
        return Found(key, reason=_UNCLEAR)
    return Found(key, inputs_first(groups) if groups else outputs_first, kinds=_KIND)


def is_sparse_kernel(key: str, shape: Shape) -> bool:
    """Tell whether a weight can be that of an ordinary sparse convolution: (places, inputs, outputs).

    >>> is_sparse_kernel("down.kernel", (4, 96, 192)), is_sparse_kernel("down.kernel", (8, 96, 192))
    (True, False)
    """
    return last_name(key) == "kernel" and len(shape) == 3 and 0 not in shape and isqrt(shape[0]) ** 2 == shape[0]


def _groups_of_transposed(shape: Shape, bias: Shape | None) -> int:
    """Return the groups of a transposed convolution, (inputs, outputs of a group, *sides), by its bias; 0 of others.

    >>> _groups_of_transposed((32, 6, 3), (12,)), _groups_of_transposed((32, 6, 3), (32,))
    (2, 0)
    """
    if bias is None or len(bias) != 1 or bias[0] == shape[0] or bias[0] % shape[1]:
        return 0
    groups = bias[0] // shape[1]
    return groups if groups and shape[0] % groups == 0 else 0
