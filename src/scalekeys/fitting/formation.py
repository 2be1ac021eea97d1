"""Whether receptive fields have formed: where the filters of a layer stand beside both kinds of noise."""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from scalekeys.errors import FilterError
from scalekeys.fitting.api import fit as fit_filters
from scalekeys.fitting.result import Fit
from scalekeys.fitting.spec import MODELS, FitSpec
from scalekeys.proportions import superiority_interval
from scalekeys.shapes import Size, size_text

if TYPE_CHECKING:
    import pandas as pd

_REFERENCE = 4_096
"""How many filters of white noise stand for a kernel size."""

_SAME = 1e-9
"""Shares explained that differ by less are ties."""

SATURATED = 0.99
"""Where the families explain more than this of half of the white noise, they explain anything, and tell nothing."""

LIKE_NOISE, UNDECIDED, PARTLY_FORMED, FORMED = WORDS = ("like noise", "undecided", "partly formed", "formed")
"""What is said of the filters of a group; *undecided* where they are too few to tell noise from formed filters."""

_HARDLY, _MOST = 0.1, 0.5
"""The standings up to which filters are like noise, and from which they are called formed."""


@dataclass(frozen=True)
class Standing:
    """Where the filters of a group stand beside noise.

    Parameters
    ----------
    value : float
        The probability that the model explains more of a filter than of the noise, less the probability that it
        explains less: 0 where the filters are explained as well as noise, 1 where every filter is explained better
        than all noise, negative where noise is explained better.
    low, high : float
        The 95 % interval, which takes the filters as independent.
    """

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, ranks: np.ndarray, reference: int) -> "Standing":
        """Summarize the shares of a reference, of so many values, that each filter exceeds.

        Examples
        --------
        >>> Standing.of(np.array([0.5, 0.9, 1.0, 1.0]), 4096)
        Standing(value=0.7, low=0.117, high=0.9381)
        """
        return cls.of_share(float(ranks.mean()), float(ranks.var()), len(ranks), reference)

    @classmethod
    def of_share(cls, share: float, variance: float, count: int, reference: int) -> "Standing":
        """Summarize the mean and the variance of so many shares of a reference."""
        larger = max(share, 1 - share)
        expected = share * (1 - share) * larger / (1 + larger)
        inflation = max(1.0, variance / expected) if expected > 0 else 1.0
        low, high = superiority_interval(share, count, reference, inflation=inflation)
        return cls(*(round(2 * probability - 1, 4) for probability in (share, low, high)))

    @property
    def word(self) -> str:
        """One of :data:`WORDS`.

        Like noise where the interval holds 0 and not 0.5, or stays below 0.1; undecided where it holds both 0 and 0.5.
        """
        if self.low <= 0 or self.high < _HARDLY:
            return LIKE_NOISE if self.high < _MOST else UNDECIDED
        return FORMED if self.value >= _MOST else PARTLY_FORMED


@dataclass(frozen=True)
class Group:
    """The formation of the filters of one layer, or of a network.

    Parameters
    ----------
    name : str
        Of the layer, or of the network.
    size : str
        Of its kernels, as in ``"7x7"``; several sizes are separated by commas.
    filters, counted : int
        How many filters there are, and how many of them count: dead, constant and unreadable filters do not, nor do
        filters whose kernels are too small to tell structure from noise.
    white : Standing, optional
        The formation: where the filters stand beside white noise. None where no filter counts.
    matched : Standing, optional
        Where they stand beside matched noise of their layer. None where no filter counts, or it was not given.
    """

    name: str
    size: str
    filters: int
    counted: int
    white: Standing | None
    matched: Standing | None = None


@dataclass(frozen=True)
class Formation:
    """How far the receptive fields of a network have formed.

    Parameters
    ----------
    network : Group
        All filters together.
    layers : tuple of Group
        In the order of the bank.
    """

    network: Group
    layers: tuple[Group, ...]

    def to_pandas(self) -> "pd.DataFrame":
        """Return one row a layer, with the ends of the intervals in columns of their own."""
        import pandas as pd

        return pd.DataFrame([_row(group) for group in self.layers])


def formation(fit: Fit, matched: Fit | None = None, *, reference: int = _REFERENCE) -> Formation:
    """Measure how far receptive fields have formed: whether a model explains more of them than of noise.

    Parameters
    ----------
    fit : Fit
        By least squares, with free amplitude and offset and scales of each filter.
    matched : Fit, optional
        The same fit of :func:`scalekeys.matched_noise_like` of the same bank.
    reference : int
        How many filters of white noise stand for a kernel size; fewer are faster and give wider intervals.

    Returns
    -------
    Formation

    Raises
    ------
    FilterError
        If the fit is by another criterion, or that of the matched noise has other options, or other filters.

    Notes
    -----
    The share of a filter that a model explains is ranked among those of filters of white noise of the same kernel
    size. Ranks of filters that are white noise, as most initialisations are, are uniform whatever the size of the
    kernel, so that layers of different kernels can be compared, and joined. Where noise is explained as well as
    anything, as with kernels of three taps, filters do not count.

    The figure tells whether kernels have left a random start. It does not rank architectures by their accuracy, it says
    nothing of structured starts (impulses, orthogonal polynomials), and it is low for networks that are meant to keep
    random kernels.

    Examples
    --------
    >>> import torch, scalekeys as sk
    >>> formation(sk.fit(sk.master_keys())).network.white.word
    'formed'
    >>> noise = torch.randn(64, 7, 7, generator=torch.Generator().manual_seed(0))
    >>> formation(sk.fit(noise)).network.white.word
    'like noise'
    """
    spec = fit.spec
    if not spec.is_plain:
        raise FilterError(
            "the formation of filters is told from a fit by least squares with free amplitude and offset and scales of "
            f"each filter, got {spec}"
        )
    if matched is not None and matched.spec != spec:
        raise FilterError(f"the matched noise is fitted otherwise than the filters: {matched.spec}, not {spec}")
    if matched is not None and [len(layer) for layer in matched.bank] != [len(layer) for layer in fit.bank]:
        raise FilterError("the matched noise is not that of the filters: its layers hold other numbers of filters")
    found = [_ranks(layer.size, fit, matched, rows, reference) for layer, rows in fit.bank.parts()]
    layers = [
        _group(layer.name, size_text(layer.size), len(layer), *ranks, reference)
        for layer, ranks in zip(fit.bank, found, strict=True)
    ]
    sizes = ", ".join(size_text(size) for size in fit.bank.sizes)
    white, beside = (np.concatenate(columns) for columns in zip(*found, strict=True))
    return Formation(_group(fit.bank.model, sizes, len(fit.bank), white, beside, reference), tuple(layers))


def beyond_white_noise(fit: Fit) -> np.ndarray:
    """Tell of which filters the model explains more than of 95 in 100 filters of white noise of their size.

    `fit`: by least squares, with free amplitude and offset.
    Returns a tensor of shape (filters,): False where a filter carries no fit.

    >>> import torch, scalekeys as sk
    >>> beyond_white_noise(sk.fit(sk.master_keys())).all()
    np.True_
    """
    found = np.zeros(len(fit.bank), dtype=bool)
    for layer, rows in fit.bank.parts():
        shares: np.ndarray = fit.r2[rows].cpu().numpy()
        if np.isfinite(shares).any():
            found[rows] = shares > np.quantile(_white(layer.size, fit.spec), 0.95)
    return found


def ranks(shares: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return which share of the noise is explained less than each filter; ties count half.

    `shares`: shape (filters,); what a model explains of each filter.
    `noise`: shape (reference,); what it explains of noise.

    >>> ranks(np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.5])).tolist()
    [0.0, 0.75, 1.0]
    """
    noise = np.sort(noise)
    below, up_to = (np.searchsorted(noise, shares + end) for end in (-_SAME, _SAME))
    return np.asarray((below + up_to) / (2 * max(1, len(noise))))


def _ranks(size: Size, fit: Fit, matched: Fit | None, rows: slice, reference: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ranks of the filters of a layer that count, among white noise and among matched noise.

    Noise is fitted only where a filter of the layer is: the model may have no family for kernels of its size.
    """
    shares = _shares(fit, rows)
    if not len(shares):
        return shares, shares
    white = _white(size, fit.spec, reference)
    if np.median(white) > SATURATED:
        shares = shares[:0]
    beside = shares[:0] if matched is None else ranks(shares, _shares(matched, rows))
    return ranks(shares, white), beside


def _shares(fit: Fit, rows: slice) -> np.ndarray:
    """Return what the model explains of the filters of a layer that carry a fit and are not dead."""
    shares: np.ndarray = fit.r2[rows].cpu().numpy()
    return np.asarray(shares[np.isfinite(shares) & ~fit.dead[rows]])


@lru_cache(maxsize=256)
def _white(size: Size, spec: FitSpec, reference: int = _REFERENCE) -> np.ndarray:
    """Return what a fit explains of white noise of a kernel size."""
    noise = torch.randn(reference, *size, generator=torch.Generator().manual_seed(0))
    known = tuple(name for name in spec.families if spec.base(name, len(size)))
    model = spec.model if spec.model in MODELS or spec.terms else known
    fitted = fit_filters(
        noise,
        model,
        axes=len(size),
        scales=spec.scales,
        window=spec.window,
        discretization=spec.discretization,
    )
    shares: np.ndarray = fitted.r2.numpy()
    return shares


def _group(name: str, size: str, filters: int, white: np.ndarray, matched: np.ndarray, reference: int) -> Group:
    counted = len(white)
    return Group(
        name,
        size,
        filters,
        counted,
        Standing.of(white, reference) if counted else None,
        Standing.of(matched, counted) if len(matched) else None,
    )


def _row(group: Group) -> dict[str, object]:
    """Return a group as a row of a table."""
    row: dict[str, object] = {
        "layer": group.name,
        "kernel_size": group.size,
        "filters": group.filters,
        "counted": group.counted,
    }
    for name, standing in (("formation", group.white), ("beyond_matched", group.matched)):
        value, low, high = (np.nan,) * 3 if standing is None else (standing.value, standing.low, standing.high)
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return row
