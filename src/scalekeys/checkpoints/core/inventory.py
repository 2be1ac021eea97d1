"""What a source holds, told from the names, shapes and types of its tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from scalekeys.errors import counted, listed

DISTRIBUTED = (
    "it is a part of a tensor that is distributed over several processes (DTensor); gather it before saving, for "
    "example by get_model_state_dict with StateDictOptions(full_state_dict=True)"
)
"""Why a part of a sharded tensor is not read."""

NESTED = "it is a nested tensor, whose parts have different shapes"
"""Why a nested tensor is not read."""

_FLOATING = ("float64", "float32", "float16", "bfloat16", "float8")


@dataclass(frozen=True)
class TensorInfo:
    """Shape and type of a tensor that need not be in memory; `dtype` is the name that torch gives the type."""

    shape: tuple[int, ...]
    dtype: str


class Lazy:
    """A tensor that stays in its file until it is asked for."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    def load(self) -> Tensor:
        """Read its values; raises ValueError if they are not all there."""
        raise NotImplementedError


def info_of(tensor: Tensor | Lazy) -> TensorInfo:
    """Return shape and type of a tensor.

    >>> import torch
    >>> info_of(torch.zeros(2, 3))
    TensorInfo(shape=(2, 3), dtype='float32')
    """
    if isinstance(tensor, Tensor) and tensor.is_nested:  # which has no shape
        return TensorInfo((), "nested")
    if type(tensor).__name__ == "DTensor":
        return TensorInfo(tuple(tensor.shape), "DTensor")
    return TensorInfo(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


class Unmade:
    """A value of a file that is not made, as its class is not imported, or as it is long."""

    __slots__ = ()

    @property
    def type_name(self) -> str:
        """What the type of the value would be called."""
        raise NotImplementedError


def type_name(value: Any) -> str:
    """Return what the type of a value is called in memory."""
    if isinstance(value, Unmade):
        return value.type_name
    return "Tensor" if isinstance(value, Lazy) else type(value).__name__


def is_floating(dtype: str) -> bool:
    """Tell whether a type holds real floating-point numbers that widen to float32 one by one.

    >>> is_floating("bfloat16"), is_floating("float8_e4m3fn"), is_floating("int8"), is_floating("float4_e2m1fn_x2")
    (True, True, False, False)
    """
    return dtype.startswith(_FLOATING) and not dtype.startswith("float8_e8m0")  # which has no sign and no zero


def what_it_holds(tensors: Mapping[str, TensorInfo]) -> str:
    """Say in one clause what kinds of layers the tensors belong to.

    >>> tensors = {"stem.weight": (8, 3, 7, 7), "conv.weight": (8, 8, 3, 3), "fc.weight": (10, 8), "fc.bias": (10,)}
    >>> what_it_holds({name: TensorInfo(shape, "float32") for name, shape in tensors.items()})
    'it has 2 convolutions with kernels 7x7 and 3x3, and 1 linear layer'
    """
    if not tensors:
        return "it holds no tensors"
    weights = {key: info for key, info in tensors.items() if key.endswith("weight")} or tensors
    shapes = [info.shape for info in weights.values()]
    kinds = [_convolutions([shape for shape in shapes if len(shape) == 4])]
    for rank, one in ((3, "one-dimensional convolution"), (5, "three-dimensional convolution"), (2, "linear layer")):
        count = sum(len(shape) == rank and prod(shape[2:]) > (rank > 2) for shape in shapes)
        kinds.append(counted(count, one) if count else "")
    found = [kind for kind in kinds if kind]
    if not found:
        return f"it has {counted(len(tensors), 'tensor')} and none of them is a convolution"
    return "it has " + (f"{', '.join(found[:-1])}, and {found[-1]}" if len(found) > 1 else found[0])


def _convolutions(shapes: Sequence[tuple[int, ...]]) -> str:
    if not shapes:
        return ""
    kernels = sorted({shape[2:] for shape in shapes}, key=lambda size: (-prod(size), size))
    sizes = listed([f"{rows}x{cols}" for rows, cols in kernels])
    return f"{counted(len(shapes), 'convolution')} with kernel{'' if len(kernels) == 1 else 's'} {sizes}"
