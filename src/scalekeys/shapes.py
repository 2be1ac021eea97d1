"""Shapes of the arrays that travel between the layers, in one place.

The aliases are checked at run time by the test suite only (through ``jaxtyping`` and ``beartype``). A kernel has one
to three axes. Its sides stand in the order of the array, ``(cols,)``, ``(rows, cols)`` or ``(slices, rows, cols)``:
columns run right (or forward in time) and rows run down. What is given per axis stands in the order ``(x, y, z)``: x
points right, y points up, and z grows with the index of the slice.
"""

from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import FilterError

ArrayLike: TypeAlias = Tensor | np.ndarray

Size: TypeAlias = tuple[int, ...]

FilterStack: TypeAlias = Float[Tensor, "filters *sides"]
Kernel1d: TypeAlias = Float[Tensor, "*batch taps"]
Variances: TypeAlias = Float[Tensor, "*batch"]

SIDES = ("slices", "rows", "cols")
"""What the sides of a kernel are called, in the order of the array; the last ones, where it has fewer axes."""

AXES = ("x", "y", "z")
"""What the axes of a kernel are called: x is the last one of the array; the first ones, where it has fewer axes."""


def as_float_tensor(values: ArrayLike) -> Tensor:
    """Return ``values`` as a tensor of float32 or float64.

    Half precision becomes float32 and integers float64. The memory of a NumPy array is shared where it can be.

    Raises FilterError if the values are not real numbers, or neither a tensor nor an array.
    """
    if not isinstance(values, Tensor | np.ndarray):
        raise FilterError(
            f"expected a tensor or an array, got {type(values).__name__}; sk.extract reads the filters of a file or a "
            "network"
        )
    if isinstance(values, np.ndarray) and values.dtype.kind not in "biuf":
        raise FilterError(f"expected an array of real numbers, got dtype {values.dtype}")
    tensor = from_numpy(values) if isinstance(values, np.ndarray) else values
    if tensor.dtype in (torch.float32, torch.float64):
        return tensor
    if tensor.is_complex():
        raise FilterError(f"expected real numbers, got {tensor.dtype}")
    return tensor.to(torch.float32 if tensor.is_floating_point() else torch.float64)


def from_numpy(array: np.ndarray) -> Tensor:
    """Return an array of numbers as a tensor, which shares its memory where it can.

    Read-only memory, foreign orders of bytes, extended precision and steps are copied, as torch does not have them.
    """
    is_wide = array.dtype.kind == "f" and array.dtype.itemsize > 8
    dtype = np.dtype(np.float64) if is_wide else array.dtype.newbyteorder("=")
    native = np.asarray(array, dtype=dtype, order="C")
    return torch.from_numpy(native if native.flags.writeable else native.copy())


def checked_filters(filters: ArrayLike, axes: int) -> Tensor:
    """Return filters of shape (..., *sides) as a tensor of float32 or float64.

    Raises FilterError if a kernel cannot have so many axes, or the array has fewer.

    >>> checked_filters(np.ones((4, 3), dtype=int), 1).dtype
    torch.float64
    >>> checked_filters(torch.ones(4), 2)
    Traceback (most recent call last):
        ...
    scalekeys.errors.FilterError: filters must have shape (..., rows, cols), got (4,)
    """
    if axes not in (1, 2, 3):
        raise FilterError(f"kernels have 1, 2 or 3 axes, got {axes}")
    values = as_float_tensor(filters)
    if values.layout != torch.strided or values.device.type == "meta":
        kind = "without values, on the meta device" if values.layout == torch.strided else f"of layout {values.layout}"
        raise FilterError(f"expected a dense tensor of filters, got one {kind}")
    if values.ndim < axes:
        raise FilterError(f"filters must have shape (..., {', '.join(SIDES[-axes:])}), got {tuple(values.shape)}")
    return values


def kernel_dims(axes: int) -> tuple[int, ...]:
    """Return the dimensions of an array that a kernel of so many axes takes, which are the last ones.

    >>> kernel_dims(1), kernel_dims(3)
    ((-1,), (-3, -2, -1))
    """
    return tuple(range(-axes, 0))


def over_taps(values: Tensor, axes: int) -> Tensor:
    """Give values, one a filter, further dimensions of length 1, so that each acts on all taps of its filter.

    >>> over_taps(torch.ones(5), 2).shape
    torch.Size([5, 1, 1])
    """
    return values[(..., *[None] * axes)]


def axes_text(axes: int) -> str:
    """Write a number of axes.

    >>> axes_text(1), axes_text(3)
    ('one axis', 'three axes')
    """
    return ("one axis", "two axes", "three axes")[axes - 1]


def size_text(size: Size) -> str:
    """Write the size of a kernel or of an array, or its steps along the axes.

    >>> size_text((7, 7)), size_text((5,))
    ('7x7', '5')
    """
    return "x".join(map(str, size))
