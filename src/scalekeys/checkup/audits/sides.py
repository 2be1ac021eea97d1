"""Whether filters lean to one side, or are wider along one axis."""

import numpy as np
from scipy.special import bdtr  # scipy.stats takes half a second to import

from scalekeys.checkup.advice import HINT, Advice, Place
from scalekeys.checkup.evidence import Evidence
from scalekeys.errors import listed
from scalekeys.fitting import Fit
from scalekeys.proportions import holm_adjusted
from scalekeys.shapes import AXES, size_text

CLEAR = 0.01
"""The p, adjusted for the number of comparisons, below which a side is preferred."""

LEAST_SHARE = 0.6
"""The share of one side from which it is worth a word."""


def lopsided(evidence: Evidence) -> Advice | None:
    """Find out whether one-sided differences prefer a side, and whether scales prefer an axis."""
    counts = _counts(evidence.fit)
    known = {name: pair for name, pair in counts.items() if sum(pair)}
    tests = holm_adjusted([_p_of_even(*pair) for pair in known.values()])
    found = [
        name
        for (name, pair), p in zip(known.items(), tests, strict=True)
        if p < CLEAR and max(pair) >= LEAST_SHARE * sum(pair)
    ]
    if not found:
        return None
    noise = _counts(evidence.matched)
    sizes = ", ".join(map(size_text, evidence.bank.sizes))
    places = tuple(
        Place(name, sizes, max(known[name]), sum(known[name]), max(known[name]) / sum(known[name]), _share(noise, name))
        for name in found
    )
    return Advice(
        "lopsided",
        "The filters prefer a side or an axis: " + "; ".join(_told(name, known[name]) for name in found) + ".",
        f"Chance gives so uneven a split with a probability below {CLEAR}, adjusted for {len(known)} comparisons, if "
        "filters are independent; the larger share in matched noise is "
        + listed(["not known" if p.control is None else f"{100 * p.control:.0f} %" for p in places], limit=3)
        + ".",
        "Look at the aspect ratio and the mirroring of the training images.",
        None,
        "A hint only: some tasks have a preferred side.",
        HINT,
        evidence.share(places),
        places,
        "share of the preferred side",
    )


def _p_of_even(first: int, second: int) -> float:
    """Return the p of the two-sided binomial test of equal chances."""
    return min(1.0, 2 * float(bdtr(min(first, second), first + second, 0.5)))


def _counts(fit: Fit) -> dict[str, tuple[int, int]]:
    family = fit.family
    counts = {
        f"differences along {axis}": (int((family == f"d{axis}+").sum()), int((family == f"d{axis}-").sum()))
        for axis in AXES
    }
    sigma = fit.sigma.numpy()
    if sigma.shape[1] > 1:
        x, y = sigma[:, 0], sigma[:, 1]
        square = np.isfinite(x) & np.isfinite(y)
        counts["scales"] = (int((x > y)[square].sum()), int((x < y)[square].sum()))
    return counts


def _share(counts: dict[str, tuple[int, int]], name: str) -> float | None:
    pair = counts.get(name, (0, 0))
    return max(pair) / sum(pair) if sum(pair) else None


def _told(name: str, pair: tuple[int, int]) -> str:
    if name == "scales":
        axis = "x" if pair[0] > pair[1] else "y"
        return f"{max(pair)} of {sum(pair)} are wider along {axis}"
    sign = "+" if pair[0] > pair[1] else "-"
    return f"{max(pair)} of {sum(pair)} one-sided {name} are of the family d{name[-1]}{sign}"
