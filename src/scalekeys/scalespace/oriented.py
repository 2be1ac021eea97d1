"""Oriented receptive fields of two axes: positive discrete affine kernels, and their derivatives along an angle."""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from scalekeys.scalespace.gaussian import discrete_gaussian
from scalekeys.scalespace.parametrizations import Oriented, variance_at
from scalekeys.scalespace.second_order import chained, composed, entries, pairs, product

_MARGIN = 3  # taps beyond the window: two derivatives in scale, and a difference of second order
_REACH, _TERMS = 7.0, 5  # in standard deviations along the diagonal: beyond, the weights are below 1e-11
_NUMBERS = 2**18  # numbers of the kernels that are made at once, which bound the memory

_SECOND = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
_CENTRAL = torch.tensor([-0.5, 0.0, 0.5], dtype=torch.float64)


Profile = Callable[[Tensor, int], Tensor]
"""Discrete analogues of the Gaussian from variances (n,) and a radius: shape (n, 2 radius + 1)."""


def affine_kernel(
    variances: Tensor, radii: tuple[int, int], halves: tuple[bool, bool], profile: Profile = discrete_gaussian
) -> Tensor:
    """Return the convolution of three discrete analogues of the Gaussian: along x, y and the rising diagonal.

    Parameters
    ----------
    variances : Tensor, shape (3, n)
        Along x, y and the diagonal.
    radii : (int, int)
        Half widths of the window along x and y.
    halves : (bool, bool)
        Whether the taps along x and y stand half-way between integers, where neighbours are averaged.
    profile : callable
        Where the discrete analogues of the Gaussian come from.

    Returns
    -------
    Tensor, shape (n, rows, cols)
        Rows in the order of growing y.
    """
    along_x, along_y, diagonal = variances
    reach = math.ceil(_REACH * math.sqrt(float(diagonal.max()) if len(diagonal) else 0.0)) + _TERMS
    x = _shifted(profile(along_x, radii[0] + reach + 1), radii[0], reach, half=halves[0])
    y = _shifted(profile(along_y, radii[1] + reach + 1), radii[1], reach, half=halves[1])
    return (y * profile(diagonal, reach)[:, None]) @ x.mT


def _shifted(kernel: Tensor, radius: int, reach: int, *, half: bool) -> Tensor:
    """Return ``T(n + m)`` for the taps n of a window and all shifts m up to a reach: shape (n, taps, shifts)."""
    if half:
        kernel = (kernel[:, 1:] + kernel[:, :-1]) / 2
    taps, shifts = 2 * radius + 1 - half, 2 * reach + 1
    return kernel[:, 1:].unfold(-1, shifts, 1)[:, :taps]


class FieldDerivatives:
    """Differences of affine kernels of a positive mixed variance, with derivatives in the variances of their factors.

    Parameters
    ----------
    order : int
        Total order of the differences.
    size : (int, int)
        Rows and columns of the window.
    centred : bool
        Whether the means of the fields are subtracted.

    Attributes
    ----------
    fold : Tensor, shape (coordinates, taps)
        Fields of even order are the same after a turn by 180 degrees, those of odd order change their sign: a field is
        its coordinates times these orthonormal rows.

    Notes
    -----
    The derivative in a variance is half the second difference along its axis or diagonal, so that everything here is
    linear in the kernel.
    """

    def __init__(self, order: int, size: tuple[int, int], *, centred: bool) -> None:
        self.size, self._window = size, _window(size)
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
        self._matrix = coordinates.permute(2, 0, 1, 3)  # (kernels, 10, order + 1, coordinates)

    def __call__(self, variances: Tensor, rows: int = 10, profile: Profile = discrete_gaussian) -> Tensor:
        """Return the first rows of a table of three parameters, in coordinates: (n, rows, order + 1, coordinates).

        Parameters
        ----------
        variances : Tensor, shape (3, n)
            Along x, y and the rising diagonal.
        """
        kernel = affine_kernel(variances, *self._window, profile).flatten(1)
        matrix = self._matrix[:, :rows].to(kernel)
        return (kernel[:, : len(matrix)] @ matrix.flatten(1)).unflatten(1, matrix.shape[1:])


@lru_cache(maxsize=32)
def field_derivatives(order: int, size: tuple[int, int], *, centred: bool = False) -> FieldDerivatives:
    """Return the derivatives of the fields of an order on a window, built once."""
    return FieldDerivatives(order, size, centred=centred)


def oriented_tables(coordinates: Tensor, order: int, size: tuple[int, ...], bend: float) -> Tensor:
    """Return oriented fields at search coordinates (3, n), as tables with derivatives: (entries, taps, n)."""
    parts = [_tables(some, order, size, bend) for some in coordinates.split(_at_once(size), dim=1)]
    return torch.cat(parts, dim=-1) if parts else coordinates.new_zeros(entries(3), math.prod(size), 0)


def oriented_fields(parameters: Tensor, own: Oriented, size: tuple[int, ...]) -> Tensor:
    """Return oriented fields at parameters (n, 3) of a parametrization: shape (n, rows, cols), differentiable."""
    parts = [_fields(some, own, size) for some in parameters.split(_at_once(size))]
    return torch.cat(parts) if parts else parameters.new_zeros(0, *size)


def _at_once(size: tuple[int, ...]) -> int:
    """How many kernels are made at once, which bounds the memory."""
    return max(1, _NUMBERS // ((size[0] + 2 * _MARGIN) * (size[1] + 2 * _MARGIN)))


def _fields(parameters: Tensor, own: Oriented, size: tuple[int, ...]) -> Tensor:
    variances, mixed = own.component_variances(parameters)[:, 0], own.mixed_variance(parameters)
    diagonal = mixed.abs()
    narrow = (variances - diagonal[:, None]).clamp(min=0.0)
    variances = torch.stack([narrow[:, 0], narrow[:, 1], diagonal])
    kernel = _upwards(affine_kernel(variances, *_window(size)), mixed)
    differences = _differences(kernel, own.order, size)
    weights = own.differences(parameters)
    fields = (differences * weights.T[:, :, None, None]).sum(0)
    return fields.flip(1)  # rows run down


def _window(size: tuple[int, ...]) -> tuple[tuple[int, int], tuple[bool, bool]]:
    rows, cols = size
    return (cols // 2 + _MARGIN, rows // 2 + _MARGIN), (cols % 2 == 0, rows % 2 == 0)


def _upwards(kernel: Tensor, mixed: Tensor) -> Tensor:
    """Turn kernels whose mixed variance is negative to the falling diagonal."""
    return torch.where((mixed < 0)[:, None, None], kernel.flip(1), kernel)


def _along(field: Tensor, stencil: Tensor, axis: int) -> Tensor:
    """Apply a stencil of three taps along an axis; what is returned is two taps shorter there."""
    count, a = field.shape[axis] - 2, stencil.tolist()
    low, mid, high = (field.narrow(axis, start, count) for start in range(3))
    out: Tensor = a[0] * low + a[1] * mid + a[2] * high if a[1] else a[0] * low + a[2] * high
    return out


def _cropped(field: Tensor, size: tuple[int, ...]) -> Tensor:
    rows, cols = ((have - want) // 2 for have, want in zip(field.shape[-2:], size, strict=True))
    return field[..., rows : rows + size[0], cols : cols + size[1]]


def _differences(kernel: Tensor, order: int, size: tuple[int, ...]) -> Tensor:
    """Differences of a total order, in the order x^k, x^(k-1) y, ..: shape (order + 1, n, rows, cols)."""
    if order == 0:
        found = [kernel]
    elif order == 1:
        found = [_along(kernel, _CENTRAL, -1), _along(kernel, _CENTRAL, -2)]
    else:
        mixed = _along(_along(kernel, _CENTRAL, -1), _CENTRAL, -2)
        found = [_along(kernel, _SECOND, -1), mixed, _along(kernel, _SECOND, -2)]
    return torch.stack([_cropped(one, size) for one in found])


def _tables(coordinates: Tensor, order: int, size: tuple[int, ...], bend: float) -> Tensor:
    *arguments, mixed = variance_tables(coordinates, bend)
    own = field_derivatives(order, size)
    coordinates_of_fields = own(torch.stack([one[0].clamp(min=0.0) for one in arguments]))
    rising = (coordinates_of_fields @ own.fold.to(coordinates)).unflatten(-1, size)
    signs = torch.tensor([(-1.0) ** k for k in range(order + 1)]).to(rising)  # of differences in y, which is turned
    falling = rising.flip(-2) * signs[:, None, None]
    fields = torch.where((mixed < 0).reshape(-1, 1, 1, 1, 1), falling, rising)
    table = chained(fields.flatten(3).movedim(0, -1), arguments, 3)
    weights = angular_weights(coordinates[2], order)
    return product(weights[:, :, None], table, 3).sum(1)


def _stencilled(kernel: Tensor, order: int, size: tuple[int, int]) -> Tensor:
    """Differences of kernels (n, rows, cols), as tables in the three variances: (10, order + 1, n, rows, cols)."""

    def heat(field: Tensor, number: int) -> Tensor:
        """Half the second difference along x, y or the rising diagonal: the derivative in that variance."""
        if number < 2:
            return _framed(_along(field, _SECOND, -1 - number), field) / 2
        return _framed(field[:, 2:, 2:] + field[:, :-2, :-2] - 2 * field[:, 1:-1, 1:-1], field) / 2

    first = [heat(kernel, number) for number in range(3)]
    second = [heat(first[i], j) for i, j in pairs(3)]
    return torch.stack([_differences(one, order, size) for one in (kernel, *first, *second)])


def _framed(inner: Tensor, like: Tensor) -> Tensor:
    """Surround with zeros up to the shape of another field; what stands there is cut off in the end."""
    rows, cols = like.shape[-2] - inner.shape[-2], like.shape[-1] - inner.shape[-1]
    return torch.nn.functional.pad(inner, (cols // 2, cols - cols // 2, rows // 2, rows - rows // 2))


def _coordinate(values: Tensor, number: int) -> Tensor:
    table = values.new_zeros(entries(3), len(values))
    table[0], table[1 + number] = values, 1.0
    return table


def variance_tables(coordinates: Tensor, bend: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tables of the variances along x, y and the diagonal, and the sign of the mixed one."""
    u, eccentricity, angle = (_coordinate(own, number) for number, own in enumerate(coordinates))
    rest = 1 - u[0]
    mean = composed(u, variance_at(u[0], bend), bend / rest**2, 2 * bend / rest**3, 3)
    cos, sin = torch.cos(2 * angle[0]), torch.sin(2 * angle[0])
    cosine, sine = composed(angle, cos, -2 * sin, -4 * cos, 3), composed(angle, sin, 2 * cos, -4 * sin, 3)
    slant = cosine * torch.where(cos < 0, -1.0, 1.0) + sine * torch.where(sin < 0, -1.0, 1.0)
    inverse = composed(slant, 1 / slant[0], -1 / slant[0] ** 2, 2 / slant[0] ** 3, 3)
    half = product(mean, product(eccentricity, inverse, 3), 3)
    mixed, uneven = product(half, sine, 3), product(half, cosine, 3)
    sign = torch.where(mixed[0] < 0, -1.0, 1.0)
    diagonal = mixed * sign
    return mean + uneven - diagonal, mean - uneven - diagonal, diagonal, mixed[0]


def angular_weights(angle: Tensor, order: int) -> Tensor:
    """Return the weights of differences in the order x^k, x^(k-1) y, .., as tables: shape (10, order + 1, n)."""
    own = _coordinate(angle, 2)
    cos, sin = torch.cos(angle), torch.sin(angle)
    cosine, sine = composed(own, cos, -sin, -cos, 3), composed(own, sin, cos, -sin, 3)
    if order == 0:
        weights = [_constant(torch.ones_like(angle))]
    elif order == 1:
        weights = [cosine, sine]
    else:
        weights = [product(cosine, cosine, 3), 2 * product(cosine, sine, 3), product(sine, sine, 3)]
    return torch.stack(weights, dim=1)


def _constant(values: Tensor) -> Tensor:
    return torch.cat([values[None], values.new_zeros(entries(3) - 1, len(values))])
