"""What the sentences of a network report are computed from; the sentences stand in the templates."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from scalekeys.fitting.formation import LIKE_NOISE, WORDS
from scalekeys.report.analysis.summary import FamilySummary, LayerSummary, Summary
from scalekeys.report.analysis.view import Analysis
from scalekeys.report.page.numbers import median
from scalekeys.report.page.words import AXES

CLOSE = 0.2
"""Scales along the axes are called alike where they differ by less than this share of the largest one."""

MANY = 6
"""So many layers are named in a sentence."""

FEW = 20
"""Below so many filters of noise, their maximum stands for their 95th percentile."""


def families(summary: Summary) -> dict[str, list[FamilySummary]]:
    """Rank the families, and find those that are more, and less, frequent than in both kinds of noise."""
    fitted = summary.quality.fitted
    sides = {
        one.family: {_stands_out(one.share, noise, fitted) for noise in (one.matched_share, one.white_share)}
        for one in summary.families
    }
    return {
        "ranked": sorted((family for family in summary.families if family.filters), key=lambda one: -one.filters),
        "more": sorted((one for one in summary.families if sides[one.family] == {1}), key=lambda one: -one.share),
        "less": [one for one in summary.families if sides[one.family] == {-1}],
    }


def _stands_out(share: float, in_noise: float, fitted: int) -> int:
    """Tell whether a family is so much more (1), or less (-1), frequent than in noise that it cannot well be chance."""
    filters, noise = share * fitted, in_noise * fitted
    larger, smaller = max(filters, noise), min(filters, noise)
    is_clear = larger > 1.5 * smaller and larger - smaller > 3 * (larger + smaller) ** 0.5
    return (1 if filters > noise else -1) if is_clear else 0


def formation(layers: Sequence[LayerSummary]) -> dict[str, Any]:
    """Count the layers by how far they have formed, and name those that are like noise."""
    words = {layer.name: layer.formation.white.word for layer in layers if layer.formation and layer.formation.white}
    counts = Counter(words.values())
    return {
        "counts": {word: counts[word] for word in WORDS if counts[word]},
        "noise": [name for name, word in words.items() if word == LIKE_NOISE],
        "most": MANY,
    }


def mix(summary: Summary) -> dict[str, Any]:
    """Find the families that lead over depth, and where the first of them is rarest and most frequent."""
    fitted = [layer for layer in summary.layers if layer.main_family]
    leaders = Counter(layer.main_family or "" for layer in fitted).most_common()
    ranked = sorted(fitted, key=lambda layer: layer.share_of(leaders[0][0]))
    high = max(ranked, key=lambda layer: layer.share_of(leaders[0][0]))
    return {"fitted": fitted, "leaders": leaders, "low": ranked[0], "high": high}


def profile(summary: Summary) -> dict[str, LayerSummary]:
    """Find where in the network the models explain most and least beyond matched noise."""
    gains = [
        (quality.median_r2 - quality.matched_median_r2, layer)
        for layer in summary.layers
        if (quality := layer.quality).median_r2 is not None and quality.matched_median_r2 is not None
    ]
    return {name: choose(gains, key=lambda pair: pair[0])[1] for name, choose in (("most", max), ("least", min))}


def scales(analysis: Analysis) -> dict[str, Any]:
    """Describe the scales of the filters: the bulk, what is equal, zero or infinite, and what has no scale."""
    kinds = [axes for axes in range(1, analysis.summary.axes + 1) if (analysis.axes == axes).any()]
    one_tap = np.array([1 in layer.size for layer in analysis.fit.bank.layers])[analysis.layer]
    families = analysis.summary.families
    return {
        "middles": [middle for axes in kinds if (middle := _middle(analysis, axes))],
        "several": len(kinds) > 1,
        "close": CLOSE,
        "sharpen": analysis.summary.axes > 1 and any(one.family == "sharpen" and one.filters for one in families),
        "zero": int((analysis.sigma == 0).any(1).sum()),
        "infinite": int(analysis.infinite.sum()),
        "bound": int(analysis.at_largest_scale.sum()),
        "blind": int((analysis.fitted & one_tap).sum()),
    }


def _middle(analysis: Analysis, axes: int) -> tuple[int, dict[str, float], float | None] | None:
    """Return the median scale along each axis that has one, and which share of filters has much the same along all."""
    sigma = analysis.sigma[analysis.fitted & (analysis.axes == axes), :axes]
    medians = {
        axis: middle for axis, values in zip(AXES, sigma.T, strict=False) if (middle := median(values)) is not None
    }
    if not medians:
        return None
    several = sigma[(~np.isnan(sigma)).sum(1) > 1]
    finite = several[~np.isinf(several).any(1)]
    largest, smallest = np.nanmax(finite, axis=1, initial=0), np.nanmin(finite, axis=1, initial=np.inf)
    alike = float((largest - smallest <= CLOSE * largest).sum() / len(several)) if len(several) else None
    return axes, medians, alike


class Beyond(NamedTuple):
    """Which share of the filters exceeds what noise hardly ever does; of few filters of noise, what it never does."""

    share: float
    few: bool
    limit: float

    @classmethod
    def of(cls, filters: np.ndarray, noise: np.ndarray) -> "Beyond":
        """Compare the shares explained of filters and of noise."""
        few = len(noise) < FEW
        limit = float(noise.max() if few else np.quantile(noise, 0.95))
        return cls(float((filters > limit).mean()), few, limit)


def distribution(analysis: Analysis) -> list[tuple[str, Beyond, Beyond]]:
    """Tell how far the filters of each kernel size stand out from matched and from white noise."""
    rows = []
    for size in analysis.summary.sizes:
        mine = analysis.size == size.size
        filters, matched, white = (
            values[mine & np.isfinite(values)] for values in (analysis.r2, analysis.matched_r2, analysis.white_r2)
        )
        if len(filters) and len(matched) and len(white):
            rows.append((size.size, Beyond.of(filters, matched), Beyond.of(filters, white)))
    return rows
