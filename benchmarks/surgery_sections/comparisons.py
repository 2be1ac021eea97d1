"""Paired comparisons on the same images: intervals, exact tests adjusted for their number, and verdicts."""

from collections.abc import Sequence
from math import sqrt
from typing import Any

from scipy.stats import binomtest, norm

from scalekeys.networks import Evaluation
from scalekeys.proportions import holm_adjusted

MARGIN = 3.0
"""Points of top-1 that may be lost; fixed before anything was measured."""

LEVEL = 0.05


def compared(pairs: Sequence[tuple[Evaluation, Evaluation]]) -> list[dict[str, Any]]:
    """Compare the first of each pair with the second.

    ``p`` is that of McNemar's exact test, ``p_margin`` that of the hypothesis that at least the margin is lost; both
    are adjusted for the number of pairs by Holm's method. The verdict is ``within margin`` where the interval of 95 %
    lies above minus the margin, else ``worse`` where the adjusted p is below 0.05, else ``undecided``.
    """
    differences = [one.difference(other) for one, other in pairs]
    tests = [
        binomtest(each.gained, each.gained + each.lost).pvalue if each.gained + each.lost else 1.0
        for each in differences
    ]
    counts = [one.count for one, _ in pairs]
    margins = [p_of_margin(each.gained, each.lost, count) for each, count in zip(differences, counts, strict=True)]
    rows = zip(differences, holm_adjusted(tests), holm_adjusted(margins), strict=True)
    return [
        {
            "points": round(100 * each.value, 2),
            "from": round(100 * each.interval[0], 2),
            "to": round(100 * each.interval[1], 2),
            "p_holm": float(f"{p:.3g}"),
            "p_margin_holm": float(f"{p_margin:.3g}"),
            "verdict": verdict(100 * each.value, 100 * each.interval[0], p),
        }
        for each, p, p_margin in rows
    ]


def verdict(points: float, low: float, p: float) -> str:
    """Say in words what a comparison shows."""
    if low > -MARGIN:
        return "within margin"
    return "worse" if p < LEVEL and points < 0 else "undecided"


def p_of_margin(gained: int, lost: int, count: int) -> float:
    """Return the one-sided p of a loss of the margin or more, by the normal approximation for paired shares."""
    difference = (gained - lost) / count
    error = sqrt(max(gained + lost - count * difference**2, 1.0)) / count
    return float(norm.sf((difference + MARGIN / 100) / error))
