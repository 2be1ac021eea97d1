"""What a reader should know before trusting a number, in plain words: notes, statuses and limits of small kernels."""

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from scalekeys.report.analysis import Analysis
from scalekeys.report.summary import NEGLIGIBLE
from scalekeys.report.words import number, percent, plural, prose, size_name


@dataclass(frozen=True)
class Caution:
    """A remark above the figures: a few words to scan, and a sentence or two.

    A text of ours is markup already; a text from elsewhere is plain and will be escaped.
    """

    head: str
    text: Markup | str


_STATUS_WORDS: dict[str, str] = {
    "zero-filter": "Every weight is zero: there is nothing to explain. Such a filter stands in no median and no share.",
    "constant-filter": (
        "All weights of the filter are equal. A constant is its own model, has no centred energy and stands in no "
        "median and no share."
    ),
    "non-finite": "A weight is infinite or not a number. Such a filter is counted, and left out of everything else.",
    "unsupported-size": (
        "A kernel with an even side has no central pixel, so the idealized receptive fields are not defined on it. "
        "Such a filter is counted, not fitted."
    ),
    "unexplained": (
        "Even the best of all models has no more evidence than it has for one in twenty filters of white noise of the "
        "same size. The family of such a filter means nothing."
    ),
}

_AT_LARGEST_SCALE = (
    "The best scale along an axis is the largest that was searched, the side of the kernel. There the template no "
    "longer changes visibly inside its window: the filter looks flat, or like an even ramp, along that axis. Read "
    "such a scale as “at least as wide as the kernel”."
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
    others = [word for word in found if word not in (*explained, "ok", "at-bound")]
    return [_counted(analysis, found[word], word, _STATUS_WORDS.get(word, "")) for word in explained + others]


def _at_bound(analysis: Analysis) -> list[Caution]:
    """Tell apart the two bounds a fit can end at: the largest scale, and the largest strength of a sharpening."""
    cases = (
        (int(analysis.at_largest_scale.sum()), "at-bound in scale", _AT_LARGEST_SCALE),
        (int(analysis.at_largest_strength.sum()), "at-bound in strength", _AT_LARGEST_STRENGTH),
    )
    return [_counted(analysis, filters, word, text) for filters, word, text in cases if filters]


def _negligible(analysis: Analysis) -> list[Caution]:
    text = (
        f"Their centred norm is below {NEGLIGIBLE:g} of the median of their layer, so they hardly act, whatever their "
        "shape. They count in numbers of filters and in medians, weigh almost nothing in shares of energy, and are "
        "left out of the gallery."
    )
    few = analysis.summary.negligible
    return [_counted(analysis, few, "negligible", text)] if few else []


def _three_taps(analysis: Analysis) -> list[Caution]:
    return [
        Caution(
            f"{plural(size.quality.filters, 'filter')} of {size_name(size.size)}",
            prose(
                "Nine taps cannot tell large scales apart: above sigma of about 1.5 the templates of a family look "
                "nearly alike, so read a large scale as “1.5 or more”. Nine taps are also easy to explain: noise of "
                f"this size has a median r² of {number(size.quality.control_median_r2)}. Compare with the noise, not "
                "with 0."
            ),
        )
        for size in analysis.summary.sizes
        if size.size == "3x3" and size.quality.fitted
    ]


def _counted(analysis: Analysis, filters: int, word: str, text: str) -> Caution:
    share = percent(filters / analysis.summary.quality.filters)
    return Caution(f"{plural(filters, 'filter')} {word} ({share})", prose(text))


_RULES: tuple[Callable[[Analysis], list[Caution]], ...] = (_statuses, _at_bound, _negligible, _three_taps)
