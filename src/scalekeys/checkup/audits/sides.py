"""Whether filters lean to one side, or are wider along one axis."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from scipy.special import bdtr  # scipy.stats takes half a second to import

from scalekeys.checkup.advice import HINT, Advice, Place
from scalekeys.checkup.evidence import Evidence, largest_first
from scalekeys.errors import counted, listed
from scalekeys.fitting import Fit
from scalekeys.proportions import holm_adjusted
from scalekeys.shapes import AXES, size_text

CLEAR = 0.01
"""The p, adjusted for the number of comparisons, below which a side is preferred."""

LEAST_SHARE = 0.6
"""The share of one side from which it is worth a word."""

_Sides: TypeAlias = Mapping[str, np.ndarray]
"""For each comparison, which filters lie on its first side and which on its second; bool, shape (2, filters)."""


def lopsided(evidence: Evidence) -> Advice | None:
    """Find out whether one-sided differences prefer a side, and whether scales prefer an axis."""
    sides = {name: both for name, both in _sides(evidence.fit).items() if both.any()}
    counts = {name: _count(both) for name, both in sides.items()}
    tests = holm_adjusted([_p_of_even(*pair) for pair in counts.values()])
    found = {
        name: pair.index(max(pair))
        for (name, pair), p in zip(counts.items(), tests, strict=True)
        if p < CLEAR and max(pair) >= LEAST_SHARE * sum(pair)
    }
    if not found:
        return None
    noise = _sides(evidence.matched)
    places = _places(evidence, sides, noise, found)
    return Advice(
        "lopsided",
        "The filters prefer a side or an axis: " + "; ".join(_told(name, counts[name]) for name in found) + ".",
        f"Chance gives so uneven a split with a probability below {CLEAR}, adjusted for "
        f"{counted(len(counts), 'comparison')}, if filters are independent; the larger share in matched noise is "
        + listed([_share(_count(noise[name])) for name in found], limit=3)
        + ".",
        "Look at the aspect ratio and the mirroring of the training images.",
        None,
        "A hint only: some tasks have a preferred side.",
        HINT,
        evidence.share(places),
        places,
        "share of the preferred side",
    )


def _places(evidence: Evidence, sides: _Sides, noise: _Sides, preferred: Mapping[str, int]) -> tuple[Place, ...]:
    """Return the layers that have filters on a preferred side.

    The value of a place is the number of filters on the preferred sides as a share of those on either side, both
    summed over the comparisons.
    """
    (mine, either), (its, its_either) = (
        (
            np.stack([each[name][side] for name, side in preferred.items()]),
            np.stack([each[name].any(0) for name in preferred]),
        )
        for each in (sides, noise)
    )
    concerned = np.logical_or.reduce(mine)
    return largest_first(
        Place(
            layer.name,
            size_text(layer.size),
            int(concerned[rows].sum()),
            len(layer),
            mine[:, rows].sum() / either[:, rows].sum(),
            its[:, rows].sum() / its_either[:, rows].sum() if its_either[:, rows].any() else None,
            tuple(np.flatnonzero(concerned[rows]).tolist()),
        )
        for layer, rows in evidence.bank.parts()
        if concerned[rows].any()
    )


def _p_of_even(first: int, second: int) -> float:
    """Return the p of the two-sided binomial test of equal chances."""
    return min(1.0, 2 * float(bdtr(min(first, second), first + second, 0.5)))


def _sides(fit: Fit) -> _Sides:
    """Return which filters lie on each of both sides of a comparison."""
    family, sigma = fit.family, fit.sigma.numpy()
    sides = {f"differences along {axis}": np.stack([family == f"d{axis}+", family == f"d{axis}-"]) for axis in AXES}
    if sigma.shape[1] > 1:
        x, y = np.where(np.isfinite(sigma[:, :2]).all(1), sigma[:, :2].T, np.nan)
        sides["scales"] = np.stack([x > y, x < y])
    return sides


def _count(sides: np.ndarray) -> tuple[int, int]:
    first, second = sides.sum(1).tolist()
    return first, second


def _share(pair: tuple[int, int]) -> str:
    return f"{100 * max(pair) / sum(pair):.0f} %" if sum(pair) else "not known"


def _told(name: str, pair: tuple[int, int]) -> str:
    if name == "scales":
        axis = "x" if pair[0] > pair[1] else "y"
        return f"{max(pair)} of {sum(pair)} are wider along {axis}"
    sign = "+" if pair[0] > pair[1] else "-"
    return f"{max(pair)} of {sum(pair)} one-sided {name} are of the family d{name[-1]}{sign}"
