"""The figures that the terminal, the page and ``--json`` share, computed once."""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from scalekeys.filters import LeftOut
from scalekeys.fitting import Fit, Group, Ladder, formation, ladder
from scalekeys.fitting.ladder import has_ladder
from scalekeys.report.analysis.gains import Gains, by_size, gains_of
from scalekeys.report.page.numbers import Scales, finite, median, without_infinities
from scalekeys.report.page.orientation import Orientation
from scalekeys.report.page.words import AXES
from scalekeys.shapes import size_text


class Fits(NamedTuple):
    """The fit of a bank beside those of its two controls.

    Parameters
    ----------
    real : Fit
        Of the filters.
    white : Fit
        Of :func:`scalekeys.white_noise_like` of the same bank, with the same spec.
    matched : Fit
        Of :func:`scalekeys.matched_noise_like` of the same bank, with the same spec.
    """

    real: Fit
    white: Fit
    matched: Fit


@dataclass(frozen=True)
class Quality:
    """How well a group of filters is explained, beside both controls.

    Parameters
    ----------
    filters, fitted : int
        How many there are, and how many of them carry a fit.
    median_r2, share_explained : float or None
        Median of r2 over the fitted filters, and the share of their summed energy that is explained.
    white_median_r2, white_share_explained : float or None
        The same for white noise of equal means and norms, fitted in the same way.
    matched_median_r2, matched_share_explained : float or None
        The same for noise that shares also how the taps of a layer vary together.
    """

    filters: int
    fitted: int
    median_r2: float | None
    share_explained: float | None
    white_median_r2: float | None
    white_share_explained: float | None
    matched_median_r2: float | None
    matched_share_explained: float | None


@dataclass(frozen=True)
class FamilySummary:
    """The filters for which one family won; medians are taken over them."""

    family: str
    filters: int
    share: float
    white_share: float
    matched_share: float
    median_r2: float | None
    median_sigma: Scales

    @property
    def most_in_noise(self) -> float:
        """The larger of its shares in both kinds of noise."""
        return max(self.matched_share, self.white_share)


@dataclass(frozen=True)
class SizeSummary:
    """The filters of one kernel size."""

    size: str
    quality: Quality


@dataclass(frozen=True)
class LayerSummary:
    """One layer.

    ``families`` counts the filters by winning family, ``dead`` those of :attr:`scalekeys.fitting.Fit.dead`;
    ``pitch`` is along the axes of its kernels, as in :class:`scalekeys.LayerFilters`, None where it is not known;
    ``formation`` says where its filters stand beside noise, where that was measured.
    """

    name: str
    depth: int
    size: str
    stride: int | None
    dilation: int | None
    pitch: tuple[float, ...] | None
    families: dict[str, int]
    median_sigma: Scales
    dead: int
    quality: Quality
    formation: Group | None

    @property
    def sigma_in_input(self) -> Scales:
        """The median scales in pixels of the input of the network; None where the pitch is not known."""
        pitches = dict(zip(AXES, reversed(self.pitch or ()), strict=False))
        return {
            axis: None if sigma is None or axis not in pitches else sigma * pitches[axis] * (self.dilation or 1)
            for axis, sigma in self.median_sigma.items()
        }

    @property
    def is_dead(self) -> bool:
        """Whether all its filters are dead."""
        return self.dead == self.quality.filters

    def share_of(self, family: str) -> float:
        """Return the share of a family among the fitted filters."""
        return self.families[family] / max(self.quality.fitted, 1)

    @property
    def main_family(self) -> str | None:
        """The most frequent family, or None where nothing was fitted."""
        return max(self.families, key=lambda name: self.families[name]) if any(self.families.values()) else None


@dataclass(frozen=True)
class Summary:
    """What an analysis found, in figures.

    ``axes`` is the largest number of axes of a kernel, ``statuses`` counts filters by status, ``dead`` those of
    :attr:`scalekeys.fitting.Fit.dead`; ``strongest`` is the share of the energy that one filter holds
    (:attr:`scalekeys.fitting.Fit.strongest`). ``orientation`` says how many filters gain from a free angle, by kernel
    size; it is empty where nothing has an angle, and where the fit is not that of the idealized families.
    ``formation`` joins the layers; it is measured where the fit is by least squares. ``ladder`` says what richer models
    explain, where the fit is that of the idealized families.
    """

    model: str
    fit: str
    axes: int
    quality: Quality
    sizes: tuple[SizeSummary, ...]
    families: tuple[FamilySummary, ...]
    layers: tuple[LayerSummary, ...]
    statuses: dict[str, int]
    dead: int
    strongest: float | None
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    orientation: tuple[Orientation, ...] = ()
    formation: Group | None = None
    ladder: Ladder | None = None

    @property
    def axis_names(self) -> tuple[str, ...]:
        """Names of the axes along which there are scales: ``x``, ``y``, ``z``, the first so many of them."""
        return AXES[: self.axes]

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers, ready for JSON, which has no infinity: it is the word ``inf``."""
        plain: dict[str, Any] = without_infinities(asdict(self))
        return plain


def summarize(fit: Fit, white: Fit, matched: Fit) -> Summary:
    """Condense a fit and the fits of both controls.

    Parameters
    ----------
    fit, white, matched : Fit
        See :class:`Fits`.

    Returns
    -------
    Summary

    Examples
    --------
    >>> import scalekeys as sk
    >>> keys = sk.FilterBank.from_tensor(sk.master_keys())
    >>> summary = summarize(sk.fit(keys), sk.fit(sk.white_noise_like(keys)), sk.fit(sk.matched_noise_like(keys)))
    >>> summary.quality.filters, summary.statuses
    (8, {'ok': 8})
    """
    fits = Fits(fit, white, matched)
    return summary_of(fits, gains_of(fits))


def summary_of(fits: Fits, gains: Gains | None) -> Summary:
    """Condense fits of which the gains from a free angle are known."""
    fit, bank = fits.real, fits.real.bank
    everything = np.ones(len(fit), dtype=bool)
    size_of = np.array([size_text(layer.size) for layer in bank.layers])[bank.layer_of]
    words, counts = np.unique(fit.status, return_counts=True)
    formed = formation(fit, fits.matched) if fit.spec.is_plain else None
    groups = [None] * len(bank.layers) if formed is None else formed.layers
    climbs = (fit.family != "").any() and has_ladder(fit.spec, [layer.axes for layer in bank])
    return Summary(
        model=bank.model,
        fit=str(fit.spec),
        axes=max(map(len, bank.sizes), default=0),
        quality=_quality(fits, everything),
        sizes=tuple(SizeSummary(size_text(size), _quality(fits, size_of == size_text(size))) for size in bank.sizes),
        families=tuple(_family(fits, name) for name in fit.spec.labels),
        layers=tuple(_layer(fits, index, bank.layer_of == index, group) for index, group in enumerate(groups)),
        statuses={str(word): int(count) for word, count in zip(words, counts, strict=True)},
        dead=int(fit.dead.sum()),
        strongest=finite(fit.strongest),
        notes=bank.notes,
        left_out=bank.left_out,
        orientation=by_size(gains, fit),
        formation=None if formed is None else formed.network,
        ladder=ladder(*fits) if climbs else None,
    )


def _median_scales(fit: Fit, mask: np.ndarray) -> Scales:
    sigma = fit.sigma.cpu().numpy()[mask]
    return {axis: median(values) for axis, values in zip(AXES, sigma.T, strict=False)}


def _quality(fits: Fits, mask: np.ndarray) -> Quality:
    chosen = torch.from_numpy(mask)
    medians = (median(fit.r2.cpu().numpy()[mask]) for fit in fits)
    shares = (finite(fit.share_of(chosen)) for fit in fits)
    pairs = (figure for pair in zip(medians, shares, strict=True) for figure in pair)
    return Quality(int(mask.sum()), int((mask & (fits.real.family != "")).sum()), *pairs)


def _family(fits: Fits, name: str) -> FamilySummary:
    mine = fits.real.family == name
    share, white, matched = (float((fit.family == name).sum() / max((fit.family != "").sum(), 1)) for fit in fits)
    median_r2 = median(fits.real.r2.cpu().numpy()[mine])
    return FamilySummary(name, int(mine.sum()), share, white, matched, median_r2, _median_scales(fits.real, mine))


def _layer(fits: Fits, index: int, mask: np.ndarray, formed: Group | None) -> LayerSummary:
    fit = fits.real
    layer = fit.bank.layers[index]
    return LayerSummary(
        name=layer.name,
        depth=layer.depth,
        size=size_text(layer.size),
        stride=layer.stride,
        dilation=layer.dilation,
        pitch=layer.pitch,
        families={name: int((mask & (fit.family == name)).sum()) for name in fit.spec.labels},
        median_sigma=_median_scales(fit, mask),
        dead=int((mask & fit.dead).sum()),
        quality=_quality(fits, mask),
        formation=formed,
    )
