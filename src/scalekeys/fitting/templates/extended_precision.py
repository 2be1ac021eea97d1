"""What profiles are made of, in extended precision: at large scales their deviations from the mean are tiny."""

import math
from collections.abc import Callable

import numpy as np

from scalekeys.scalespace import Discretization
from scalekeys.scalespace.gaussian_derivatives import DIRECT, REACH, derivatives_of
from scalekeys.scalespace.profiles import Profiles

_NODES = 32  # of the quadrature over a pixel, which is at most five standard deviations wide


def atoms_at(profiles: Profiles, t: np.ndarray) -> np.ndarray:
    """Return the atoms of folded profiles at variances of shape (n,): shape (atoms, n).

    >>> plan = Profiles([["identity"]], [3], "exact", folded=True)
    >>> atoms_at(plan, np.array([0.0, 1.0], dtype=np.longdouble)).astype(float).round(4)
    array([[1.    , 0.4658],
           [0.    , 0.2079]])
    """
    if profiles.discretization == "discrete":
        return _discrete_analogue(t, len(profiles.atoms) - 1)
    value = _FUNCTIONS[profiles.discretization]
    return np.stack([value(order, np.longdouble(place), t) for order, place in profiles.atoms])


def _discrete_analogue(t: np.ndarray, radius: int) -> np.ndarray:
    """``T(0; t) .. T(radius; t)``, by the recurrence of the discrete analogue of the Gaussian."""
    length = radius + math.ceil(9 * math.sqrt(float(t.max()))) + 8
    ratio = t / (length + 1 + np.sqrt((length + 1) ** 2 + t * t))
    tail, ratios = np.zeros_like(t), []
    for k in range(length, 0, -1):
        ratio = t / (2 * k + t * ratio)
        tail = ratio + ratio * tail
        if k <= radius:
            ratios.append(ratio)
    half = [1 / (1 + 2 * tail)]
    for ratio in reversed(ratios):
        half.append(half[-1] * ratio)
    return np.stack(half)


def _sampled(order: int, x: np.longdouble, t: np.ndarray) -> np.ndarray:
    """Return the derivative of the Gaussian at a place."""
    weight = np.exp(-x * x / (2 * t)) / np.sqrt(2 * np.longdouble(math.pi) * t)
    found: np.ndarray = derivatives_of(weight, x, t, order)[-1]
    return found


def _normalized(order: int, x: np.longdouble, t: np.ndarray) -> np.ndarray:
    """Divide it by the sum of the Gaussian over all integers, or all places half-way between them."""
    half = x % 1 != 0
    n = np.arange(-REACH, REACH + 1 - half, dtype=np.longdouble)[:, None] + half / 2
    near, far = np.minimum(t, DIRECT), np.maximum(t, DIRECT)
    direct = np.exp(-n * n / (2 * near)).sum(0) / np.sqrt(2 * np.longdouble(math.pi) * near)
    series = 1 + (-2 if half else 2) * np.exp(-2 * np.longdouble(math.pi) ** 2 * far)
    total: np.ndarray = np.where(t < DIRECT, direct, series)
    return np.asarray(_sampled(order, x, t) / total)


def _integrated(order: int, x: np.longdouble, t: np.ndarray) -> np.ndarray:
    """Integrate the derivative over a pixel around a place.

    By quadrature for order 0. Its error is that of one rule for all pixels, which changes their common shape a little
    and adds no noise to the differences between them.
    """
    if order:
        return np.asarray(_sampled(order - 1, x + 0.5, t) - _sampled(order - 1, x - 0.5, t))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    parts = [weight / 2 * _sampled(0, x + node / 2, t) for node, weight in zip(nodes, weights, strict=True)]
    return np.asarray(np.sum(parts, axis=0))


_FUNCTIONS: dict[Discretization, Callable[[int, np.longdouble, np.ndarray], np.ndarray]] = {
    "sampled": _sampled,
    "normalized-sampled": _normalized,
    "integrated": _integrated,
    "hybrid-sampled": _normalized,
    "hybrid-integrated": _integrated,
}
