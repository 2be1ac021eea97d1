"""What the sections of a network report read: fits of filters and controls, their figures, and one row a filter."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from scalekeys.checkup import Checkup
from scalekeys.checkup.api import examined_fit
from scalekeys.filters import FilterBank
from scalekeys.fitting import Fit
from scalekeys.report.analysis.gains import Gains, gains_of
from scalekeys.report.analysis.summary import Fits, Summary, summary_of

AT_BOUND, POLYNOMIAL, INFINITE = "at-bound", "polynomial", "infinite"
"""Statuses of a filter, and the last one of a scale, that say that a search ended at an end of its range."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """The fit of a bank beside the fits of both its controls, with what the page needs of them.

    Parameters
    ----------
    fits : Fits
        See :func:`scalekeys.report.summarize`.
    summary : Summary
        Their figures.
    gains : Gains, optional
        What a free angle explains of the filters, where it was measured.
    given : Checkup, optional
        What the check-up says of the network, where more than its filters was examined.
    """

    fits: Fits
    summary: Summary
    gains: Gains | None = None
    given: Checkup | None = None

    @classmethod
    def of(cls, fit: Fit, white: Fit, matched: Fit, checkup: Checkup | None = None) -> "Analysis":
        """Summarize a fit and its controls."""
        fits = Fits(fit, white, matched)
        gains = gains_of(fits)
        return cls(fits, summary_of(fits, gains), gains, checkup)

    @property
    def fit(self) -> Fit:
        """The fit of the filters."""
        return self.fits.real

    @cached_property
    def checkup(self) -> Checkup:
        """What the check-up says of the network."""
        return self.given or examined_fit(self.fit, self.fits.matched)

    @cached_property
    def fitted(self) -> np.ndarray:
        """Which filters carry a fit; shape (filters,)."""
        return np.asarray(self.fit.family != "")

    @property
    def layer(self) -> np.ndarray:
        """Position of the layer of each filter; shape (filters,)."""
        return self.fit.bank.layer_of

    @cached_property
    def channel(self) -> np.ndarray:
        """Position of each filter in its layer; shape (filters,)."""
        return np.concatenate([np.arange(len(layer)) for layer in self.fit.bank.layers])

    @cached_property
    def size(self) -> np.ndarray:
        """Kernel size of each filter, as in the summary; shape (filters,)."""
        return np.take([layer.size for layer in self.summary.layers], self.layer)

    @cached_property
    def axes(self) -> np.ndarray:
        """Number of axes of each filter; shape (filters,)."""
        return np.take([len(layer.size) for layer in self.fit.bank.layers], self.layer)

    @cached_property
    def sigma(self) -> np.ndarray:
        """Scales (x, y, z) of each filter, NaN where there is none; shape (filters, axes)."""
        return np.asarray(self.fit.sigma.cpu().numpy())

    @cached_property
    def r2(self) -> np.ndarray:
        """Share explained of each filter; shape (filters,)."""
        return np.asarray(self.fit.r2.cpu().numpy())

    @cached_property
    def white_r2(self) -> np.ndarray:
        """Share explained of each filter of white noise; shape (filters,)."""
        return np.asarray(self.fits.white.r2.cpu().numpy())

    @cached_property
    def matched_r2(self) -> np.ndarray:
        """Share explained of each filter of matched noise; shape (filters,)."""
        return np.asarray(self.fits.matched.r2.cpu().numpy())

    @cached_property
    def infinite(self) -> np.ndarray:
        """Which filters have an infinite scale, along one axis at least; shape (filters,)."""
        return np.asarray(np.isinf(self.sigma).any(1))

    @cached_property
    def at_largest_strength(self) -> np.ndarray:
        """Which sharpening fits ended at the largest strength that is searched, with a scale inside its bounds."""
        side = np.array([max(layer.size) for layer in self.fit.bank.layers], dtype=float)[self.layer]
        words = np.asarray(self.fit.sigma_status)
        told = (words != "").any(1)
        scale_at_bound = np.where(
            told, (words == AT_BOUND).any(1), np.nan_to_num(self.sigma).max(1) >= side * (1 - 1e-6)
        )
        sharpening = np.isfinite(self.fit.alpha.cpu().numpy())
        return np.asarray((self.fit.status == AT_BOUND) & sharpening & ~scale_at_bound)

    @cached_property
    def at_largest_scale(self) -> np.ndarray:
        """Which fits ended at the largest scale that is searched, along one axis at least; shape (filters,)."""
        return np.asarray((self.fit.status == AT_BOUND) & ~self.at_largest_strength)

    def layer_name(self, index: int) -> str:
        """Name of the layer of a filter."""
        return self.fit.bank.layers[int(self.layer[index])].name

    def examples(self, family: str) -> list[tuple[str, int]]:
        """Pick the filters of a family that the gallery shows: best, median and worst by r2.

        Returns
        -------
        list of (str, int)
            What each stands for, and its position in the bank; fewer than three where a family has fewer filters.
        """
        mine = np.flatnonzero(self.fit.family == family)
        if not len(mine):
            return []
        ranked = mine[np.argsort(-self.r2[mine], kind="stable")]
        names = {1: ("only",), 2: ("best", "worst")}.get(len(ranked), ("best", "median", "worst"))
        places = {"only": 0, "best": 0, "median": len(ranked) // 2, "worst": -1}
        return [(name, int(ranked[places[name]])) for name in names]

    def filters_and_models(self, indices: Sequence[int]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the learned filter and its model for a few filters."""
        places = [(int(self.layer[index]), int(self.channel[index])) for index in indices]
        return [
            (
                _values(self.fit.bank.layers[layer].kernels[channel]),
                _values(self._models.layers[layer].kernels[channel]),
            )
            for layer, channel in places
        ]

    @cached_property
    def _models(self) -> FilterBank:
        """The models of all filters, layer by layer, also where an array was fitted."""
        models = self.fit.kernels()
        if isinstance(models, FilterBank):
            return models
        (layer,) = self.fit.bank.layers
        return self.fit.bank.with_filters([models.reshape(layer.kernels.shape)])


def _values(kernel: torch.Tensor) -> np.ndarray:
    return np.asarray(kernel.detach().double().cpu().numpy())
