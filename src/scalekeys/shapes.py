"""Shapes of the arrays that travel between the layers, in one place.

The aliases are checked at run time by the test suite only (through ``jaxtyping`` and ``beartype``). Axes: ``rows`` run
down and ``cols`` run right; ``sides`` are one to three axes of a kernel, of which ``taps`` is one; a pair is always
``(x, y)``.
"""

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.errors import FilterError

ArrayLike: TypeAlias = Tensor | np.ndarray

Filters: TypeAlias = Float[Tensor, "*batch rows cols"]
FilterStack: TypeAlias = Float[Tensor, "filters *sides"]
Kernel1d: TypeAlias = Float[Tensor, "*batch taps"]
Variances: TypeAlias = Float[Tensor, "*batch"]
Indices: TypeAlias = Int[Tensor, "filters"]


def as_float_tensor(values: ArrayLike) -> Tensor:
    """Return ``values`` as a tensor of float32 or float64.

    Half precision becomes float32 and integers float64. The memory of a NumPy array is shared where it can be.

    Raises
    ------
    FilterError
        If the values are not real numbers.
    """
    tensor = _from_numpy(values) if isinstance(values, np.ndarray) else values
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    if tensor.is_complex():
        raise FilterError(f"expected real numbers, got {tensor.dtype}")
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.float64)


def _from_numpy(array: np.ndarray) -> Tensor:
    """Copy only what torch cannot share: read-only memory, foreign byte orders, extended precision, steps."""
    if array.dtype.kind not in "biuf":
        raise FilterError(f"expected an array of real numbers, got dtype {array.dtype}")
    dtype = array.dtype.newbyteorder("=") if array.dtype.itemsize <= 8 else np.dtype(np.float64)
    native = np.asarray(array, dtype=dtype, order="C")
    return torch.from_numpy(native if native.flags.writeable else native.copy())
