"""What the sections of a network report read: a fit, its control, their figures, and one row a filter as columns."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch

from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.fitting import Fit, StackFit
from scalekeys.report.analysis.summary import Summary, summarize


@dataclass(frozen=True, eq=False)
class Analysis:
    """A fit beside the fit of its random control, with what the page needs of both.

    Parameters
    ----------
    fit, control : Fit
        See :func:`scalekeys.report.summarize`.
    summary : Summary
        Their figures.
    """

    fit: Fit
    control: Fit
    summary: Summary

    @classmethod
    def of(cls, fit: Fit, control: Fit) -> "Analysis":
        """Summarize a fit and its control."""
        return cls(fit, control, summarize(fit, control))

    @cached_property
    def fitted(self) -> np.ndarray:
        """Which filters carry a fit; shape (filters,)."""
        return np.asarray(self.fit.family != "")

    @cached_property
    def layer(self) -> np.ndarray:
        """Position of the layer of each filter; shape (filters,)."""
        layers = self.fit.bank.layers
        return np.repeat(np.arange(len(layers)), [len(layer) for layer in layers])

    @cached_property
    def channel(self) -> np.ndarray:
        """Position of each filter in its layer; shape (filters,)."""
        return np.concatenate([np.arange(len(layer)) for layer in self.fit.bank.layers])

    @cached_property
    def size(self) -> np.ndarray:
        """Kernel size of each filter, as in the summary; shape (filters,)."""
        return np.take([layer.size for layer in self.summary.layers], self.layer)

    @cached_property
    def sigma(self) -> np.ndarray:
        """Scales (x, y) of each filter; shape (filters, 2)."""
        return np.asarray(self.fit.sigma.cpu().numpy())

    @cached_property
    def r2(self) -> np.ndarray:
        """Share explained of each filter; shape (filters,)."""
        return np.asarray(self.fit.r2.cpu().numpy())

    @cached_property
    def control_r2(self) -> np.ndarray:
        """Share explained of each filter of the control; shape (filters,)."""
        return np.asarray(self.control.r2.cpu().numpy())

    @cached_property
    def at_largest_strength(self) -> np.ndarray:
        """Which sharpening fits ended at the largest strength that is searched, with a scale inside its bounds."""
        side = np.array([max(layer.size) for layer in self.fit.bank.layers], dtype=float)[self.layer]
        sharpening = np.isfinite(self.fit.alpha.cpu().numpy())
        return np.asarray(
            (self.fit.status == "at-bound") & sharpening & (np.nan_to_num(self.sigma).max(1) < side * (1 - 1e-6))
        )

    @cached_property
    def at_largest_scale(self) -> np.ndarray:
        """Which fits ended at the largest scale that is searched, along one axis at least; shape (filters,)."""
        return np.asarray((self.fit.status == "at-bound") & ~self.at_largest_strength)

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
        """Return the learned filter and its model for a few filters, without evaluating the rest of the bank."""
        pairs: list[tuple[np.ndarray, np.ndarray]] = []
        layers = []
        for index in indices:
            layer = self.fit.bank.layers[int(self.layer[index])]
            channel = int(self.channel[index])
            layers.append(LayerFilters(layer.name, layer.kernels[channel : channel + 1]))
        if not layers:
            return pairs
        rows = torch.tensor(list(indices), device=self.fit.values.family.device)
        values = StackFit(**{f.name: getattr(self.fit.values, f.name)[rows] for f in fields(StackFit)})
        models = Fit(FilterBank(tuple(layers)), self.fit.spec, values).kernels()
        assert isinstance(models, FilterBank)
        for learned, model in zip(layers, models.layers, strict=True):
            pairs.append((learned.kernels[0].detach().double().cpu().numpy(), model.kernels[0].double().cpu().numpy()))
        return pairs
