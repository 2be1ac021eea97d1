"""Filters in units of a power of two, so that squares, sums and products neither overflow nor underflow.

Multiplication by a power of two is exact. Nothing is rounded, and results that do not depend on the magnitude of a
filter are the same to the last bit for filters of any magnitude.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.shapes import kernel_dims, over_taps

_BIAS, _MANTISSA = 1023, 52  # of a float64
_LEAST, _LARGEST = 1 - _BIAS, _BIAS - 1  # exponents whose powers of two, and their inverses, are normal numbers


def in_powers_of_two(
    values: Float[Tensor, "*shape"], *, axes: int = 2
) -> tuple[Float[Tensor, "*shape"], Int[Tensor, "..."]]:
    """Return filters in float64, each in units of a power of two, and the exponents of these units.

    `values`: shape (..., *sides).
    `axes`: how many axes a kernel has.
    `scaled`: shape (..., *sides); the largest absolute value of each filter lies in [1, 2), or near it at both ends of
    the range of float64. A filter that is zero or not finite stays as it is.
    `exponent`: shape (...); ``values == scaled * 2 ** exponent``; 0 for a filter that stays as it is.

    >>> scaled, exponent = in_powers_of_two(torch.tensor([[[3e300, -6e300]]], dtype=torch.float64))
    >>> scaled, exponent
    (tensor([[[ 0.5600, -1.1199]]], dtype=torch.float64), tensor([999]))
    """
    filters = values.double()
    largest = filters.detach().abs().amax(kernel_dims(axes))
    usable = largest.isfinite() & (largest > 0)
    exponent = torch.where(usable, torch.frexp(largest).exponent.long() - 1, 0).clamp(_LEAST, _LARGEST)
    return filters * over_taps(power_of_two(-exponent), axes), exponent


def power_of_two(exponent: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return two to some powers exactly, as float64.

    >>> power_of_two(torch.tensor([-1022, 0, 10])).tolist()
    [2.2250738585072014e-308, 1.0, 1024.0]
    """
    return ((exponent + _BIAS) << _MANTISSA).view(torch.float64)


def norms(filters: Float[Tensor, "..."], *, axes: int = 2) -> Float[Tensor, "..."]:
    """Return the l2 norm of each filter, as float64; infinite only where no float64 is as large.

    `filters`: shape (..., *sides).
    `axes`: how many axes a kernel has.
    Returns a tensor of shape (...).

    >>> round(norms(torch.tensor([[3e-300, 4e-300]], dtype=torch.float64)).item() / 1e-300, 12)
    5.0
    """
    scaled, exponent = in_powers_of_two(filters, axes=axes)
    length: Tensor = torch.linalg.vector_norm(scaled, dim=kernel_dims(axes))
    return length * power_of_two(exponent)
