"""Paired comparisons on the same images: intervals, tests adjusted for their number, and verdicts."""

from collections.abc import Sequence
from math import sqrt
from typing import Any

from scipy.stats import binomtest, norm

from fit_sections.record import table
from scalekeys.networks import Evaluation
from scalekeys.proportions import holm_adjusted

MARGIN = 3.0
"""Points of top-1: networks that differ by less count as equivalent. Fixed before the table was measured."""

LEVEL = 0.05


def compared(pairs: Sequence[tuple[Evaluation, Evaluation]]) -> list[dict[str, Any]]:
    """Compare the first of each pair with the second, on the same images.

    ``points`` is the difference of top-1, ``from`` and ``to`` its interval of 95 %, for this comparison alone. The
    verdict takes account of the number of pairs (Holm): ``equivalent`` where two one-sided tests reject a difference of
    the margin in either direction, else ``worse`` or ``better`` where McNemar's exact test rejects equality, else
    ``undecided``.
    """
    found = [one.difference(other) for one, other in pairs]
    equal = holm_adjusted([binomtest(each.gained, max(each.gained + each.lost, 1)).pvalue for each in found])
    margin = holm_adjusted(
        [p_of_margin(each.gained, each.lost, one.count) for each, (one, _) in zip(found, pairs, strict=True)]
    )
    return [
        {
            "points": round(100 * each.value, 2),
            "from": round(100 * each.interval[0], 2),
            "to": round(100 * each.interval[1], 2),
            "p_equal_holm": float(f"{p:.3g}"),
            "p_margin_holm": float(f"{p_margin:.3g}"),
            "verdict": verdict(each.value, p, p_margin),
        }
        for each, p, p_margin in zip(found, equal, margin, strict=True)
    ]


def beside_original(rows: list[dict[str, Any]], found: Sequence[Evaluation], original: Evaluation) -> dict[str, Any]:
    """Compare the network of each row with the original one, and say on what they were compared."""
    for row, comparison in zip(rows, compared([(one, original) for one in found]), strict=True):
        row["to_original"] = comparison
    return {
        "original_top1": round(100 * original.top1, 2),
        "images": original.count,
        "margin": MARGIN,
        "comparisons": len(rows),
        "rows": rows,
    }


def show_beside_original(results: dict[str, Any], *, without: Sequence[str] = ()) -> None:
    """Print the rows of :func:`beside_original`, some columns left out."""
    rows = [
        {name: value for name, value in row.items() if name not in without}
        | {"to_original": in_words(row["to_original"])}
        for row in results["rows"]
    ]
    table(f"MCUNet, top-1 {results['original_top1']} on {results['images']} images", rows)


def in_words(comparison: dict[str, Any] | None) -> str | None:
    """Write a comparison for a table."""
    return "{points:+.1f} ({from:+.1f} to {to:+.1f}) {verdict}".format(**comparison) if comparison else None


def verdict(difference: float, p_equal: float, p_margin: float) -> str:
    """Say in a word what a comparison shows."""
    if p_margin < LEVEL:
        return "equivalent"
    if p_equal < LEVEL:
        return "worse" if difference < 0 else "better"
    return "undecided"


def p_of_margin(gained: int, lost: int, count: int) -> float:
    """Return the p of a difference of the margin or more, the larger of both directions, normally approximated."""
    difference = (gained - lost) / count
    error = sqrt(max(gained + lost - count * difference**2, 1.0)) / count
    return float(norm.sf((MARGIN / 100 - abs(difference)) / error))
