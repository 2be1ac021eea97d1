"""What the figures say, in sentences computed from the data."""

from collections import Counter

import numpy as np

from scalekeys.report.analysis.summary import FamilySummary, LayerSummary, Quality, Summary
from scalekeys.report.analysis.view import Analysis
from scalekeys.report.page.words import count, listed, number, percent, plural, size_name, spelled
from scalekeys.scalespace import FAMILIES

WINDOWS = {
    "exact": "Templates are differences of the full kernel, cropped to the window.",
    "published": "Templates are differences taken inside the window, as in the published scripts.",
}
"""What the window conventions of a fit mean."""

CLOSE = 0.2
"""Scales along x and y are called alike where they differ by less than this share of the larger one."""


FEW = 20
"""Below so many filters of noise, their maximum stands for their 95th percentile."""


def lead(summary: Summary) -> str:
    """Sum the report up in a few sentences.

    Examples
    --------
    >>> import scalekeys as sk
    >>> from scalekeys.report import summarize
    >>> keys = sk.FilterBank.from_tensor(sk.master_keys())
    >>> text = lead(summarize(sk.fit(keys), sk.fit(sk.noise_like(keys))))
    >>> text.startswith("8 depthwise filters in 1 layer. Eight idealized receptive fields explain")
    True
    """
    quality = summary.quality
    what = f"{plural(quality.filters, 'depthwise filter')} in {plural(len(summary.layers), 'layer')}."
    if not quality.fitted or quality.share_explained is None:
        reasons = [f"{count(n)} {word}" for word, n in summary.statuses.items()]
        return f"{what} Nothing could be fitted, so there is nothing to explain: {listed(reasons)}."
    families = len(summary.families)
    subject = f"{spelled(families).capitalize()} idealized receptive field{'' if families == 1 else 's'}"
    explains = (
        f"{subject} {'explains' if families == 1 else 'explain'} {percent(quality.share_explained)} of their energy"
    )
    control = f"; noise of the same norms reaches {percent(quality.control_share_explained)}"
    rest = f"{percent(1 - quality.share_explained)} is not explained."
    if summary.dead:
        rest += f" All shares and medians leave out {plural(summary.dead, 'dead filter')}."
    return f"{what} {explains}{control if quality.control_share_explained is not None else ''}. {rest}"


def sizes(summary: Summary) -> str:
    """Say how each kernel size does against noise."""
    parts = [
        f"{size_name(size.size)} kernels {_against(size.quality)}" for size in summary.sizes if size.quality.fitted
    ]
    unfitted = [size_name(size.size) for size in summary.sizes if not size.quality.fitted]
    text = (
        "The smaller a kernel, the easier it is to explain, even if it holds nothing but noise. So every figure stands "
        f"beside that of noise of the same size. Median r² of the filters, against noise: {listed(parts)}."
    )
    return text + (f" No {listed(unfitted)} filter could be fitted." if unfitted else "")


def families(summary: Summary, *, by_evidence: bool = False) -> str:
    """Say which families lead, and which are more frequent than in noise."""
    if len(summary.families) == 1:
        return "One family was fitted, so every filter with a fit belongs to it."
    ranked = sorted((f for f in summary.families if f.filters), key=lambda f: -f.filters)
    text = "Each filter belongs to the family that explains most of it."
    if by_evidence:
        text = "Each filter belongs to the family with the most evidence, what it explains less what its numbers cost."
    if len(ranked) > 1 and ranked[0].filters == ranked[-1].filters:
        text += f" All {spelled(len(ranked))} families that occur are equally frequent."
    else:
        leaders = listed([f"{f.family} ({percent(f.share)})" for f in ranked[:2]])
        text += f" Most frequent {'is' if len(ranked) == 1 else 'are'} {leaders}."
    differing = [f for f in summary.families if _stands_out(f, summary.quality.fitted)]
    more = sorted((f for f in differing if f.share > f.control_share), key=lambda f: -f.share)
    less = [f.family for f in differing if f.share < f.control_share]
    text += f" More frequent than in noise: {listed([_times(f) for f in more])}." if more else ""
    return text + (f" Rarer than in noise: {listed(less)}." if less else "")


def mix(summary: Summary) -> str:
    """Say which families lead over depth."""
    fitted = [layer for layer in summary.layers if layer.main_family]
    if len(fitted) == 1:
        return f"All fitted filters stand in one layer, “{fitted[0].name}”."
    leaders = Counter(layer.main_family for layer in fitted).most_common()
    family = leaders[0][0] or ""
    others = [f"{name} in {spelled(n)}" for name, n in leaders[1:]]
    led = f"{spelled(leaders[0][1])} of {spelled(len(fitted))}" if others else f"all {spelled(len(fitted))}"
    text = f"In {led} layers, {family} is the most frequent family"
    text += f"; {listed(others)}." if others else "."
    low = min(fitted, key=lambda layer: _share(layer, family))
    high = max(fitted, key=lambda layer: _share(layer, family))
    return (
        f"{text} The share of {family} runs from {percent(_share(low, family))} at depth {low.depth} "
        f"to {percent(_share(high, family))} at depth {high.depth}."
    )


def profile(summary: Summary) -> str:
    """Say where in the network the models explain most and least beyond noise."""
    gains = [(_gain(layer), layer) for layer in summary.layers]
    known = [(gain, layer) for gain, layer in gains if gain is not None]
    most, least = max(known, key=lambda pair: pair[0])[1], min(known, key=lambda pair: pair[0])[1]
    longest, shortest = (f"depth {layer.depth} ({_against(layer.quality)})" for layer in (most, least))
    return (
        "The line between a layer and its noise is what the models explain beyond their own flexibility. "
        f"It is longest at {longest} and shortest at {shortest}."
    )


def scales(analysis: Analysis, eligible: int, shown: int) -> list[str]:
    """Describe the scatter of scales: the bulk, the diagonal, zeros, bounds, and what is left out."""
    fitted = int(analysis.fitted.sum())
    sigma = analysis.sigma[analysis.fitted & np.isfinite(analysis.sigma).all(1)]
    paragraphs = []
    if eligible:
        middle = np.median(sigma, axis=0)
        alike = percent(float((np.abs(sigma[:, 0] - sigma[:, 1]) <= CLOSE * sigma.max(1)).mean()), 0)
        zero = int((sigma == 0).any(1).sum())
        paragraphs.append(
            f"The medians are sigma_x {number(middle[0])} and sigma_y {number(middle[1])} pixels. For {alike} of the "
            f"filters the two scales differ by less than {percent(CLOSE, 0)}, and so lie near the diagonal."
        )
        if any(f.filters and FAMILIES[f.family].has_alpha for f in analysis.summary.families):
            paragraphs.append("Sharpening has one scale for both axes and lies on the diagonal by definition.")
        if zero:
            fit = "fits" if zero == 1 else "fit"
            paragraphs.append(f"{plural(zero, 'filter')} {fit} best with sigma = 0 along an axis: no smoothing there.")
    bound = int(analysis.at_largest_scale.sum())
    if bound:
        paragraphs.append(
            f"{plural(bound, 'filter')} ended at the largest scale that was searched, the side of the kernel, hence "
            "the straight rows of marks. These filters look flat along that axis, and their true scale is open."
        )
    if eligible < fitted:
        gone = plural(fitted - eligible, "filter")
        paragraphs.append(f"Left out: {gone} with a single tap along an axis, where no scale can be seen.")
    if shown < eligible:
        paragraphs.append(
            f"Shown are {count(shown)} of {plural(eligible, 'filter')}, evenly spaced in the order of the network."
        )
    return paragraphs


def distribution(analysis: Analysis) -> list[str]:
    """Say how far the filters stand out from noise, size by size."""
    paragraphs = [
        "If the models fitted anything, the filled bars would lie where the line of the noise lies. The further right "
        "they stand of it, the more of the structure is real."
    ]
    for size in analysis.summary.sizes:
        mine = analysis.size == size.size
        filters, noise = (v[mine & np.isfinite(v)] for v in (analysis.r2, analysis.control_r2))
        if len(filters) and len(noise):
            few = len(noise) < FEW
            limit = float(noise.max() if few else np.quantile(noise, 0.95))
            beaten = "all of the noise" if few else "95 % of the noise"
            above = percent(float((filters > limit).mean()), 0 if few else 1)
            paragraphs.append(
                f"{size_name(size.size)}: {above} of the filters are explained better than {beaten} "
                f"(r² above {number(limit)})."
            )
    if len(analysis.summary.sizes) > 1:
        paragraphs.append(
            "Each kernel size has a panel and a vertical axis of its own: what noise reaches depends on the size."
        )
    return paragraphs


def gallery(*, several: bool) -> str:
    """Say what the gallery shows; `several` where some family has more than one filter to show."""
    which = (
        "the filter that its model explains best, the median one and the worst, by r²" if several else "its one filter"
    )
    return (
        f"For each family {which}. The three pictures of a row share one range of colours, centred at zero, so a faint "
        "residual is a small one. What stands out in a residual is what the family cannot show."
    )


def layers(summary: Summary) -> str:
    """Say what the table of layers holds, and what the source did not tell."""
    text = "The share explained weighs filters by their energy; medians count every filter alike."
    if any(layer.stride is None or layer.dilation is None for layer in summary.layers):
        text += " A dash under stride or dilation means that the source holds weights alone and does not say."
    return text


def _stands_out(family: FamilySummary, fitted: int) -> bool:
    """Whether a family is so much more, or less, frequent than in noise that it cannot well be chance."""
    filters, noise = family.share * fitted, family.control_share * fitted
    larger, smaller = max(filters, noise), min(filters, noise)
    return larger > 1.5 * smaller and larger - smaller > 3 * (larger + smaller) ** 0.5


def _times(family: FamilySummary) -> str:
    if not family.control_share:
        return f"{family.family} (never in noise)"
    return f"{family.family} ({number(family.share / family.control_share, 1)} times)"


def _share(layer: LayerSummary, family: str) -> float:
    return layer.families[family] / max(layer.quality.fitted, 1)


def _gain(layer: LayerSummary) -> float | None:
    quality = layer.quality
    if quality.median_r2 is None or quality.control_median_r2 is None:
        return None
    return quality.median_r2 - quality.control_median_r2


def _against(quality: Quality) -> str:
    return f"{number(quality.median_r2)} against {number(quality.control_median_r2)}"
