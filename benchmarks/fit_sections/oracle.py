"""The eight families, least squares and their global optimum, written with numpy and scipy alone.

Nothing here uses the package that is measured. ``T(n; t)`` is ``scipy.special.ive``; a difference of it, and its
derivative ``dT/dt = (T(n-1) - 2 T(n) + T(n+1)) / 2``, are one constant matrix applied to ``T(0), T(1), ...``. A
template is ``y x^T``, so that its product with a filter H is ``y^T H x`` and one evaluation takes a few products of
small vectors. Filters are stored upwards here: row 0 is the lowest, so that both profiles grow with their index.
"""

import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

Array: TypeAlias = NDArray[np.float64]
Objective: TypeAlias = Callable[[Array], tuple[float, Array]]
"""From log1p of the parameters to the loss and its gradient."""

MAX_ALPHA = 10.0
FLAT = 1e3
"""Variances in squared sides up to which a template can be told from a constant in double precision."""

_VALUE_TOLERANCE = 1e-13
_GRADIENT_TOLERANCE = 1e-9

STENCILS: Mapping[str, Mapping[int, float]] = {
    "1": {0: 1.0},
    "+": {1: 1.0, 0: -1.0},
    "-": {0: 1.0, -1: -1.0},
    "0": {1: 0.5, -1: -0.5},
    "2": {1: 1.0, 0: -2.0, -1: 1.0},
    "3": {2: 0.5, 1: -1.0, -1: 1.0, -2: -0.5},
}
FAMILIES: Mapping[str, tuple[str, str] | None] = {
    "dy+": ("1", "+"),
    "dx-": ("-", "1"),
    "dy-": ("1", "-"),
    "dx+": ("+", "1"),
    "dx": ("0", "1"),
    "dy": ("1", "0"),
    "sharpen": None,
    "smooth": ("1", "1"),
}
"""Differences along (x, y); None for the impulse minus alpha times the Laplacian."""

NAMES = tuple(FAMILIES)


class Profiles:
    """Several differences of ``T(.; t)`` on a window, followed by their derivatives in t."""

    def __init__(self, operators: str, side: int) -> None:
        half = side // 2
        stencils = [STENCILS[o] for o in operators]
        reach = half + 1 + max(abs(n) for stencil in stencils for n in stencil)
        rows = [_matrix(s, half, reach) for s in (*stencils, *map(_heat, stencils))]
        self.orders = np.arange(reach + 1.0)
        self.matrix = np.concatenate(rows)
        self.side = side

    def __call__(self, t: float) -> Array:
        """Return shape (2 * operators, side)."""
        product: Array = self.matrix @ special.ive(self.orders, t)
        return product.reshape(-1, self.side)


profiles = lru_cache(maxsize=None)(Profiles)


def unit(filter_: NDArray[np.floating]) -> Array:
    """Centre a filter, put it to norm 1, and turn it so that its rows run upwards."""
    values = filter_[::-1].astype(np.float64)
    values -= values.mean()
    values /= np.linalg.norm(values)
    return np.ascontiguousarray(values)


def upper(name: str, side: int) -> Array:
    """Return the largest parameters: (t_x, t_y), or (t, alpha).

    Without a bound of its own a variance may be as large as double precision can tell from an infinite one here, where
    a template is hardly more than a constant: a scale of 31 sides.
    """
    if name == "sharpen" or name not in FAMILIES:
        return np.array([side**2, MAX_ALPHA if name == "sharpen" else side**2])
    return np.array([FLAT * side**2, FLAT * side**2])


def template(name: str, parameters: Array, side: int) -> Array:
    """Return a template with rows that run upwards."""
    first, second = float(parameters[0]), float(parameters[1])
    differences = FAMILIES[name]
    if differences is not None:
        x, y = profiles(differences[0], side)(first)[0], profiles(differences[1], side)(second)[0]
        return np.outer(y, x)
    plain, bent = profiles("12", side)(first)[:2]
    return _impulse(side) - second * (np.outer(bent, plain) + np.outer(plain, bent))


def objective(name: str, target: Array) -> Objective:
    """Return the share of a centred filter of norm 1 that a family leaves unexplained, amplitude and offset free."""
    differences = FAMILIES[name]
    return _sharpened(target) if differences is None else _separable(target, *differences)


def starts(name: str, target: Array, count: int, seed: int) -> Array:
    """Spread starts over the whole box: a Latin hypercube in log1p of the parameters, its own for each filter."""
    rng = np.random.default_rng([seed, NAMES.index(name) if name in FAMILIES else len(NAMES), zlib.crc32(target.data)])
    places = np.stack([(rng.permutation(count) + rng.random(count)) / count for _ in range(2)], axis=-1)
    highest: Array = np.log1p(upper(name, len(target)))
    return places * highest


def descend(loss: Objective, start: Array, highest: Array) -> tuple[float, Array]:
    """Return the loss and the parameters of one bounded search from one start."""
    found = optimize.minimize(
        loss,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=optimize.Bounds(np.zeros(2), np.log1p(highest)),
        options={"ftol": _VALUE_TOLERANCE, "gtol": _GRADIENT_TOLERANCE, "maxiter": 200},
    )
    return float(found.fun), np.minimum(np.expm1(found.x), highest)


def multistart(name: str, target: Array, count: int, seed: int) -> Array:
    """Return loss and parameters from each start: shape (starts, 3)."""
    loss, highest = objective(name, target), upper(name, len(target))
    found = (descend(loss, start, highest) for start in starts(name, target, count, seed))
    return np.array([[value, *parameters] for value, parameters in found])


def _separable(target: Array, x: str, y: str) -> Objective:
    across, along = profiles(x, len(target)), profiles(y, len(target))
    taps = target.size

    def loss(u: Array) -> tuple[float, Array]:
        t = np.expm1(u)
        a, b = across(t[0]), along(t[1])
        (product, product_x), (product_y, _) = (b @ target @ a.T).tolist()
        (aa, ada), _ = (a @ a.T).tolist()
        (bb, bdb), _ = (b @ b.T).tolist()
        sum_a, sum_da = a.sum(1).tolist()
        sum_b, sum_db = b.sum(1).tolist()
        mean = sum_a * sum_b / taps
        energy = aa * bb - mean * sum_a * sum_b
        energy_x = 2 * (ada * bb - mean * sum_da * sum_b)
        energy_y = 2 * (aa * bdb - mean * sum_a * sum_db)
        q = product / energy
        slopes = np.array([q * (q * energy_x - 2 * product_x), q * (q * energy_y - 2 * product_y)])
        return 1 - q * product, slopes * (1 + t)

    return loss


def _sharpened(target: Array) -> Objective:
    differences, taps = profiles("12", len(target)), target.size
    centre = len(target) // 2
    at_centre = float(target[centre, centre])

    def loss(u: Array) -> tuple[float, Array]:
        parameters = np.expm1(u)
        alpha = float(parameters[1])
        p = differences(parameters[0])
        h, g = (p @ target @ p.T).tolist(), (p @ p.T).tolist()
        plain, bent, moved, moved_bent = p.sum(1).tolist()
        peaks = p[:, centre].tolist()
        product = h[0][1] + h[1][0]  # of filter and Laplacian, then of their change with t
        product_t = h[2][1] + h[0][3] + h[3][0] + h[1][2]
        peak, peak_t = 2 * peaks[0] * peaks[1], 2 * (peaks[2] * peaks[1] + peaks[0] * peaks[3])
        total, total_t = 2 * plain * bent, 2 * (moved * bent + plain * moved_bent)
        energy = 2 * (g[0][0] * g[1][1] + g[0][1] ** 2)
        energy_t = 4 * (g[0][2] * g[1][1] + g[0][0] * g[1][3] + g[0][1] * (g[2][1] + g[0][3]))
        rest = 1 - alpha * total
        fit = at_centre - alpha * product
        norm = 1 - 2 * alpha * peak + alpha**2 * energy - rest**2 / taps
        norm_t = alpha * (-2 * peak_t + alpha * energy_t + 2 * rest * total_t / taps)
        norm_alpha = -2 * peak + 2 * alpha * energy + 2 * rest * total / taps
        q = fit / norm
        slopes = np.array([q * (q * norm_t + 2 * alpha * product_t), q * (q * norm_alpha + 2 * product)])
        return 1 - q * fit, slopes * (1 + parameters)

    return loss


def _impulse(side: int) -> Array:
    impulse = np.zeros((side, side))
    impulse[side // 2, side // 2] = 1
    return impulse


def _heat(stencil: Mapping[int, float]) -> dict[int, float]:
    """Return the stencil of the derivative in t."""
    result: dict[int, float] = {}
    for offset, weight in stencil.items():
        for step, change in ((-1, 0.5), (0, -1.0), (1, 0.5)):
            result[offset + step] = result.get(offset + step, 0.0) + weight * change
    return result


def _matrix(stencil: Mapping[int, float], half: int, reach: int) -> Array:
    """Return the matrix from ``T(0), T(1), ... T(reach)`` to the taps of a window."""
    matrix = np.zeros((2 * half + 1, reach + 1))
    for row, n in enumerate(range(-half, half + 1)):
        for offset, weight in stencil.items():
            matrix[row, abs(n + offset)] += weight
    return matrix
