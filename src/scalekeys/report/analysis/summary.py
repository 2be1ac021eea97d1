"""The figures that the terminal, the page and ``--json`` share, computed once."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from scalekeys.filters import LeftOut
from scalekeys.fitting import Fit


@dataclass(frozen=True)
class Quality:
    """How well a group of filters is explained, beside the random control.

    Parameters
    ----------
    filters, fitted : int
        How many there are, and how many of them carry a fit.
    median_r2, share_explained : float or None
        Median of r2 over the fitted filters, and the share of their summed energy that is explained.
    control_median_r2, control_share_explained : float or None
        The same for noise of equal norms, fitted in the same way.
    """

    filters: int
    fitted: int
    median_r2: float | None
    share_explained: float | None
    control_median_r2: float | None
    control_share_explained: float | None


@dataclass(frozen=True)
class FamilySummary:
    """The filters for which one family won; medians are taken over them."""

    family: str
    filters: int
    share: float
    control_share: float
    median_r2: float | None
    median_sigma_x: float | None
    median_sigma_y: float | None


@dataclass(frozen=True)
class SizeSummary:
    """The filters of one kernel size."""

    size: str
    quality: Quality


@dataclass(frozen=True)
class LayerSummary:
    """One layer; ``families`` counts the filters by winning family, ``dead`` those of :attr:`scalekeys.Fit.dead`."""

    name: str
    depth: int
    size: str
    stride: int | None
    dilation: int | None
    families: dict[str, int]
    median_sigma_x: float | None
    median_sigma_y: float | None
    dead: int
    quality: Quality

    @property
    def main_family(self) -> str | None:
        """The most frequent family, or None where nothing was fitted."""
        return max(self.families, key=lambda name: self.families[name]) if any(self.families.values()) else None


@dataclass(frozen=True)
class Summary:
    """What an analysis found, in figures.

    ``statuses`` counts filters by status, ``dead`` those of :attr:`scalekeys.Fit.dead`; ``strongest`` is the share of
    the energy that one filter holds (:attr:`scalekeys.Fit.strongest`).
    """

    model: str
    fit: str
    quality: Quality
    sizes: tuple[SizeSummary, ...]
    families: tuple[FamilySummary, ...]
    layers: tuple[LayerSummary, ...]
    statuses: dict[str, int]
    dead: int
    strongest: float | None
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists and numbers, ready for JSON."""
        return asdict(self)


def summarize(fit: Fit, control: Fit) -> Summary:
    """Condense a fit and the fit of its random control.

    Parameters
    ----------
    fit : Fit
        The fit of a bank.
    control : Fit
        The fit of :func:`scalekeys.noise_like` of the same bank, with the same spec.

    Returns
    -------
    Summary

    Examples
    --------
    >>> import scalekeys as sk
    >>> keys = sk.FilterBank.from_tensor(sk.master_keys())
    >>> summary = summarize(sk.fit(keys), sk.fit(sk.noise_like(keys)))
    >>> summary.quality.filters, summary.statuses
    (8, {'ok': 8})
    """
    everything = np.ones(len(fit), dtype=bool)
    layer_of = np.repeat(np.arange(len(fit.bank.layers)), [len(layer) for layer in fit.bank.layers])
    size_of = np.array([_size(layer.size) for layer in fit.bank.layers])[layer_of]
    words, counts = np.unique(fit.status, return_counts=True)
    return Summary(
        model=fit.bank.model,
        fit=str(fit.spec),
        quality=_quality(fit, control, everything),
        sizes=tuple(
            SizeSummary(_size(size), _quality(fit, control, size_of == _size(size))) for size in fit.bank.sizes
        ),
        families=tuple(_family(fit, control, name) for name in fit.spec.families),
        layers=tuple(_layer(fit, control, index, layer_of == index) for index in range(len(fit.bank.layers))),
        statuses={str(word): int(count) for word, count in zip(words, counts, strict=True)},
        dead=int(fit.dead.sum()),
        strongest=_number(fit.strongest),
        notes=fit.bank.notes,
        left_out=fit.bank.left_out,
    )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _median(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else None


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _quality(fit: Fit, control: Fit, mask: np.ndarray) -> Quality:
    chosen = torch.from_numpy(mask)
    return Quality(
        filters=int(mask.sum()),
        fitted=int((mask & (fit.family != "")).sum()),
        median_r2=_median(fit.r2.cpu().numpy()[mask]),
        share_explained=_number(fit.share_of(chosen)),
        control_median_r2=_median(control.r2.cpu().numpy()[mask]),
        control_share_explained=_number(control.share_of(chosen)),
    )


def _family(fit: Fit, control: Fit, name: str) -> FamilySummary:
    mine = fit.family == name
    sigma = fit.sigma.cpu().numpy()[mine]
    return FamilySummary(
        family=name,
        filters=int(mine.sum()),
        share=float(mine.sum() / max((fit.family != "").sum(), 1)),
        control_share=float((control.family == name).sum() / max((control.family != "").sum(), 1)),
        median_r2=_median(fit.r2.cpu().numpy()[mine]),
        median_sigma_x=_median(sigma[:, 0]),
        median_sigma_y=_median(sigma[:, 1]),
    )


def _layer(fit: Fit, control: Fit, index: int, mask: np.ndarray) -> LayerSummary:
    layer = fit.bank.layers[index]
    sigma = fit.sigma.cpu().numpy()[mask]
    return LayerSummary(
        name=layer.name,
        depth=layer.depth,
        size=_size(layer.size),
        stride=layer.stride,
        dilation=layer.dilation,
        families={name: int((mask & (fit.family == name)).sum()) for name in fit.spec.families},
        median_sigma_x=_median(sigma[:, 0]),
        median_sigma_y=_median(sigma[:, 1]),
        dead=int((mask & fit.dead).sum()),
        quality=_quality(fit, control, mask),
    )
