"""What the audits look at: a bank, its fit, and the same of matched noise, computed once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from scalekeys.filters import FilterBank, LayerFilters, matched_noise_like
from scalekeys.fitting import Fit, fit

LEAST = 8
"""Live filters that a layer needs to be judged."""


@dataclass(frozen=True, eq=False)
class LayerEvidence:
    """One layer beside its noise.

    Parameters
    ----------
    filters, matched : LayerFilters
        The filters, and matched noise in their place.
    rows : slice
        Where the filters stand in the bank.
    live : array of bool, shape (filters,)
        Which filters are neither dead nor unreadable.
    """

    filters: LayerFilters
    matched: LayerFilters
    rows: slice
    live: np.ndarray

    @property
    def kernels(self) -> Tensor:
        """The live kernels; shape (live, *sides), float64."""
        return self.filters.kernels[torch.from_numpy(self.live)].double()

    @property
    def noise(self) -> Tensor:
        """Matched noise in the place of the live kernels; shape (live, *sides), float64."""
        return self.matched.kernels[torch.from_numpy(self.live)].double()


@dataclass(frozen=True, eq=False)
class Evidence:
    """A network under examination.

    Parameters
    ----------
    source : str
        How a command names it.
    fit : Fit
        Of its filters by the idealized families.
    seed : int
        Of the noise.
    """

    source: str
    fit: Fit
    seed: int = 0

    @property
    def bank(self) -> FilterBank:
        """The filters."""
        return self.fit.bank

    @cached_property
    def matched(self) -> Fit:
        """The fit of matched noise in the place of the filters."""
        return fit(matched_noise_like(self.bank, seed=self.seed))

    @cached_property
    def layers(self) -> tuple[LayerEvidence, ...]:
        """The layers with enough live filters to be judged."""
        return tuple(self._layers())

    def _layers(self) -> Iterator[LayerEvidence]:
        alive = ~self.fit.dead & (self.fit.status != "non-finite")
        for (layer, rows), noise in zip(self.bank.parts(), self.matched.bank.layers, strict=True):
            if alive[rows].sum() >= LEAST:
                yield LayerEvidence(layer, noise, rows, alive[rows])

    def share(self, filters: int) -> float:
        """Return the share of the filters of the network that so many are."""
        return filters / max(1, len(self.bank))


def named(layers: Sequence[str], limit: int = 3) -> str:
    """Name some layers in a sentence.

    Examples
    --------
    >>> named(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    shown = ", ".join(layers[:limit])
    return shown if len(layers) <= limit else f"{shown} and {len(layers) - limit} more"
