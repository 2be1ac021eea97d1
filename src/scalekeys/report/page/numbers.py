"""Numbers of summaries: scales by axis, what JSON can hold, medians, and places that are spaced evenly."""

import math
from typing import Any, TypeAlias

import numpy as np

Scales: TypeAlias = dict[str, float | None]
"""A number for each axis, by its name: ``x``, ``y``, ``z``; None where there is none."""


def without_infinities(value: Any) -> Any:
    """Replace infinite numbers by the word ``inf``, in whatever lists and dicts hold them.

    Examples
    --------
    >>> without_infinities({"sigma": [float("inf"), 1.0, None]})
    {'sigma': ['inf', 1.0, None]}
    """
    if isinstance(value, dict):
        return {name: without_infinities(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_infinities(part) for part in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def finite(value: float) -> float | None:
    """Return a number, or None if it is infinite or NaN.

    Examples
    --------
    >>> finite(0.5), finite(float("nan"))
    (0.5, None)
    """
    return float(value) if math.isfinite(value) else None


def median(values: np.ndarray) -> float | None:
    """Return the median of the values that are numbers; None if there is none.

    Examples
    --------
    >>> median(np.array([3.0, np.nan, 1.0])), median(np.array([]))
    (2.0, None)
    """
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def evenly_spaced(length: int, most: int) -> list[int]:
    """Return at most so many places of a row, spaced evenly from the first to the last.

    Examples
    --------
    >>> evenly_spaced(11, 3), evenly_spaced(2, 3), evenly_spaced(0, 3)
    ([0, 5, 10], [0, 1], [])
    """
    return [int(place) for place in np.unique(np.linspace(0, length - 1, min(length, most)).round())]
