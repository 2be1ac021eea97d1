"""Oriented receptive fields of two axes: positive discrete affine kernels, and their derivatives along an angle."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from scalekeys.scalespace.gaussian import discrete_gaussian
from scalekeys.scalespace.parametrizations import Oriented

_MARGIN = 3  # taps beyond the window: two derivatives in scale, and a difference of second order
_REACH, _TERMS = 7.0, 5  # in standard deviations along the diagonal: beyond, the weights are below 1e-11
_NUMBERS = 2**18  # numbers of the kernels that are made at once, which bound the memory

SECOND = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
_CENTRAL = torch.tensor([-0.5, 0.0, 0.5], dtype=torch.float64)


Profile = Callable[[Tensor, int], Tensor]
"""Discrete analogues of the Gaussian from variances (...) and a radius: shape (..., 2 radius + 1)."""


def affine_kernel(
    variances: Tensor, radii: tuple[int, int], halves: tuple[bool, bool], profile: Profile = discrete_gaussian
) -> Tensor:
    """Return the convolution of three discrete analogues of the Gaussian: along x, y and the rising diagonal.

    `variances`: shape (3, n); along x, y and the diagonal.
    `radii`: half widths of the window along x and y.
    `halves`: whether the taps along x and y stand half-way between integers, where neighbours are averaged.
    `profile`: where the discrete analogues of the Gaussian come from.
    Returns a tensor of shape (n, rows, cols): rows in the order of growing y.
    """
    reach = math.ceil(_REACH * math.sqrt(float(variances[2].max()) if variances.numel() else 0.0)) + _TERMS
    wide = max(radii) + reach + 1
    along_x, along_y, diagonal = profile(variances, wide)
    x = _shifted(along_x, radii[0], reach, half=halves[0])
    y = _shifted(along_y, radii[1], reach, half=halves[1])
    kernel: Tensor = (y * diagonal[:, None, wide - reach : wide + reach + 1]) @ x.mT
    return kernel


def _shifted(kernel: Tensor, radius: int, reach: int, *, half: bool) -> Tensor:
    """Return ``T(n + m)`` for the taps n of a window and all shifts m up to a reach: shape (n, taps, shifts)."""
    if half:
        kernel = (kernel[:, 1:] + kernel[:, :-1]) / 2
    taps = 2 * radius + 1 - half
    first = (kernel.shape[1] - taps) // 2 - reach
    return kernel.unfold(-1, 2 * reach + 1, 1)[:, first : first + taps]


def oriented_fields(parameters: Tensor, own: Oriented, size: tuple[int, ...]) -> Tensor:
    """Return oriented fields at parameters (n, 3) of a parametrization: shape (n, rows, cols), differentiable."""
    order = own.mixed_variance(parameters).abs().argsort()  # kernels made at once then reach about as far
    parts = [_fields(some, own, size) for some in parameters[order].split(kernels_at_once(size))]
    return torch.cat(parts)[order.argsort()] if parts else parameters.new_zeros(0, *size)


def kernels_at_once(size: tuple[int, ...]) -> int:
    """How many kernels are made at once, which bounds the memory."""
    return max(1, _NUMBERS // ((size[0] + 2 * _MARGIN) * (size[1] + 2 * _MARGIN)))


def _fields(parameters: Tensor, own: Oriented, size: tuple[int, ...]) -> Tensor:
    variances, mixed = own.component_variances(parameters)[:, 0], own.mixed_variance(parameters)
    diagonal = mixed.abs()
    narrow = (variances - diagonal[:, None]).clamp(min=0.0)
    variances = torch.stack([narrow[:, 0], narrow[:, 1], diagonal])
    kernel = upwards(affine_kernel(variances, *oriented_window(size)), mixed)
    differences = differences_of(kernel, own.order, size)
    weights = weights_along(parameters[:, 2], own.order)[0]
    fields = (differences * weights[:, :, None, None]).sum(0)
    return fields.flip(1)  # rows run down


def oriented_window(size: tuple[int, ...]) -> tuple[tuple[int, int], tuple[bool, bool]]:
    """Return the half widths along x and y in which kernels are made, and where taps stand half-way."""
    rows, cols = size
    return (cols // 2 + _MARGIN, rows // 2 + _MARGIN), (cols % 2 == 0, rows % 2 == 0)


def upwards(kernel: Tensor, mixed: Tensor) -> Tensor:
    """Turn kernels whose mixed variance is negative to the falling diagonal."""
    return torch.where((mixed < 0)[:, None, None], kernel.flip(1), kernel)


def stencilled_along(field: Tensor, stencil: Tensor, axis: int) -> Tensor:
    """Apply a stencil of three taps along an axis; what is returned is two taps shorter there."""
    count, a = field.shape[axis] - 2, stencil.tolist()
    low, mid, high = (field.narrow(axis, start, count) for start in range(3))
    out: Tensor = a[0] * low + a[1] * mid + a[2] * high if a[1] else a[0] * low + a[2] * high
    return out


def _cropped(field: Tensor, size: tuple[int, ...]) -> Tensor:
    rows, cols = ((have - want) // 2 for have, want in zip(field.shape[-2:], size, strict=True))
    return field[..., rows : rows + size[0], cols : cols + size[1]]


def differences_of(kernel: Tensor, order: int, size: tuple[int, ...]) -> Tensor:
    """Differences of a total order, in the order x^k, x^(k-1) y, ..: shape (order + 1, n, rows, cols)."""
    if order == 0:
        found = [kernel]
    elif order == 1:
        found = [stencilled_along(kernel, _CENTRAL, -1), stencilled_along(kernel, _CENTRAL, -2)]
    else:
        mixed = stencilled_along(stencilled_along(kernel, _CENTRAL, -1), _CENTRAL, -2)
        found = [stencilled_along(kernel, SECOND, -1), mixed, stencilled_along(kernel, SECOND, -2)]
    return torch.stack([_cropped(one, size) for one in found])


def weights_along(angle: Tensor, order: int) -> Tensor:
    """Return the weights of differences in the order x^k, x^(k-1) y, .., with two derivatives in the angle.

    Returns a tensor of shape (3, order + 1, n).
    """
    cos, sin = torch.cos(angle), torch.sin(angle)
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    if order == 0:
        rows = [[one], [zero], [zero]]
    elif order == 1:
        rows = [[cos, sin], [-sin, cos], [-cos, -sin]]
    else:
        double, turned = 2 * cos * sin, cos**2 - sin**2
        rows = [
            [cos**2, double, sin**2],
            [-double, 2 * turned, double],
            [-2 * turned, -4 * double, 2 * turned],
        ]
    return torch.stack([torch.stack(row) for row in rows])
