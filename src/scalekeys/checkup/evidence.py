"""What the audits look at: a bank, its fit, and the same of matched noise, computed once and only if asked for."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from scalekeys.checkup.advice import Place
from scalekeys.checkup.naming import Named
from scalekeys.checkup.normalisations import BatchNorm
from scalekeys.checkup.responses import Responses
from scalekeys.errors import listed
from scalekeys.filters import FilterBank, LayerFilters, matched_noise_like
from scalekeys.fitting import Fit, fit, natural_covariance_of
from scalekeys.shapes import Size, size_text

LEAST = 8
"""Live filters that a layer needs to be judged."""


@dataclass(frozen=True, eq=False)
class LayerEvidence:
    """One layer beside its noise."""

    filters: LayerFilters
    matched: LayerFilters
    """`filters` and `matched`: the filters, and matched noise in their place."""
    rows: slice
    """Where the filters stand in the bank."""
    live: np.ndarray
    """Bool, shape (filters,). Which filters are neither dead nor unreadable."""

    @property
    def kernels(self) -> Tensor:
        """The live kernels; shape (live, *sides), float64."""
        return self.filters.kernels[torch.from_numpy(self.live)].double()

    @property
    def noise(self) -> Tensor:
        """Matched noise in the place of the live kernels; shape (live, *sides), float64."""
        return self.matched.kernels[torch.from_numpy(self.live)].double()

    def place(self, value: float, control: float | None = None, *, concerned: Tensor | None = None) -> Place:
        """Return this layer as a place of a finding that concerns it, or those of its live filters that are marked."""
        channels = () if concerned is None else tuple(np.flatnonzero(self.live)[concerned.numpy()].tolist())
        count = len(self.filters) if concerned is None else len(channels)
        return Place(
            self.filters.name, size_text(self.filters.size), count, len(self.filters), value, control, channels
        )


@dataclass(frozen=True, eq=False)
class Evidence:
    """A network under examination."""

    source: Named
    """How commands name it."""
    fit: Fit
    """Of its filters by the idealized families."""
    seed: int = 0
    """Of the noise."""
    known: Fit | None = None
    """The fit of matched noise, where it was made already."""
    sides: Size | None = None
    """Of the inputs of the network, in pixels, where they are known; a single one stands for all."""
    norms: tuple[BatchNorm, ...] | None = None
    """The batch norms of the network, where more than its filters is known."""
    responses: Responses | None = None
    """The network with images, where they are given."""

    @property
    def network(self) -> str:
        """How a command that needs the network itself names it."""
        return self.source.running(self.bank.axes, self.inputs)

    @property
    def bank(self) -> FilterBank:
        """The filters."""
        return self.fit.bank

    @property
    def inputs(self) -> Size | None:
        """The sides of the inputs, as they are given or as the images have them."""
        if self.sides is None and self.responses is not None:
            return tuple(self.responses.inputs[0].shape[2:])
        return self.sides

    @cached_property
    def dead(self) -> np.ndarray:
        """Which filters are dead: by their weights, or because no image moves them; shape (filters,)."""
        if self.responses is None:
            return self.fit.dead
        unmoved = [self.responses.unmoved(layer.name, len(layer)) for layer in self.bank.layers]
        dead: np.ndarray = self.fit.dead | np.concatenate(unmoved)
        return dead

    def covariance(self, filters: LayerFilters) -> tuple[Tensor, str]:
        """Return what filters see, (filters or 1, taps, taps), and what it was measured on."""
        seen = None if self.responses is None else self.responses.covariance.layers.get(filters.name)
        if seen is not None:
            return seen, "these images"
        natural = "natural images" if len(filters.size) == 2 else "inputs that vary as natural images do"
        return natural_covariance_of(filters), natural

    @cached_property
    def noise(self) -> FilterBank:
        """Matched noise in the place of the filters."""
        return matched_noise_like(self.bank, seed=self.seed) if self.known is None else self.known.bank

    @cached_property
    def matched(self) -> Fit:
        """The fit of the matched noise; few audits need it, and only where they find something."""
        return fit(self.noise) if self.known is None else self.known

    def matched_scales(self, layer: LayerEvidence) -> Tensor:
        """Return the scales of the matched noise of one layer, of which a fit takes less than that of all noise."""
        if self.known is not None:
            return self.known.sigma[layer.rows]
        return fit(FilterBank((layer.matched,), self.bank.model)).sigma

    @cached_property
    def layers(self) -> tuple[LayerEvidence, ...]:
        """The layers with enough live filters to be judged."""
        return tuple(self._layers())

    def _layers(self) -> Iterator[LayerEvidence]:
        alive = ~self.dead & (self.fit.status != "non-finite")
        for (layer, rows), noise in zip(self.bank.parts(), self.noise.layers, strict=True):
            if alive[rows].sum() >= LEAST:
                yield LayerEvidence(layer, noise, rows, alive[rows])

    def share(self, places: Iterable[Place]) -> float:
        """Return the share of the filters of the network that some places concern."""
        return sum(place.filters for place in places) / len(self.bank)


def largest_first(places: Iterable[Place]) -> tuple[Place, ...]:
    """Put those places first that concern the most filters."""
    return tuple(sorted(places, key=lambda place: -place.filters))


def layers_of(places: Sequence[Place]) -> str:
    """Name the layers of places in a sentence, three of them."""
    return listed([place.layer for place in places], limit=3)


def percentages(values: Sequence[float], decimals: int = 0) -> str:
    """Write shares as one percentage, or as a range.

    Examples
    --------
    >>> percentages([0.25]), percentages([0.5, 0.254], 1)
    ('25 %', '25.4 to 50.0 %')
    """
    low, high = (f"{100 * end:.{decimals}f}" for end in (min(values), max(values)))
    return f"{low} %" if low == high else f"{low} to {high} %"
