"""Global optima of a jet in least squares, and of the eight families in least absolute differences.

As in ``oracle.py``, nothing here uses the package that is measured. The linear unknowns of a jet are eliminated by
``numpy.linalg.lstsq`` (variable projection). Those of least absolute differences are solved exactly for given scales:
with the best offset (a median) the sum is convex and piecewise linear in the amplitude, and bends only where the
residuals of two taps are equal, so that the amplitudes of all pairs of taps are searched.
"""

from collections.abc import Callable

import numpy as np
from scipy import optimize

from fit_sections.oracle import Array, Objective, descend, profiles, starts, template, upper

_RANK_TOLERANCE = 1e-12
_POLISHED = 3  # of the starts
_POLISHES = 4  # at most


def jet_objective(order: int, target: Array) -> Objective:
    """Return the share of a centred filter of norm 1 that a jet leaves unexplained."""
    differences = profiles("1023"[: order + 1], len(target))
    powers = [(total - j, j) for total in range(order + 1) for j in range(total + 1)]
    i, j = np.array(powers).T
    flat = target.ravel()

    def loss(u: Array) -> tuple[float, Array]:
        t = np.expm1(u)
        (a, moved_a), (b, moved_b) = (np.split(differences(variance), 2) for variance in t)
        columns = (b[j][:, :, None] * a[i][:, None, :]).reshape(len(i), -1).T
        columns = columns - columns.mean(0)
        norms = np.linalg.norm(columns, axis=0)
        norms[norms == 0] = 1
        coefficients = np.linalg.lstsq(columns / norms, flat, rcond=_RANK_TOLERANCE)[0] / norms
        residual = flat - columns @ coefficients
        left = residual.reshape(target.shape)
        slope_x = coefficients @ (b @ left @ moved_a.T)[j, i]
        slope_y = coefficients @ (moved_b @ left @ a.T)[j, i]
        return float(residual @ residual), -2 * np.array([slope_x, slope_y]) * (1 + t)

    return loss


def jet_multistart(order: int, target: Array, count: int, seed: int) -> Array:
    """Return loss and parameters from each start: shape (starts, 3)."""
    name = f"jet{order}"
    loss, highest = jet_objective(order, target), upper(name, len(target))
    found = (descend(loss, start, highest) for start in starts(name, target, count, seed))
    return np.array([[value, *parameters] for value, parameters in found])


def absolute_objective(name: str, target: Array) -> Callable[[Array], float]:
    """Return the least sum of absolute differences for given log1p of the parameters."""
    one, two = np.triu_indices(target.size, 1)
    flat, side = target.ravel(), len(target)
    rise = flat[one] - flat[two]

    def loss(u: Array) -> float:
        kernel = template(name, np.expm1(u), side).ravel()
        run = kernel[one] - kernel[two]
        usable = np.abs(run) > 1e-14 * np.abs(kernel).max()
        return _least_absolute(flat, kernel, np.sort(rise[usable] / run[usable]))

    return loss


def absolute_multistart(name: str, target: Array, count: int, seed: int) -> Array:
    """Return loss and parameters from each start of a simplex search: shape (starts, 3)."""
    loss, highest = absolute_objective(name, target), upper(name, len(target))
    bounds = optimize.Bounds(np.zeros(2), np.log1p(highest))
    ends = [_simplex(loss, start, bounds) for start in starts(name, target, count, seed)]
    ends.sort(key=lambda end: end[0])
    ends[:_POLISHED] = [_polished(loss, *end, bounds) for end in ends[:_POLISHED]]
    return np.array([[value, *np.minimum(np.expm1(u), highest)] for value, u in ends])


def _least_absolute(flat: Array, kernel: Array, amplitudes: Array) -> float:
    """Minimise a convex function of the amplitude that bends at the given ones, in ascending order, and only there."""
    step = max(1, int(len(amplitudes) ** 0.5))
    nearest = int(_sums(flat, kernel, amplitudes[::step]).argmin()) * step
    return float(_sums(flat, kernel, amplitudes[max(0, nearest - step) : nearest + step + 1]).min())


def _sums(flat: Array, kernel: Array, amplitudes: Array) -> Array:
    """Return the sum of absolute differences with the best offset for each amplitude."""
    shifted = flat - amplitudes[:, None] * kernel
    middle = shifted.shape[1] // 2  # the number of taps is odd
    shifted.partition(middle, axis=1)
    sums: Array = shifted[:, middle + 1 :].sum(1) - shifted[:, :middle].sum(1)
    return sums


def _simplex(
    loss: Callable[[Array], float], start: Array, bounds: optimize.Bounds, tolerance: float = 1e-6
) -> tuple[float, Array]:
    found = optimize.minimize(
        loss,
        start,
        method="Nelder-Mead",
        bounds=bounds,
        options={"xatol": tolerance, "fatol": 1e-3 * tolerance, "maxiter": 400},
    )
    return float(found.fun), found.x


def _polished(loss: Callable[[Array], float], value: float, end: Array, bounds: optimize.Bounds) -> tuple[float, Array]:
    """Begin anew where a search ended, since a simplex may stall in a crease."""
    for _ in range(_POLISHES):
        lower, end = _simplex(loss, end, bounds, 1e-9)
        gained, value = value - lower, min(value, lower)
        if gained < 1e-10 * value:
            break
    return value, end
