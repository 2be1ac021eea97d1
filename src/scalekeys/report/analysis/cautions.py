"""What a reader should know before trusting a number, in plain words: notes, statuses and limits of small kernels."""

from collections.abc import Callable

from scalekeys.filters.dead import NEGLIGIBLE
from scalekeys.report.analysis.view import AT_BOUND, Analysis
from scalekeys.report.page import Caution
from scalekeys.report.page.words import count, listed, number, percent, plural, prose, size_words

_FEW_TAPS = 3  # along every axis
_LAYERS = 5  # named of those with dead filters
_DOMINANT, _MANY = 0.5, 20  # the share of energy that one filter of so many should not hold


_STATUS_WORDS: dict[str, str] = {
    "zero-filter": "Every weight is zero: there is nothing to explain. Such a filter stands in no median and no share.",
    "negligible": (
        f"The norm of the filter is below {NEGLIGIBLE:g} of what is usual in its layer, or all its weights are too "
        "small for the precision of their type, as weight decay leaves them. Nothing comes of such a filter, whatever "
        "its shape: it is not fitted, and stands in no median and no share."
    ),
    "constant-filter": (
        "All weights of the filter are equal. A constant is its own model, has no centred energy and stands in no "
        "median and no share."
    ),
    "non-finite": "A weight is infinite or not a number. Such a filter is counted, and left out of everything else.",
    "unsupported-size": (
        "The idealized receptive fields are not defined on a kernel of this size. Such a filter is counted, not fitted."
    ),
    "unexplained": (
        "Even the best of all models has no more evidence than it has for one in twenty filters of white noise of the "
        "same size. The family of such a filter means nothing."
    ),
    "polynomial": (
        "Inside its window the receptive field is a polynomial: its scale along an axis is so large that the window "
        "shows no decay. The tables hold an infinite scale there, ∞ on this page. Read it as “much wider than the "
        "kernel”: a larger kernel may be wanted."
    ),
}

_AT_LARGEST_SCALE = (
    "The best scale along an axis is the largest that was searched. There the template no longer changes visibly "
    "inside its window: the filter looks flat, or like an even ramp, along that axis. Read such a scale as “at least "
    "as wide as the kernel”."
)
_AT_LARGEST_STRENGTH = (
    "The best strength alpha of a sharpening is the largest that was searched: the filter is close to a pure "
    "Laplacian, without the impulse. Its scale is not at a bound."
)


def cautions(analysis: Analysis) -> list[Caution]:
    """Collect every remark that applies, the reader's own notes first."""
    remarks = [Caution("Note", note) for note in analysis.summary.notes]
    return remarks + [caution for rule in _RULES for caution in rule(analysis)]


def _statuses(analysis: Analysis) -> list[Caution]:
    found = analysis.summary.statuses
    explained = [word for word in _STATUS_WORDS if word in found]
    others = [word for word in found if word not in (*explained, "ok", AT_BOUND)]
    return [_counted(analysis, found[word], word, _status_words(analysis, word)) for word in explained + others]


def _status_words(analysis: Analysis, word: str) -> str:
    """Explain a status; of one that says how little is known, also how often it is that of noise."""
    text = _STATUS_WORDS.get(word, "")
    if word != "unexplained":
        return text
    white, matched = (percent(float((fit.status == word).mean())) for fit in analysis.fits[1:])
    return f"{text} The same is said of {white} of white noise, and of {matched} of matched noise."


def _strongest(analysis: Analysis) -> list[Caution]:
    summary = analysis.summary
    if summary.strongest is None or summary.strongest < _DOMINANT or summary.quality.fitted < _MANY:
        return []
    text = (
        "The weights of one filter are so large that it holds this part of the energy of all filters together. The "
        "shares of energy on this page are then mostly those of that one filter; read the medians, in which every "
        "filter counts alike."
    )
    return [Caution(f"One filter holds {percent(summary.strongest)} of the energy", text)]


def _at_bound(analysis: Analysis) -> list[Caution]:
    """Tell apart the two bounds a fit can end at: the largest scale, and the largest strength of a sharpening."""
    cases = (
        (int(analysis.at_largest_scale.sum()), "at-bound in scale", _AT_LARGEST_SCALE),
        (int(analysis.at_largest_strength.sum()), "at-bound in strength", _AT_LARGEST_STRENGTH),
    )
    return [_counted(analysis, filters, word, text) for filters, word, text in cases if filters]


def _where_dead(analysis: Analysis) -> list[Caution]:
    """Say in which layers the dead filters stand, and which layers are dead throughout."""
    summary = analysis.summary
    affected = sorted((layer for layer in summary.layers if layer.dead), key=lambda layer: -layer.dead)
    if not affected:
        return []
    most = [f"{layer.name} ({count(layer.dead)} of {count(layer.quality.filters)})" for layer in affected[:_LAYERS]]
    if len(affected) > len(most):
        most.append(f"{plural(len(affected) - len(most), 'other layer')}, which the table of layers lists")
    share = percent(summary.dead / summary.quality.filters)
    where = f"{count(len(affected))} of {plural(len(summary.layers), 'layer')}"
    text = f"Zero or negligible: {plural(summary.dead, 'filter')} ({share}), in {where}: {listed(most)}"
    whole = sum(layer.dead == layer.quality.filters for layer in affected)
    text += f". Dead throughout: {plural(whole, 'layer')}." if whole else "."
    return [Caution("Where the dead filters stand", text)]


def _three_taps(analysis: Analysis) -> list[Caution]:
    return [
        Caution(
            f"{plural(size.quality.filters, 'filter')} of {size_words(size.size)}",
            prose(
                "Three taps cannot tell large scales apart: above sigma of about 1.5 the templates of a family look "
                "nearly alike, so read a larger scale, also an infinite one, as “1.5 or more”. So few taps are also "
                f"easy to explain: white noise of this size has a median r² of {number(size.quality.white_median_r2)}, "
                f"matched noise of {number(size.quality.matched_median_r2)}. Compare with the noise, not with 0."
            ),
        )
        for size in analysis.summary.sizes
        if size.quality.fitted and max(map(int, size.size.split("x"))) <= _FEW_TAPS
    ]


def _counted(analysis: Analysis, filters: int, word: str, text: str) -> Caution:
    share = percent(filters / analysis.summary.quality.filters)
    return Caution(f"{plural(filters, 'filter')} {word} ({share})", prose(text))


_RULES: tuple[Callable[[Analysis], list[Caution]], ...] = (_statuses, _where_dead, _strongest, _at_bound, _three_taps)
