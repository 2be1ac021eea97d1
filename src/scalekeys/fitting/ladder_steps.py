"""The steps of a ladder: what each model adds to all before it for some filters, beside noise, with intervals."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from scalekeys.fitting.spec import IDEAL

MODELS_IN_ORDER = (IDEAL, "second-order", "jet2", "oriented")
"""The steps of a ladder."""

_DRAWS, _FEWEST = 2_000, 5  # draws with replacement, and the fewest things that are drawn

MORE, NO_MORE, LESS, TOO_FEW = "more", "no more", "less", "too few"
"""What is said of a step beside noise."""


@dataclass(frozen=True)
class Difference:
    """By how much a figure of the filters exceeds that of noise."""

    value: float | None
    """None where nothing is left to explain."""
    low: float | None
    high: float | None
    """`low` and `high`: the 95 % interval; None where there are fewer than five filters to draw from."""

    @property
    def word(self) -> str:
        """More, or less, where the interval does not hold 0; else no more, or too few where there is no interval."""
        if self.low is None or self.high is None:
            return TOO_FEW
        return MORE if self.low > 0 else LESS if self.high < 0 else NO_MORE


@dataclass(frozen=True)
class Compared:
    """A share of the energy of filters, and the same of matched and of white noise in their place."""

    filters: float | None
    matched: float | None
    white: float | None


@dataclass(frozen=True)
class Step:
    """What one model adds to all models before it."""

    model: str
    """Its name, as in :func:`scalekeys.fit`."""
    numbers: int
    """How many numbers it has for each filter: scales, coefficients, offset, and which family if several compete."""
    alone: Compared
    """Share of the energy that this model explains."""
    explained: Compared
    """Share of the energy that the best model up to this step explains, chosen for each filter."""
    gain: Compared
    """By how much this exceeds the step before; of the first step, the share itself."""
    part_of_rest: Compared
    """The gain as a share of what the step before left over."""
    beyond_matched: Difference
    beyond_white: Difference
    """`beyond_matched` and `beyond_white`: the gain of the filters less that of noise."""
    rest_beyond_matched: Difference
    """The same of the share of the rest."""


class Sample(NamedTuple):
    """The filters that all models are fitted to.

    ``layer`` and ``weight`` (the energy for which a filter stands) have one value a filter; ``shares`` is what each
    model explains of the filters, matched and white noise: (models, 3, filters), NaN where a model has no form.
    """

    layer: np.ndarray
    weight: np.ndarray
    shares: np.ndarray
    numbers: np.ndarray

    def of(self, mask: np.ndarray) -> "Sample":
        """Return some of the filters."""
        return Sample(self.layer[mask], self.weight[mask], self.shares[..., mask], self.numbers[:, mask])


def steps_of(sample: Sample, seed: int) -> tuple[Step, ...]:
    """Return the steps of a group of filters that have a form on some of its kernels."""
    exists = [place for place, own in enumerate(sample.shares) if np.isfinite(own).any()]
    alone = np.nan_to_num(sample.shares[exists])
    best = np.maximum.accumulate(alone, axis=0)
    several = len(set(sample.layer)) >= _FEWEST
    units = np.unique(sample.layer, return_inverse=True)[1] if several else np.arange(len(sample.layer))
    member = np.equal.outer(np.arange(units.max() + 1), units) * sample.weight
    energy, totals = member.sum(1), np.einsum("mkf,uf->umk", best, member)
    once = np.ones((1, len(energy)))
    drawn = np.random.default_rng(seed).multinomial(len(energy), once[0] / len(energy), size=_DRAWS)
    found, draws = (_figures(counts @ energy, np.tensordot(counts, totals, 1)) for counts in (once, drawn))
    own = np.average(alone, axis=-1, weights=sample.weight)
    tail = _tail(len(energy))
    return tuple(
        Step(
            model=MODELS_IN_ORDER[place],
            numbers=int(sample.numbers[place].max()),
            alone=_compared(own[rung]),
            explained=_compared(found.explained[0, rung]),
            gain=_compared(found.gain[0, rung]),
            part_of_rest=_compared(found.part[0, rung]),
            beyond_matched=_difference(found.gain[:, rung], draws.gain[:, rung], 1, tail),
            beyond_white=_difference(found.gain[:, rung], draws.gain[:, rung], 2, tail),
            rest_beyond_matched=_difference(found.part[:, rung], draws.part[:, rung], 1, tail),
        )
        for rung, place in enumerate(exists)
    )


class _Figures(NamedTuple):
    """Shares explained, gains and parts of the rest: each (draws, steps, kinds)."""

    explained: np.ndarray
    gain: np.ndarray
    part: np.ndarray


def _figures(energy: np.ndarray, totals: np.ndarray) -> _Figures:
    """Return the figures of draws with so much energy, (draws,), and so much of it explained, (draws, steps, kinds)."""
    explained = totals / energy[:, None, None]
    before = np.concatenate([np.zeros_like(explained[:, :1]), explained[:, :-1]], axis=1)
    rest = 1 - before
    part = np.divide(explained - before, rest, out=np.full_like(rest, np.nan), where=rest > 1e-9)
    return _Figures(explained, explained - before, part)


def _compared(values: np.ndarray) -> Compared:
    return Compared(*map(_known, values))


def _tail(units: int) -> float:
    """Return the share of the draws beyond each end of an interval, which is smaller the fewer units were drawn."""
    from scipy.stats import norm, t

    if units < _FEWEST:
        return 0.0
    return float(norm.cdf(-np.sqrt(units / (units - 1)) * t.ppf(0.975, units - 1)))


def _difference(found: np.ndarray, draws: np.ndarray, kind: int, tail: float) -> Difference:
    """Compare filters with one kind of noise: figures (1, kinds), and those of draws, (draws, kinds)."""
    ends = np.quantile(draws[:, 0] - draws[:, kind], (tail, 1 - tail)) if tail else (np.nan, np.nan)
    return Difference(_known(found[0, 0] - found[0, kind]), *map(_known, ends))


def _known(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
