"""What a reader should know before trusting the keys: padding, symmetry, thresholds, noise, and what is left out."""

from collections.abc import Callable

from scalekeys.clustering import FOUND_AGAIN
from scalekeys.filters.dead import NEGLIGIBLE
from scalekeys.report.keys.narrative import FOUND
from scalekeys.report.keys.summary import KeysSummary
from scalekeys.report.page import Caution
from scalekeys.report.page.words import count, listed, number, percent, plural, prose, size_name


def cautions(summary: KeysSummary) -> list[Caution]:
    """Collect every remark that applies, the reader's own notes first."""
    remarks = [Caution("Note", note) for note in summary.notes]
    return remarks + [Caution(head, prose(text)) for rule in _RULES for head, text in rule(summary)]


def _controls(summary: KeysSummary) -> list[tuple[str, str]]:
    text = (
        f"The same search explains {percent(summary.matched_noise)} of matched noise and "
        f"{percent(summary.white_noise)} of white noise of the same sizes. White noise shares only the means and norms "
        "with the filters: keys that explain no more of the filters say nothing. Matched noise shares also how the "
        "taps of a layer vary together, and so their smoothness and extent: what the keys explain beyond it is not due "
        "to these alone. Noise is explained "
        "the better, the smaller the kernels and the more the keys."
    )
    return [("The controls", text)]


def _threshold(summary: KeysSummary) -> list[tuple[str, str]]:
    text = (
        f"A correlation of {number(summary.threshold)} means that the key explains {percent(summary.threshold**2, 0)} "
        "of the energy of the centred filter. It says nothing about amplitude, sign or offset, which are free, nor "
        "about whether the network could do without the rest."
    )
    return [("What covered means", text)]


def _padding(summary: KeysSummary) -> list[tuple[str, str]]:
    if len(summary.sizes) < 2:
        return []
    unit = "" if "x" in summary.size else " taps"
    sizes, window = f"{listed([size_name(size) for size in summary.sizes])}{unit}", f"{size_name(summary.size)}{unit}"
    text = (
        f"Kernels of {sizes} are compared in one window of {window}: smaller ones are surrounded by zeros, larger "
        "ones cropped to their centre. A key of wide filters and one of narrow filters then differ even where the same "
        "operator made them, and kernels of few taps are easy to explain. Ask for one size (--sizes) to tell apart "
        "what the filters learned from how large they are."
    )
    return [("Several kernel sizes", text)]


def _symmetry(summary: KeysSummary) -> list[tuple[str, str]]:
    if summary.symmetry == "dihedral":
        return [
            (
                "Up to turns and mirrors",
                "Filters that differ by quarter turns or mirroring share a key, so differences along x and y, forward "
                "and backward, are one key here. Compare with a run without symmetry before counting kinds of filters.",
            )
        ]
    moved = "mirroring" if "x" not in summary.size else "quarter turns or mirroring"
    return [
        (
            "No symmetry but the sign",
            f"Filters that differ by {moved} are different keys here. Only the sign is free: a filter and its negative "
            "share a key.",
        )
    ]


def _unstable(summary: KeysSummary) -> list[tuple[str, str]]:
    used = len(summary.keys)
    halves = {point.k: point.stability_halves or 0.0 for point in summary.curve}
    if halves.get(used, 1.0) >= FOUND_AGAIN or summary.best_k is None:
        return []
    text = (
        f"With {plural(used, 'key')}, one of them is another in either half of the filters: it correlates by "
        f"{number(halves[used])} with its nearest. Do not take every key of this page for a kind of filter"
    )
    sure = halves[summary.best_k] >= FOUND_AGAIN
    text += f"; with {summary.best_k} they would all be found again." if sure else "."
    return [("Not all keys are certain", text)]


def _matches(summary: KeysSummary) -> list[tuple[str, str]]:
    if not any(key.published for key in summary.keys):
        return []
    text = (
        "Keys are matched with the eight published filters one to one, so that the sum of the correlations is as "
        "large as it can be. Every key gets a partner that way as long as there are any: read a match below "
        f"{number(FOUND, 1)} as “none”."
    )
    return [("Published matches", text)]


def _left_out(summary: KeysSummary) -> list[tuple[str, str]]:
    if not summary.left_out:
        return []
    text = (
        "They stand in layers that were not asked for or have another kernel size, or their weights are constant, "
        "negligible or not finite. They count nowhere on this page; in the table their key is empty."
    )
    if summary.negligible:
        text += (
            f" Of the filters of {'this network' if len(summary.models) == 1 else 'these networks'} "
            f"{count(summary.negligible)} are negligible: their norm is below {NEGLIGIBLE:g} of what is usual in their "
            "layer, so that nothing comes of them, whatever their shape."
        )
    return [(f"{plural(summary.left_out, 'filter')} left out", text)]


_RULES: tuple[Callable[[KeysSummary], list[tuple[str, str]]], ...] = (
    _left_out,
    _unstable,
    _padding,
    _controls,
    _threshold,
    _symmetry,
    _matches,
)
