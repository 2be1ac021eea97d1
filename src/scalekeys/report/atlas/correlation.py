"""Rank correlations over networks, with intervals that allow for networks of one architecture being alike."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from scipy.stats import t as student

from scalekeys.proportions import holm_adjusted

LEAST_NETWORKS = 8
"""Networks that a correlation needs, and architectures that its interval needs."""

LEVEL = 0.05
"""Of the tests; an interval holds the rest."""


@dataclass(frozen=True)
class Correlation:
    """How two quantities go together over networks.

    Parameters
    ----------
    statistic, metadata : str
        Their names.
    networks, architectures : int
        With both values.
    rho : float or None
        Spearman's; None with too few networks, or where one of the two does not vary.
    low, high : float or None
        Interval of 95 %; None with too few architectures.
    p : float or None
        Of the test that belongs to the interval: that there is no correlation.
    p_holm : float or None
        Adjusted for all the correlations that were tested with it, by :func:`with_holm`.
    """

    statistic: str
    metadata: str
    networks: int
    architectures: int
    rho: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None

    @property
    def is_significant(self) -> bool:
        """Whether it stands out among all that were tested with it."""
        return self.p_holm is not None and self.p_holm < LEVEL


def correlation(
    statistic: str, metadata: str, x: NDArray[np.float64], y: NDArray[np.float64], groups: Sequence[str]
) -> Correlation:
    """Correlate two quantities by rank.

    Parameters
    ----------
    statistic, metadata : str
    x, y : array, shape (networks,)
        NaN where there is no value.
    groups : sequence of str
        The architecture of each network.

    Notes
    -----
    The interval is that of Student's t with two degrees of freedom fewer than architectures, around Fisher's
    z = artanh(rho). Its standard error is a jackknife that leaves out whole architectures, with the ranks that their
    networks have, so that ten variants of one network do not count as ten witnesses. It is no smaller than that of
    independent networks, 1 / sqrt(networks - 3). A perfect order counts as half a step less than perfect.

    Examples
    --------
    >>> x = np.arange(20.0)
    >>> found = correlation("sigma", "accuracy", x, -x, [str(i) for i in range(20)])
    >>> round(found.rho, 6), round(found.high, 3), found.networks
    (-1.0, -0.998, 20)
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    names, group = np.unique(np.asarray(groups, dtype=object)[known].astype(str), return_inverse=True)
    bare = Correlation(statistic, metadata, len(x), len(names))
    if len(x) < LEAST_NETWORKS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return bare
    moments = _moments(rankdata(x), rankdata(y))
    rho = float(_pearson(moments.sum(0)))
    found = replace(bare, rho=rho)
    if len(names) < LEAST_NETWORKS:
        return found
    sums = np.zeros((len(names), moments.shape[1]))
    np.add.at(sums, group, moments)
    z = float(_fisher(rho, len(x)))
    error = _standard_error(_fisher(_pearson(sums.sum(0) - sums), len(x)), len(x))
    if not np.isfinite(error):
        return found
    freedom = len(names) - 2
    reach = student.ppf(1 - LEVEL / 2, freedom) * error
    return replace(
        found,
        low=min(float(np.tanh(z - reach)), rho),
        high=max(float(np.tanh(z + reach)), rho),
        p=float(2 * student.sf(abs(z) / error, freedom)),
    )


def with_holm(found: Sequence[Correlation]) -> tuple[Correlation, ...]:
    """Adjust the p of correlations for their number, by the method of Holm (1979).

    Examples
    --------
    >>> one = Correlation("sigma", "accuracy", 9, 9)
    >>> [each.p_holm for each in with_holm([replace(one, p=0.03), one, replace(one, p=0.01)])]
    [0.03, None, 0.02]
    """
    adjusted = iter(holm_adjusted([one.p for one in found if one.p is not None]))
    return tuple(replace(one, p_holm=None if one.p is None else next(adjusted)) for one in found)


def _fisher(rho: NDArray[np.float64] | float, networks: int) -> NDArray[np.float64]:
    """Return artanh(rho), of no more than half a swap of neighbours away from a perfect order."""
    most = 1 - 6 / (networks * (networks**2 - 1))
    result: NDArray[np.float64] = np.arctanh(np.clip(rho, -most, most))
    return result


def _standard_error(without: NDArray[np.float64], networks: int) -> float:
    """Return the standard error of a value from its values without each architecture."""
    jackknife = (len(without) - 1) * without.var()
    return float(np.sqrt(np.maximum(jackknife, 1 / (networks - 3))))


def _moments(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the sums of a correlation are made of, one row a network."""
    x, y = x - x.mean(), y - y.mean()  # sums of small numbers
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def _pearson(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlation that sums over networks give; NaN where one of the two does not vary."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = (xx - x * x / n) * (yy - y * y / n)
    result: NDArray[np.float64] = np.where(
        spread > 0, (xy - x * y / n) / np.sqrt(np.where(spread > 0, spread, 1)), np.nan
    )
    return result
