"""Derivatives of oriented receptive fields in the coordinates of a search."""

import math
from functools import lru_cache

import torch
from torch import Tensor

from scalekeys.scalespace.oriented import (
    SECOND,
    affine_kernel,
    differences_of,
    kernels_at_once,
    oriented_window,
    stencilled_along,
    weights_along,
)
from scalekeys.scalespace.parametrizations import variance_at
from scalekeys.scalespace.second_order import chained, entries, lifted, outer, pairs, product

_SPREAD, _TERMS = 8.6, 8  # in standard deviations: beyond, a kernel is below 1e-16
_PERIODS = 16  # periods are rounded up to multiples, so that few tables of cosines are made


class FieldDerivatives:
    """Differences of affine kernels of a positive mixed variance, with derivatives in the variances of their factors.

    `order`: total order of the differences.
    `size`: rows and columns of the window.
    `centred`: whether the means of the fields are subtracted.
    `fold`: shape (coordinates, taps); fields of even order are the same after a turn by 180 degrees, those of odd order
    change their sign: a field is its coordinates times these orthonormal rows.

    The derivative in a variance is half the second difference along its axis or diagonal, so that everything here is
    linear in the kernel.
    """

    def __init__(self, order: int, size: tuple[int, ...], *, centred: bool) -> None:
        self.size, self._window = size, oriented_window(size)
        taps, sign = math.prod(size), (-1.0) ** order
        half = torch.eye(taps, dtype=torch.float64)[: (taps + (order + 1) % 2) // 2]
        rows = half + sign * half.flip(1)
        self.fold = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        sides = [2 * radius + 1 - half for radius, half in zip(*self._window, strict=True)]
        count = math.prod(sides)
        unit = torch.eye(count, dtype=torch.float64)[: (count + 1) // 2]
        kernels = torch.maximum(unit, unit.flip(1)).unflatten(1, sides[::-1])
        fields = _stencilled(kernels, order, size)  # (10, order + 1, kernels, rows, cols)
        coordinates = fields.flip(-2).flatten(3) @ self.fold.T
        if centred:
            ones = self.fold.sum(1) / math.sqrt(taps)
            coordinates = coordinates - (coordinates @ ones)[..., None] * ones
        self._matrix = coordinates.permute(2, 1, 0, 3).contiguous()  # (kernels, order + 1, 10, coordinates)

    def __call__(self, variances: Tensor) -> Tensor:
        """Return tables of three parameters, in coordinates: shape (n, order + 1, 10, coordinates).

        `variances`: shape (3, n); along x, y and the rising diagonal.
        """
        kernel = affine_kernel(variances, *self._window, periodic_gaussian).flatten(1)
        matrix = self._matrix.to(kernel)
        tables: Tensor = (kernel[:, : len(matrix)] @ matrix.flatten(1)).unflatten(1, matrix.shape[1:])
        return tables


@lru_cache(maxsize=32)
def field_derivatives(order: int, size: tuple[int, ...], *, centred: bool = False) -> FieldDerivatives:
    """Return the derivatives of the fields of an order on a window, built once."""
    return FieldDerivatives(order, size, centred=centred)


def periodic_gaussian(t: Tensor, radius: int) -> Tensor:
    """Return the discrete analogue of the Gaussian from its spectrum ``exp(-t (1 - cos w))``, with absolute errors.

    `t`: shape (...); variances.
    Returns a tensor of shape (..., 2 radius + 1): repeated with a period so long that the repetitions are below
    rounding.
    """
    length = radius + _SPREAD * math.sqrt(float(t.max()) if t.numel() else 0.0) + _TERMS
    decay, cosines = _spectrum(radius, math.ceil(length / _PERIODS) * _PERIODS + 1)
    return torch.exp(t[..., None] * decay.to(t)) @ cosines.to(t)


@lru_cache(maxsize=64)
def _spectrum(radius: int, period: int) -> tuple[Tensor, Tensor]:
    """Return ``cos w - 1`` at the frequencies of an odd period, and what is summed: (frequencies, 2 radius + 1)."""
    waves = torch.arange(period // 2 + 1, dtype=torch.float64) * (2 * math.pi / period)
    taps = torch.arange(-radius, radius + 1, dtype=torch.float64)
    cosines = torch.cos(waves[:, None] * taps) * (2 / period)
    cosines[0] /= 2
    return torch.cos(waves) - 1, cosines


def oriented_tables(coordinates: Tensor, order: int, size: tuple[int, ...], bend: float) -> Tensor:
    """Return oriented fields at search coordinates (3, n), as tables with derivatives: (entries, taps, n)."""
    parts = [_tables(some, order, size, bend) for some in coordinates.split(kernels_at_once(size), dim=1)]
    return torch.cat(parts, dim=-1) if parts else coordinates.new_zeros(entries(3), math.prod(size), 0)


def _tables(coordinates: Tensor, order: int, size: tuple[int, ...], bend: float) -> Tensor:
    signs = signs_of(coordinates)
    arguments = variance_tables(coordinates, signs, bend)
    own = field_derivatives(order, size)
    folded = own(torch.stack([one[0].clamp(min=0.0) for one in arguments]))
    rising = (folded @ own.fold.to(coordinates)).unflatten(-1, size)
    turns = torch.tensor([(-1.0) ** k for k in range(order + 1)]).to(rising)  # of differences in y, which is turned
    falling = rising.flip(-2) * turns[:, None, None, None]
    mixed = signs[1] * signs[2]
    fields = torch.where((mixed < 0).reshape(-1, 1, 1, 1, 1), falling, rising)
    table = chained(fields.flatten(3).permute(2, 1, 3, 0), arguments, 3)
    weights = angular_weights(coordinates[2], order)
    return product(weights[:, :, None], table, 3).sum(1)


def _stencilled(kernel: Tensor, order: int, size: tuple[int, ...]) -> Tensor:
    """Differences of kernels (n, rows, cols), as tables in the three variances: (10, order + 1, n, rows, cols)."""

    def heat(field: Tensor, number: int) -> Tensor:
        """Half the second difference along x, y or the rising diagonal: the derivative in that variance."""
        if number < 2:
            return _framed(stencilled_along(field, SECOND, -1 - number), field) / 2
        return _framed(field[:, 2:, 2:] + field[:, :-2, :-2] - 2 * field[:, 1:-1, 1:-1], field) / 2

    first = [heat(kernel, number) for number in range(3)]
    second = [heat(first[i], j) for i, j in pairs(3)]
    return torch.stack([differences_of(one, order, size) for one in (kernel, *first, *second)])


def _framed(inner: Tensor, like: Tensor) -> Tensor:
    """Surround with zeros up to the shape of another field; what stands there is cut off in the end."""
    rows, cols = like.shape[-2] - inner.shape[-2], like.shape[-1] - inner.shape[-1]
    return torch.nn.functional.pad(inner, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2))


def signs_of(coordinates: Tensor) -> Tensor:
    """Return the signs of ``cos 2 phi``, ``sin 2 phi`` and the eccentricity at search coordinates, both (3, n).

    Between two changes of these signs the fields are smooth.
    """
    _, eccentricity, angle = coordinates
    return torch.where(torch.stack([torch.cos(2 * angle), torch.sin(2 * angle), eccentricity]) < 0, -1.0, 1.0)


def variance_tables(coordinates: Tensor, signs: Tensor, bend: float) -> list[Tensor]:
    """Return tables of the variances along x, y and the diagonal, each of shape (10, n).

    `coordinates`: shape (3, n).
    `signs`: shape (3, n); of :func:`signs_of`, which at an edge between two pieces say from which one it is looked at.
    """
    u, eccentricity, angle = coordinates
    rest = 1 - u
    mean = torch.stack([variance_at(u, bend), bend / rest**2, 2 * bend / rest**3])
    cos, sin = torch.cos(2 * angle), torch.sin(2 * angle)
    slant = signs[0] * cos + signs[1] * sin
    slope, bent = 2 / slant**2, 8 * (signs[0] * sin - signs[1] * cos) / slant**3
    cosine = torch.stack([cos / slant, -signs[1] * slope, -signs[1] * bent])
    sine = signs[1] * torch.stack([sin / slant, signs[0] * slope, signs[0] * bent])
    share = torch.stack([eccentricity, torch.ones_like(u), torch.zeros_like(u)])
    uneven = outer([mean, share, cosine])
    diagonal = outer([mean, share * signs[2], sine])
    even = lifted(mean, 3)
    return [even + uneven - diagonal, even - uneven - diagonal, diagonal]


def angular_weights(angle: Tensor, order: int) -> Tensor:
    """Return the weights of differences in the order x^k, x^(k-1) y, .., as tables: shape (10, order + 1, n)."""
    weights = angle.new_zeros(entries(3), order + 1, len(angle))
    weights[[0, 3, 9]] = weights_along(angle, order)
    return weights
