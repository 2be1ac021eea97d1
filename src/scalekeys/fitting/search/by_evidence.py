"""Which model each filter deserves, and what evidence white noise reaches."""

from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor

from scalekeys.fitting.evidence import eligible, evidence
from scalekeys.fitting.prepare import Targets, prepare
from scalekeys.fitting.search.families import Best, grids_for, parameters_of, search
from scalekeys.fitting.spec import FitSpec
from scalekeys.shapes import Size

_NOISE_FILTERS, _NOISE_SEED, _NOISE_QUANTILE = 2_000, 0, 0.95


def select(targets: Targets, spec: FitSpec, assigned: Tensor | None = None) -> Best:
    """Let models of different numbers compete by evidence; the loss of the best is minus its evidence.

    Parameters are those of :func:`search`.
    """
    taps, size = targets.taps.shape[1], targets.size
    best = Best.none(targets.taps, parameters_of(size, spec))
    for numbers, group in eligible({name: spec.numbers(name, size) for name in grids_for(size, spec)}, taps):
        mine = replace(spec, model=group[0], families=group)
        places = torch.tensor([spec.families.index(name) for name in group], device=best.family.device)
        own = None if assigned is None else _renumbered(assigned, places)
        found = search(targets, mine, own)
        loss = -evidence(-found.loss, numbers, taps)
        better = ((found.family >= 0) & (loss < best.loss)).nonzero()[:, 0]
        best.take(better, places[found.family[better]], found.coordinates[better], loss[better])
    return best


def _renumbered(assigned: Tensor, places: Tensor) -> Tensor:
    """Turn numbers of families among all into numbers among some; -1 for the others."""
    same = assigned[:, None] == places
    return torch.where(same.any(-1), same.long().argmax(-1), -1)


@lru_cache(maxsize=64)
def noise_threshold(size: Size, spec: FitSpec) -> float:
    """Return the evidence that the best model of white noise stays below in 95 of 100 filters.

    From 2,000 filters of seeded noise, fitted in the same way.
    """
    generator = torch.Generator().manual_seed(_NOISE_SEED)
    noise = torch.randn(_NOISE_FILTERS, *size, generator=generator, dtype=torch.float64)
    best = select(prepare(noise).targets, spec)
    return float(torch.quantile(-best.loss, _NOISE_QUANTILE))
