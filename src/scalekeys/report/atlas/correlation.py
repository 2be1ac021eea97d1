"""Rank correlations over networks, with intervals that allow for networks of one architecture being alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

LEAST_NETWORKS = 8
"""Networks that a correlation needs, and architectures that its interval needs."""

_RESAMPLES = 4000
_INTERVAL = (2.5, 97.5)


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
    """

    statistic: str
    metadata: str
    networks: int
    architectures: int
    rho: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def correlation(
    statistic: str,
    metadata: str,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    groups: Sequence[str],
    *,
    seed: int = 0,
) -> Correlation:
    """Correlate two quantities by rank.

    The interval is a bootstrap over groups: whole architectures are drawn, with the ranks that their networks have, so
    that ten variants of one network do not count as ten witnesses.

    Parameters
    ----------
    statistic, metadata : str
    x, y : array, shape (networks,)
        NaN where there is no value.
    groups : sequence of str
        The architecture of each network.
    seed : int
        Of the bootstrap.

    Examples
    --------
    >>> x = np.arange(20.0)
    >>> found = correlation("sigma", "accuracy", x, -x, [str(i) for i in range(20)])
    >>> round(found.rho, 6), found.networks
    (-1.0, 20)
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    names, group = np.unique(np.asarray(groups, dtype=object)[known].astype(str), return_inverse=True)
    bare = Correlation(statistic, metadata, len(x), len(names))
    if len(x) < LEAST_NETWORKS or np.ptp(x) == 0 or np.ptp(y) == 0:
        return bare
    moments = _moments(rankdata(x), rankdata(y))
    rho = float(_pearson(moments.sum(0)))
    if len(names) < LEAST_NETWORKS:
        return Correlation(statistic, metadata, len(x), len(names), rho)
    sums = np.zeros((len(names), moments.shape[1]))
    np.add.at(sums, group, moments)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), _RESAMPLES)
    low, high = np.nanpercentile(_pearson(drawn @ sums), _INTERVAL)
    return Correlation(statistic, metadata, len(x), len(names), rho, float(low), float(high))


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
