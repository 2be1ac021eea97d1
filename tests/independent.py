"""Receptive fields written with scipy's Bessel functions, apart from the package, for kernels of any axes and sides.

Conventions are those of the package: axes in the order (x, y, z), sides in the order of the array, y points up.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import ive

# The weight by offset of each difference, at taps that stand at integers and at taps half-way between them.
AT_INTEGERS = {
    "1": {0: 1},
    "+": {1: 1, 0: -1},
    "-": {0: 1, -1: -1},
    "0": {1: 0.5, -1: -0.5},
    "2": {1: 1, 0: -2, -1: 1},
    "3": {2: 0.5, 1: -1, -1: 1, -2: -0.5},
}
HALF_WAY = {
    "1": {0.5: 0.5, -0.5: 0.5},
    "+": {1.5: 0.5, -0.5: -0.5},
    "-": {0.5: 0.5, -1.5: -0.5},
    "0": {0.5: 1, -0.5: -1},
    "2": {1.5: 0.5, 0.5: -0.5, -0.5: -0.5, -1.5: 0.5},
    "3": {1.5: 1, 0.5: -3, -0.5: 3, -1.5: -1},
}


def profile(difference: str, side: int, t: float) -> np.ndarray:
    """Return a difference of ``exp(-t) I_n(t)`` at the taps of a window, by ascending coordinate."""
    taps = np.arange(side) - (side - 1) / 2
    weights = AT_INTEGERS if side % 2 else HALF_WAY
    return sum(weight * ive(np.abs(taps + offset), t) for offset, weight in weights[difference].items())


Along = Callable[[str, int, float], np.ndarray]
"""How a profile is made of a difference, a number of taps and a variance."""


def outer(profiles: Sequence[np.ndarray]) -> np.ndarray:
    """Return the outer product of profiles along (x, y, z) as an array; rows run down, against y."""
    field = profiles[0]
    for axis, own in enumerate(profiles[1:], 1):
        field = np.multiply.outer(own[::-1] if axis == 1 else own, field)
    return field


def separable(differences: str, size: Sequence[int], variances: Sequence[float], along: Along = profile) -> np.ndarray:
    """Return an outer product of differences, one letter for each axis in the order (x, y, z)."""
    sides = list(size)[::-1]
    return outer([along(own, side, t) for own, side, t in zip(differences, sides, variances, strict=True)])


def receptive_field(name: str, size: Sequence[int], parameters: Sequence[float], along: Along = profile) -> np.ndarray:
    """Return a family at its parameters: a variance for each axis, or (t, alpha), or (t_inner, t_outer)."""
    axes = len(size)
    identity = "1" * axes
    if name == "smooth":
        return separable(identity, size, parameters, along)
    if name == "dog":
        inner, outer_ = (separable(identity, size, [t] * axes, along) for t in parameters)
        return inner - outer_
    if name in ("laplacian", "sharpen"):
        variances = [parameters[0]] * axes if name == "sharpen" else parameters
        total = sum(separable(_at(identity, {axis: "2"}), size, variances, along) for axis in range(axes))
        return separable(identity, size, [0] * axes, along) - parameters[1] * total if name == "sharpen" else total
    letters = name.removeprefix("d").rstrip("+-")
    kind = name[-1] if name[-1] in "+-" else None
    differences = {"xyz".index(axis): kind or {1: "0", 2: "2"}[letters.count(axis)] for axis in letters}
    return separable(_at(identity, differences), size, parameters, along)


def _at(identity: str, differences: dict[int, str]) -> str:
    return "".join(differences.get(axis, own) for axis, own in enumerate(identity))


def least_absolute(values: np.ndarray, kernel: np.ndarray) -> float:
    """Return the least sum of ``|values - a kernel - b|``, over the lines through two points, of which one is best."""
    first, second = np.triu_indices(len(values), 1)
    run, rise = kernel[second] - kernel[first], values[second] - values[first]
    steep = np.abs(run) > 1e-12 * np.abs(run).max()
    left = values - np.r_[0, rise[steep] / run[steep]][:, None] * kernel
    return float(np.abs(left - np.median(left, axis=1, keepdims=True)).sum(1).min())
