"""What the figures say, in sentences computed from the data."""

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from scalekeys.checkup import Checkup
from scalekeys.fitting import Group, Standing
from scalekeys.fitting.formation import LIKE_NOISE, WORDS
from scalekeys.report.analysis.summary import FamilySummary, LayerSummary, Quality, Summary
from scalekeys.report.analysis.view import Analysis
from scalekeys.report.page.pictures import pictured
from scalekeys.report.page.words import AXES, count, kernels_of, listed, number, number_in, percent, plural, spelled

WINDOWS = {
    "exact": "Templates are differences of the full kernel, cropped to the window.",
    "published": "Templates are differences taken inside the window, as in the published scripts.",
}
"""What the window conventions of a fit mean."""

DISCRETIZATIONS = {
    "discrete": "",
    "sampled": "the derivatives of the continuous Gaussian at the pixels",
    "normalized-sampled": "the derivatives of the continuous Gaussian at the pixels, over the sum of its samples",
    "integrated": "the derivatives of the continuous Gaussian, integrated over each pixel",
    "hybrid-sampled": "central differences of the sampled Gaussian over the sum of its samples",
    "hybrid-integrated": "central differences of the Gaussian's integrals over each pixel",
}
"""What stands in the place of the differences of T in a fit."""

CLOSE = 0.2
"""Scales along the axes are called alike where they differ by less than this share of the largest one."""

MANY = 6
"""So many layers are named in a sentence."""

FEW = 20
"""Below so many filters of noise, their maximum stands for their 95th percentile."""


def lead(summary: Summary) -> str:
    """Sum the report up in a few sentences.

    Examples
    --------
    >>> import scalekeys as sk
    >>> from scalekeys.report import summarize
    >>> keys = sk.FilterBank.from_tensor(sk.master_keys())
    >>> controls = sk.fit(sk.white_noise_like(keys)), sk.fit(sk.matched_noise_like(keys))
    >>> text = lead(summarize(sk.fit(keys), *controls))
    >>> text.startswith("8 filters in 1 layer. Eight idealized receptive fields explain")
    True
    """
    quality = summary.quality
    what = f"{plural(quality.filters, 'filter')} in {plural(len(summary.layers), 'layer')}."
    if not quality.fitted or quality.share_explained is None:
        reasons = [f"{count(n)} {word}" for word, n in summary.statuses.items()]
        return f"{what} Nothing could be fitted, so there is nothing to explain: {listed(reasons)}."
    families = len(summary.families)
    subject = f"{spelled(families).capitalize()} idealized receptive field{'' if families == 1 else 's'}"
    explains = (
        f"{subject} {'explains' if families == 1 else 'explain'} {percent(quality.share_explained)} of their energy"
    )
    noise = (
        f"; of matched noise {percent(quality.matched_share_explained)}, and of white noise "
        f"{percent(quality.white_share_explained)}"
    )
    rest = f"{percent(1 - quality.share_explained)} is not explained."
    if summary.dead:
        rest += f" All shares and medians leave out {plural(summary.dead, 'dead filter')}."
    return f"{what} {explains}{'' if quality.white_share_explained is None else noise}. {rest}"


def advice(checkup: Checkup) -> str:
    """Say how many audits were made, and how many found something."""
    looked = f"{spelled(len(checkup.audits))} audits looked for what may be wrong with the kernels".capitalize()
    if not checkup.advice:
        return f"{looked}, and none has found anything."
    return f"{looked}, and {spelled(len(checkup.advice))} of them found something."


def sizes(summary: Summary) -> str:
    """Say how each kernel size does against both kinds of noise."""
    parts = [f"{kernels_of(size.size)} {_against(size.quality)}" for size in summary.sizes if size.quality.fitted]
    unfitted = [kernels_of(size.size) for size in summary.sizes if not size.quality.fitted]
    text = (
        "The smaller a kernel, the easier it is to explain, even if it holds nothing but noise. So every figure stands "
        "beside those of two kinds of noise of the same size. Median r² of the filters, against matched and against "
        f"white noise: {listed(parts)}."
    )
    return text + (f" Of the {listed(unfitted)} none could be fitted." if unfitted else "")


def families(summary: Summary, *, by_evidence: bool = False) -> str:
    """Say which families lead, and which are more frequent than in both kinds of noise."""
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
    fitted = summary.quality.fitted
    more = [f for f in summary.families if all(_stands_out(f.share, noise, fitted) > 0 for noise in _in_noise(f))]
    less = [f for f in summary.families if all(_stands_out(f.share, noise, fitted) < 0 for noise in _in_noise(f))]
    told = listed([_times(f) for f in sorted(more, key=lambda f: -f.share)])
    text += f" More frequent than in both kinds of noise: {told}." if more else ""
    return text + (f" Rarer than in both: {listed([f.family for f in less])}." if less else "")


def formation(group: Group, layers: Sequence[LayerSummary]) -> list[str]:
    """Say whether the filters of the network have formed, and which layers have not."""
    if group.white is None:
        return [
            "No filter counts: all are dead or constant, or their kernels are too small to tell structure from noise."
        ]
    beside = "" if group.matched is None else f"; beside matched noise, {_interval(group.matched)}"
    text = f"The network as a whole is {group.white.word}: {_interval(group.white)}{beside}."
    if group.counted < group.filters:
        text += f" {plural(group.filters - group.counted, 'filter')} do not count: dead, constant or of too few taps."
    words = {layer.name: _word(layer) for layer in layers}
    counts = Counter(word for word in words.values() if word)
    told = listed([f"{spelled(n)} {'is' if n == 1 else 'are'} {word}" for word in WORDS if (n := counts[word])])
    noise = [f"“{name}”" for name, word in words.items() if word == LIKE_NOISE]
    which = f" Like noise: {listed(noise[:MANY])}{' and others' if len(noise) > MANY else ''}." if noise else ""
    return [text, f"Of the {plural(counts.total(), 'layer')} that can tell, {told}.{which}"]


def _word(layer: LayerSummary) -> str | None:
    return layer.formation.white.word if layer.formation and layer.formation.white else None


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
    """Say where in the network the models explain most and least beyond matched noise."""
    gains = [(_gain(layer), layer) for layer in summary.layers]
    known = [(gain, layer) for gain, layer in gains if gain is not None]
    most, least = max(known, key=lambda pair: pair[0])[1], min(known, key=lambda pair: pair[0])[1]
    longest, shortest = (f"depth {layer.depth} ({_against(layer.quality)})" for layer in (most, least))
    return (
        "The line between a layer and its matched noise is what the models explain beyond smoothness and extent. "
        f"The filters exceed their matched noise most at {longest} and least at {shortest}."
    )


def scales(analysis: Analysis) -> list[str]:
    """Describe the scales of the filters: the bulk, what is equal, zero or infinite, and what has no scale."""
    paragraphs = []
    kinds = [axes for axes in range(1, analysis.summary.axes + 1) if (analysis.axes == axes).any()]
    for axes in kinds:
        sigma = analysis.sigma[analysis.fitted & (analysis.axes == axes), :axes]
        sigma = sigma[~np.isnan(sigma).any(1)]
        if len(sigma):
            whose = f" of kernels with {spelled(axes)} {'axis' if axes == 1 else 'axes'}" if len(kinds) > 1 else ""
            paragraphs.append(_middle(sigma, whose))
    if any(family.family == "sharpen" and family.filters for family in analysis.summary.families):
        paragraphs.append("Sharpening has one scale for all axes.")
    zero = int((analysis.sigma == 0).any(1).sum())
    if zero:
        fit = "fits" if zero == 1 else "fit"
        paragraphs.append(f"{plural(zero, 'filter')} {fit} best with sigma = 0 along an axis: no smoothing there.")
    return [*paragraphs, *_ends(analysis)]


def _middle(sigma: np.ndarray, whose: str) -> str:
    """Give the median scale along each axis, and say how many filters have much the same along all of them."""
    medians = [f"sigma_{axis} {number(value)}" for axis, value in zip(AXES, np.median(sigma, axis=0), strict=False)]
    if len(medians) == 1:
        return f"The median{whose} is {medians[0]} pixels."
    return f"The medians{whose} are {listed(medians)} pixels. {_alike(sigma)}"


def _alike(sigma: np.ndarray) -> str:
    """Say how many filters have much the same scale along all axes."""
    finite = sigma[np.isfinite(sigma).all(1)]
    alike = float((np.ptp(finite, axis=1) <= CLOSE * finite.max(1)).sum()) / len(sigma)
    which = "the two scales differ" if sigma.shape[1] == 2 else "the scales differ"
    return f"For {percent(alike, 0)} of the filters {which} by less than {percent(CLOSE, 0)}."


def _ends(analysis: Analysis) -> list[str]:
    """Tell of scales at an end of what can be found: infinite ones, those at a bound, and axes without a scale."""
    paragraphs = []
    infinite, bound = int(analysis.infinite.sum()), int(analysis.at_largest_scale.sum())
    if infinite:
        verb = "has" if infinite == 1 else "have"
        paragraphs.append(
            f"{plural(infinite, 'filter')} {verb} an infinite scale along an axis, at the end of the axis marked ∞: "
            "inside the window the receptive field is a polynomial and shows no decay. A larger kernel may be wanted."
        )
    if bound:
        paragraphs.append(
            f"{plural(bound, 'filter')} ended at the largest scale that was searched, hence the straight rows of "
            "marks. These filters look flat along that axis, and their true scale is open."
        )
    blind = int((analysis.fitted & _one_tap(analysis)).sum())
    if blind:
        paragraphs.append(f"Left out: {plural(blind, 'filter')} with a single tap along an axis, where no scale shows.")
    return paragraphs


def _one_tap(analysis: Analysis) -> np.ndarray:
    """Tell which filters have an axis of one tap."""
    return np.asarray(np.array([1 in layer.size for layer in analysis.fit.bank.layers])[analysis.layer])


def distribution(analysis: Analysis) -> list[str]:
    """Say how far the filters stand out from both kinds of noise, size by size."""
    paragraphs = [
        "If the models fitted anything, the filled bars would lie where the line of white noise lies; if the filters "
        "were smooth and wide and nothing else, where that of matched noise lies. The further right they stand of "
        "both, the less of the fit is due to flexibility, smoothness and extent."
    ]
    for size in analysis.summary.sizes:
        mine = analysis.size == size.size
        filters, white, matched = (
            values[mine & np.isfinite(values)] for values in (analysis.r2, analysis.white_r2, analysis.matched_r2)
        )
        if len(filters) and len(white) and len(matched):
            beyond_matched, beyond_white = _beyond(filters, matched), _beyond(filters, white)
            paragraphs.append(
                f"{_headed(size.size)}: {beyond_matched[0]} of the filters are explained better than "
                f"{beyond_matched[1]} of matched noise (r² above {beyond_matched[2]}), and {beyond_white[0]} better "
                f"than {beyond_white[1]} of white noise (r² above {beyond_white[2]})."
            )
    if len(analysis.summary.sizes) > 1:
        paragraphs.append(
            "Each kernel size has a panel and a vertical axis of its own: what noise reaches depends on the size."
        )
    return paragraphs


def _beyond(filters: np.ndarray, noise: np.ndarray) -> tuple[str, str, str]:
    """Say how many filters exceed what noise hardly ever does, how much of the noise that is, and its r2."""
    few = len(noise) < FEW
    limit = float(noise.max() if few else np.quantile(noise, 0.95))
    share = percent(float((filters > limit).mean()), 0 if few else 1)
    return share, "all" if few else "95 %", number(limit)


def _headed(size: str) -> str:
    text = kernels_of(size)
    return text[:1].upper() + text[1:]


def gallery(*, several: bool, axes: Collection[int]) -> str:
    """Say what the gallery shows, `several` filters of some families or one of each, of kernels with so many axes."""
    which = (
        "the filter that its model explains best, the median one and the worst, by r²" if several else "its one filter"
    )
    text = (
        f"For each family {which}. The three pictures of a row share one range, centred at zero, so a faint residual "
        "is a small one. What stands out in a residual is what the family cannot show."
    )
    behind = " Behind the line of a model the learned filter stands faintly." if 1 in axes else ""
    return f"{text} {pictured(axes)}{behind}".rstrip()


def layers(summary: Summary) -> str:
    """Say what the table of layers holds, and what the source did not tell."""
    text = "The share explained weighs filters by their energy; medians count every filter alike."
    if any(layer.stride is None or layer.dilation is None for layer in summary.layers):
        text += " A dash under stride or dilation means that the source holds weights alone and does not say."
    return text


def _interval(standing: Standing) -> str:
    return number_in(standing.value, standing.low, standing.high)


def _in_noise(family: FamilySummary) -> tuple[float, float]:
    return family.matched_share, family.white_share


def _stands_out(share: float, in_noise: float, fitted: int) -> int:
    """Tell whether a family is so much more (1), or less (-1), frequent than in noise that it cannot well be chance."""
    filters, noise = share * fitted, in_noise * fitted
    larger, smaller = max(filters, noise), min(filters, noise)
    is_clear = larger > 1.5 * smaller and larger - smaller > 3 * (larger + smaller) ** 0.5
    return (1 if filters > noise else -1) if is_clear else 0


def _times(family: FamilySummary) -> str:
    most = max(_in_noise(family))
    return (
        f"{family.family} (never in noise)" if not most else f"{family.family} ({number(family.share / most, 1)} times)"
    )


def _share(layer: LayerSummary, family: str) -> float:
    return layer.families[family] / max(layer.quality.fitted, 1)


def _gain(layer: LayerSummary) -> float | None:
    quality = layer.quality
    if quality.median_r2 is None or quality.matched_median_r2 is None:
        return None
    return quality.median_r2 - quality.matched_median_r2


def _against(quality: Quality) -> str:
    noise = f"{number(quality.matched_median_r2)} and {number(quality.white_median_r2)}"
    return f"{number(quality.median_r2)} against {noise}"
