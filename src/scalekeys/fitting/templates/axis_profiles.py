"""The profiles of operators along one axis, folded by their symmetries, at any scale up to infinity."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from scalekeys.fitting.templates.extended_precision import atoms_at
from scalekeys.scalespace import (
    DIFFERENCES,
    IMPULSE,
    AxisScales,
    Discretization,
    Family,
    Window,
    place_of,
    smallest_variance,
)
from scalekeys.scalespace.families import ORDERS
from scalekeys.scalespace.profiles import Profiles

_LENGTHS = (17, 33, 65)  # 2^k + 1, which doubling reaches
_LONGER = (129, 257)  # what the steep derivatives of a sampled Gaussian may need beside, at small scales
_ROUNDING = 4e-13
_ENOUGH = 1e-10  # for longer series, since derivatives lose digits with their length
_NOISE = 4.0  # a longer series is worth it if its error is smaller by this factor
_SURE = 0.999  # beyond this place the deviations of second order are known to fewer digits, and matter less


class AxisProfiles:
    r"""The profiles of some operators along one axis, as functions of the search coordinate ``u = t / (bend + t)``.

    A profile has few distinct taps: that of a smoothing is even, that of a centred difference odd, that of a one-sided
    one odd about half a pixel. It is given by its coordinates in an orthonormal basis of the space of such profiles,
    its *fold*. In an even fold the first vector is constant, so that a mean and the deviations from it are apart.

    `operators`: names, each once.
    `side`: taps of the window along the axis.
    `axis`: 0 for x, 1 for y, 2 for z.
    `plain`: whether profiles are wanted as they are, up to twice the variance at which the window is one standard
    deviation wide, and not up to infinity.
    `folds`: of shape (coordinates, taps); orthonormal rows, one matrix for each operator: a profile is its coordinates
    times its fold.
    `base`: what is returned is the profile divided by ``(1 - u)^base``. A factor that depends on the scale changes no
    model with a free amplitude, and without it profiles would vanish with a growing scale, and their deviations from
    the mean would drown in its rounding.

    With ``w = 1 - u`` every coordinate falls as a known power of w when t grows: a derivative of order r as
    ``w^(1/2 + ceil(r / 2))``, the deviations from the mean of an even one by a further w. Divided by it, a coordinate
    is a smooth function of u up to u = 1 and is tabulated as a Chebyshev series. Its length is the shortest of a few
    for which the error that is measured between the nodes stays below 4e-13 of the largest value: 65 terms at most for
    the discrete analogue of the Gaussian, and up to 257 for other discretizations, where 1e-10 is enough from 65 on.
    """

    def __init__(
        self,
        operators: Sequence[str],
        side: int,
        axis: int,
        window: Window,
        bend: float,
        discretization: Discretization = "discrete",
        *,
        plain: bool = False,
    ) -> None:
        self.operators = tuple(operators)
        along = Profiles([operators], [side], window, discretization, first=axis, folded=True)
        rows = [np.array(own) for own in along.rows[0]]
        folds = [_fold(own) for own in rows]
        self.folds = [torch.from_numpy(fold) for fold in folds]
        self.ones = [fold.sum(1) / math.sqrt(side) for fold in self.folds]
        powers = [_powers(name, fold, plain=plain) for name, fold in zip(operators, folds, strict=True)]
        self.base = min(float(own.max()) for own in powers)
        self.start = float(place_of(torch.tensor(smallest_variance(discretization), dtype=torch.float64), bend))
        self.end = (2 * bend**2 + 1) / (2 * bend**2 + 1 + bend) if plain else 1.0
        # Below the coordinates of a profile stands that of its mean.
        functions = [
            np.concatenate([fold, fold.sum(1)[None] @ fold / math.sqrt(side)]) @ row
            for fold, row in zip(folds, rows, strict=True)
        ]
        self.counts = [len(function) for function in functions]
        exact = np.concatenate(functions).astype(np.longdouble)  # functions of the atoms and a constant 1
        exponents = np.concatenate([np.append(power, power.min()) for power in powers])
        width = self.end - self.start

        def values(position: np.ndarray) -> np.ndarray:
            u = self.start + (position.astype(np.longdouble) + 1) / 2 * width
            w = 1 - u
            atoms = atoms_at(along, bend * u / w)
            atoms = np.concatenate([atoms, np.ones_like(atoms[:1])])
            return np.asarray(exact @ atoms / w ** exponents[:, None], dtype=float)

        self.matrix = _series(values, _LENGTHS if discretization == "discrete" else _LENGTHS + _LONGER, width)
        self._exponents = torch.from_numpy(exponents) - self.base
        self._odd = {float(e): (self._exponents == e).nonzero()[:, 0] for e in self._exponents.unique() if e}

    def __call__(self, u: Tensor) -> list[Tensor]:
        """Return the coordinates of each profile and, last, of its mean, with two derivatives in u.

        One tensor of shape (3, coordinates + 1, n) for each operator, for coordinates u of shape (n,).
        """
        return list(self.scaled(self.matrix.flatten(0, 1).to(u) @ self.basis(u), u).split(self.counts, dim=1))

    def basis(self, u: Tensor) -> Tensor:
        """Return the terms of the series at coordinates of shape (n,): shape (length, n)."""
        return chebyshev(self.position(u), self.matrix.shape[2])

    def position(self, u: Tensor) -> Tensor:
        """Return the argument of the series, which runs from -1 to 1."""
        return 2 / (self.end - self.start) * (u - self.start) - 1

    def scaled(self, values: Tensor, u: Tensor) -> Tensor:
        """Give the series of all rows, shape (3 rows, n), their powers of ``1 - u``: shape (3, rows, n)."""
        table: Tensor = values.unflatten(0, (3, -1))
        for exponent, rows in self._odd.items():
            multiply_by_power(table, rows, exponent, 1 - u)
        return table

    def rescaled(self, table: Tensor, u: Tensor) -> None:
        """Do so in place for the only profile, whose mean stands in the last row behind blank ones."""
        coordinates = self.counts[0] - 1
        for exponent, rows in self._odd.items():
            places = torch.where(rows == coordinates, table.shape[1] - 1, rows)
            multiply_by_power(table, places, exponent, 1 - u)

    def crossing(self, first: int, other: "AxisProfiles", second: int) -> Tensor:
        """Return the matrix of scalar products of deviations from the mean, in the coordinates of two profiles."""
        plain = self.folds[first] @ other.folds[second].T
        centred = plain - self.ones[first][:, None] * other.ones[second]
        return torch.where(centred.abs() < 1e-12, 0.0, centred)


def multiply_by_power(table: Tensor, rows: Tensor, exponent: float, w: Tensor) -> None:
    """Multiply some rows of functions with two derivatives in u, shape (3, rows, n), by ``w^exponent``, in place."""
    inverse = 1 / w
    f0 = power_of(w, exponent)
    f1 = -exponent * f0 * inverse
    f2 = (1 - exponent) * f1 * inverse
    value, first, second = table[:, rows]
    table[0, rows] = f0 * value
    table[1, rows] = f0 * first + f1 * value
    table[2, rows] = f0 * second + 2 * f1 * first + f2 * value


def power_of(w: Tensor, exponent: float) -> Tensor:
    """Return a power by few multiplications: the exponent is a multiple of one half."""
    whole = math.floor(exponent)
    out = torch.sqrt(w) if exponent != whole else torch.ones_like(w)
    for _ in range(abs(whole)):
        out = out * w if whole > 0 else out / w
    return out


def chebyshev(position: Tensor, length: int) -> Tensor:
    """Chebyshev polynomials 0 .. length - 1, shape (length, n), by doubling: ``T_(m+j) = 2 T_m T_j - T_(m-j)``."""
    out = position.new_empty(length, len(position))
    out[0] = 1.0
    out[1] = position
    known = 1
    while known < length - 1:
        new = out[known + 1 : 2 * known + 1]
        torch.mul(out[1 : known + 1], 2 * out[known], out=new)
        new -= out[:known].flip(0)
        known *= 2
    return out


def has_limit(family: Family, window: Window) -> bool:
    """Whether a family has a template of its own at infinite scales, to which a search may go."""
    return isinstance(family.parametrization, AxisScales) and not family.mixed and window == "exact"


def profiles_along(
    family: Family, size: Sequence[int], window: Window, bend: float, *, plain: bool = False
) -> list[AxisProfiles]:
    """Return the profiles of a family along each axis of a window, (x, y, z), built once for each combination.

    `bend`: of the search coordinates.
    `plain`: whether profiles keep every factor that depends on the scale; always where some other limit than infinity
    is reached, as for mixtures, for components of several scales, and in the published window.
    """
    plain = plain or not has_limit(family, window)
    found = []
    for axis, side in enumerate(size[::-1]):
        operators = sorted({term.operators[axis] for term in family.terms}, key=[*DIFFERENCES, IMPULSE].index)
        found.append(_cached(tuple(operators), side, axis, window, bend, family.discretization, plain=plain))
    return found


def scale_factors(axes: Sequence[AxisProfiles], groups: Sequence[int], coordinates: Tensor) -> Tensor:
    """Return what products of profiles are multiplied by to keep every factor that depends on the scale: (n,)."""
    power = torch.ones_like(coordinates[0])
    for own, group in zip(axes, groups, strict=True):
        power = power * (1 - coordinates[group]) ** own.base
    return power


def _fold(rows: np.ndarray) -> np.ndarray:
    """Return orthonormal rows that span the profiles: taps that are equal, or opposite, at every scale go together."""
    vectors, free = [], list(range(len(rows)))
    while free:
        tap, *free = free
        if not rows[tap].any():
            continue
        vector = np.zeros(len(rows))
        vector[tap] = 1.0
        for other in list(free):
            for sign in (1.0, -1.0):
                if np.allclose(rows[other], sign * rows[tap], rtol=0, atol=1e-12):
                    vector[other] = sign
                    free.remove(other)
                    break
        vectors.append(vector / np.linalg.norm(vector))
    fold = np.stack(vectors)
    if fold.min() < 0 or np.count_nonzero(fold) < len(rows):
        return fold
    constant = np.full((1, len(rows)), 1 / math.sqrt(len(rows)))
    basis, _ = np.linalg.qr(np.concatenate([constant, fold]).T)
    basis = basis[:, : len(fold)].T
    return np.concatenate([constant, basis[1:]])


def _powers(name: str, fold: np.ndarray, *, plain: bool) -> np.ndarray:
    """Return the power of w as which each coordinate of a profile falls."""
    if plain:
        return np.zeros(len(fold))
    order = ORDERS[name]
    powers = np.full(len(fold), 0.5 + math.ceil(order / 2) + (order % 2 == 0))
    if order % 2 == 0:
        powers[0] -= 1
    return powers


def _series(values: Callable[[np.ndarray], np.ndarray], lengths: Sequence[int], width: float) -> Tensor:
    """Return the Chebyshev coefficients of functions and of their two derivatives in u: shape (3, rows, length).

    `values`: from positions from -1 to 1 to values, shape (rows, positions).
    `width`: of the range of u.
    """
    probe = np.cos(np.pi * (np.arange(256) + 0.5) / 256)
    probe = probe[probe < _SURE]
    known, angle = values(probe), np.arccos(probe)
    series, error = np.empty((0, 0)), np.inf
    for length in lengths:
        longer = _interpolated(values, length)
        found = np.abs(longer @ np.cos(np.arange(length)[:, None] * angle) - known).max()
        better = found < error / _NOISE
        if better:
            series, error = longer, found
        wanted = _ROUNDING if length < _LENGTHS[-1] else _ENOUGH
        if (not better and length >= _LENGTHS[-1]) or error < wanted * np.abs(known).max():
            break
    parts = [series]
    for order in (1, 2):
        slopes = math.pow(2 / width, order) * np.polynomial.chebyshev.chebder(series, order, axis=1)
        parts.append(np.pad(slopes, ((0, 0), (0, series.shape[1] - slopes.shape[1]))))
    return torch.from_numpy(np.stack(parts))


def _interpolated(values: Callable[[np.ndarray], np.ndarray], length: int) -> np.ndarray:
    """Return the coefficients of the polynomials through Chebyshev nodes, shape (rows, length)."""
    angle = np.pi * (np.arange(length) + 0.5) / length
    coefficients: np.ndarray = 2 / length * values(np.cos(angle)) @ np.cos(np.arange(length)[:, None] * angle).T
    coefficients[:, 0] /= 2
    return coefficients


_cached = lru_cache(maxsize=512)(AxisProfiles)
