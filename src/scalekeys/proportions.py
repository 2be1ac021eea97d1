"""Shares, differences of shares, means, and ranks beside a control, with their intervals; p of many tests."""

from collections.abc import Sequence
from math import fsum, inf, isfinite, sqrt

Z_95 = 1.959963984540054
"""The quantile of the normal distribution that leaves 2.5 % above it."""

_SMALLEST = 1e-9


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """Return the score interval of 95 % of a share, from `successes` out of `count`.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22(158):209-212, 1927.

    >>> low, high = wilson_interval(353, 500)
    >>> f"{low:.3f} to {high:.3f}"
    '0.665 to 0.744'
    """
    share, square = successes / count, Z_95 * Z_95 / count
    middle = share + square / 2
    half = Z_95 * sqrt(share * (1 - share) / count + square / (4 * count))
    low, high = (middle - half) / (1 + square), (middle + half) / (1 + square)
    return (low if successes else 0.0), (high if successes < count else 1.0)


def paired_interval(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """Return the interval of 95 % of the difference of two shares of the same things.

    `both`, `first`, `second`, `neither`: in how many cases both succeeded, only the first, only the second, and
    neither.
    Returns the interval around the share of the first less that of the second.

    The score intervals of both shares are joined with their correlation, corrected for continuity where it is
    positive. The interval stays within -1 and 1, and has a width also where no case tells the two apart.

    R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired
    data", Statistics in Medicine 17(22):2635-2650, 1998; method 10.

    >>> low, high = paired_interval(36, 12, 2, 0)
    >>> f"{low:.4f} to {high:.4f}"
    '0.0569 to 0.3404'
    """
    count = both + first + second + neither
    one, other = (both + first) / count, (both + second) / count
    (low, high), (other_low, other_high) = (wilson_interval(both + more, count) for more in (first, second))
    phi = _correlation(both, first, second, neither)
    below, above = one - low, high - one
    other_below, other_above = other - other_low, other_high - other
    down = sqrt(max(0.0, below**2 - 2 * phi * below * other_above + other_above**2))
    up = sqrt(max(0.0, above**2 - 2 * phi * above * other_below + other_below**2))
    return one - other - down, one - other + up


def mean_interval(values: Sequence[float], bounds: tuple[float, float] = (-inf, inf)) -> tuple[float, float]:
    """Return Student's interval of 95 % of the mean of some values, within bounds; all of them for a single value.

    >>> low, high = mean_interval([0.01, 0.02, 0.03])
    >>> f"{low:.4f} to {high:.4f}"
    '-0.0048 to 0.0448'
    """
    from scipy.stats import t

    count, mean = len(values), fsum(values) / len(values)
    if count < 2 or not isfinite(mean):
        return bounds
    deviation = sqrt(fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = float(t.ppf(0.975, count - 1)) * deviation / sqrt(count)
    return max(bounds[0], mean - half), min(bounds[1], mean + half)


def holm_adjusted(p: Sequence[float]) -> list[float]:
    """Adjust the p of several tests for their number, so that all of them together err as seldom as one.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2):65-70,
    1979.

    >>> holm_adjusted([0.03, 0.01, 0.6])
    [0.06, 0.03, 0.6]
    """
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = largest
    return adjusted


def _correlation(both: int, first: int, second: int, neither: int) -> float:
    """Return the correlation of two outcomes, 0 where one of them never varies."""
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    if not margins:
        return 0.0
    product, half = both * neither - first * second, (both + first + second + neither) / 2
    return (max(product - half, 0.0) if product > 0 else product) / sqrt(margins)


def superiority_interval(share: float, count: int, reference: int, *, inflation: float = 1.0) -> tuple[float, float]:
    """Return the interval of 95 % of the probability that a value is larger than one of a reference.

    `share`: the observed share of pairs, of a value and one of the reference, in which the value is larger.
    `count`, `reference`: how many values, and how many of the reference, the pairs were made of.
    `inflation`: by how many times the variance is larger than that of the model below, where it is known to be.
    Returns the interval around the share, within 0 and 1. At a share of one half the variance is that of the test of
    Mann and Whitney.

    A score interval, whose ends are the probabilities that lie 1.96 standard deviations from the share; the variance
    is that of exponential distributions, at its larger end (Hanley and McNeil).

    J. A. Hanley, B. J. McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC)
    curve", Radiology 143(1):29-36, 1982. R. G. Newcombe, "Confidence intervals for an effect size measure based on the
    Mann-Whitney statistic. Part 2", Statistics in Medicine 25(4):559-573, 2006.

    >>> low, high = superiority_interval(0.5, 16, 4096)
    >>> f"{low:.2f} to {high:.2f}"
    '0.35 to 0.65'
    >>> low, high = superiority_interval(1.0, 16, 4096)
    >>> f"{low:.2f} to {high:.0f}"
    '0.90 to 1'
    """
    from scipy.optimize import brentq

    def beyond(probability: float) -> float:
        larger = max(probability, 1 - probability)
        spread = larger / (1 + larger) * (count + reference - 2) + 1
        variance = probability * (1 - probability) * spread / (count * reference)
        return (share - probability) ** 2 - Z_95 * Z_95 * inflation * variance

    inside = min(max(share, _SMALLEST), 1 - _SMALLEST)  # at 0 and 1 the variance is 0
    low = brentq(beyond, 0.0, inside) if beyond(0.0) > 0 else 0.0
    high = brentq(beyond, inside, 1.0) if beyond(1.0) > 0 else 1.0
    return low, high
