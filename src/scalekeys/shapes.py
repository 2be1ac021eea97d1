"""Shapes of the arrays that travel between the layers, in one place.

The aliases are checked at run time by the test suite only (through ``jaxtyping`` and ``beartype``). Axes: ``rows`` run
down and ``cols`` run right; ``taps`` is one axis of a kernel; a pair is always ``(x, y)``.
"""

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

ArrayLike: TypeAlias = Tensor | np.ndarray

Filters: TypeAlias = Float[Tensor, "*batch rows cols"]
FilterStack: TypeAlias = Float[Tensor, "filters rows cols"]
Kernel1d: TypeAlias = Float[Tensor, "*batch taps"]
Variances: TypeAlias = Float[Tensor, "*batch"]
Indices: TypeAlias = Int[Tensor, "filters"]


def as_float_tensor(values: ArrayLike) -> Tensor:
    """Return ``values`` as a floating-point tensor: NumPy arrays are shared, half precision becomes float32."""
    tensor = torch.from_numpy(np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else values
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    if tensor.is_complex():
        raise TypeError(f"expected real numbers, got {tensor.dtype}")
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.float64)
