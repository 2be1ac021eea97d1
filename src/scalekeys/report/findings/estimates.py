"""Means over networks, with intervals that count each design once, and correlations within a series."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial, isfinite

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from scipy.stats import t as student

LEVEL = 0.05
"""Of tests; an interval holds the rest."""

LEAST_DESIGNS = 5
"""Designs that an interval needs."""

LONGEST_SERIES = 8
"""Networks of a series whose orders are all tried."""


@dataclass(frozen=True)
class Mean:
    """The mean of a quantity over designs, each of which is the mean of its networks.

    Parameters
    ----------
    value : float
    networks, designs : int
    low, high : float or None
        Interval of 95 %; None with too few designs.
    p : float or None
        That the mean is 0.
    """

    value: float
    networks: int
    designs: int
    low: float | None = None
    high: float | None = None
    p: float | None = None


def mean_over_designs(values: Iterable[float], designs: Iterable[str]) -> Mean:
    """Average over designs, so that ten sizes of one network do not count as ten witnesses.

    Parameters
    ----------
    values : iterable of float
        One a network.
    designs : iterable of str
        The design of each network.

    Returns
    -------
    Mean
        The interval is Student's over the designs. There has to be a value.

    Examples
    --------
    >>> found = mean_over_designs([1, 3, 2, 2, 2, 2], ["a", "a", "b", "c", "d", "e"])
    >>> found.value, found.networks, found.designs
    (2.0, 6, 5)
    """
    of_design: dict[str, list[float]] = {}
    for value, design in zip(values, designs, strict=True):
        of_design.setdefault(design, []).append(float(value))
    means = np.array([np.mean(of_design[design]) for design in sorted(of_design)])
    networks, count, mean = sum(map(len, of_design.values())), len(means), float(means.mean())
    if count < LEAST_DESIGNS:
        return Mean(mean, networks, count)
    error = float(means.std(ddof=1)) / count**0.5
    reach = float(student.ppf(1 - LEVEL / 2, count - 1)) * error
    p = float(2 * student.sf(abs(mean) / error, count - 1)) if error else float(mean == 0)
    return Mean(mean, networks, count, mean - reach, mean + reach, p)


@dataclass(frozen=True)
class SeriesOrder:
    """How two quantities go together within one series of networks.

    Parameters
    ----------
    networks : int
    rho : float
        Spearman's.
    p : float
        The share of all orders of the series in which they go together as closely, or more.
    """

    networks: int
    rho: float
    p: float


def order_in_series(x: Sequence[float | None], y: Sequence[float | None]) -> SeriesOrder | None:
    """Correlate two quantities by rank within a short series, beside all orders that it could have.

    Returns
    -------
    SeriesOrder or None
        Nothing for fewer than three networks, more than :data:`LONGEST_SERIES`, or where one quantity does not vary.

    Examples
    --------
    >>> found = order_in_series([1, 2, 3, 4, 5], [34.5, 47.7, 55.7, 60.2, 64.8])
    >>> round(found.rho, 6), round(found.p, 4)
    (1.0, 0.0167)
    """
    known = [(a, b) for a, b in zip(x, y, strict=True) if a is not None and b is not None and isfinite(a + b)]
    if not 3 <= len(known) <= LONGEST_SERIES:
        return None
    first, second = (_standard_ranks([pair[side] for pair in known]) for side in (0, 1))
    if first is None or second is None:
        return None
    rho = float(first @ second)
    orders = np.array(list(permutations(range(len(known)))))
    at_least = np.abs(second[orders] @ first) >= abs(rho) - 1e-9
    return SeriesOrder(len(known), rho, float(at_least.sum()) / factorial(len(known)))


def _standard_ranks(values: Sequence[float]) -> NDArray[np.float64] | None:
    ranks: NDArray[np.float64] = rankdata(values)
    ranks = ranks - ranks.mean()
    norm = float(np.sqrt(ranks @ ranks))
    return ranks / norm if norm else None
