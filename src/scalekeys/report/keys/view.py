"""What the sections of a report on keys read: the clustering, the filters behind it, and their figures."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import numpy as np
import pandas as pd
import torch

from scalekeys.clustering import KChoice, Keys
from scalekeys.clustering.windows import unit_rows
from scalekeys.errors import ModelError
from scalekeys.filters import FilterBank, LayerFilters, LeftOut
from scalekeys.fitting import Fit
from scalekeys.fitting.formation import beyond_white_noise
from scalekeys.report.keys.elimination import EliminationSummary
from scalekeys.report.keys.summary import CurvePoint, KeysSummary, KeySummary, LayerKeys
from scalekeys.report.page.numbers import finite, median
from scalekeys.report.page.words import AXES
from scalekeys.shapes import size_text


@dataclass(frozen=True, eq=False)
class KeysView:
    """A clustering, with what the page needs of it.

    Parameters
    ----------
    keys : Keys
    choice : KChoice or None
        The study of the number of keys, if there was one.
    threshold : float
        The correlation from which on a filter counts as covered.
    elimination : EliminationSummary or None
        What was eliminated, if the keys are what remained.
    """

    keys: Keys
    choice: KChoice | None
    threshold: float
    elimination: EliminationSummary | None = None

    @property
    def banks(self) -> tuple[FilterBank, ...]:
        """What was clustered."""
        return self.keys.banks

    @cached_property
    def assignment(self) -> np.ndarray:
        """Key of each filter, -1 where it has none; shape (filters,)."""
        return np.asarray(self.keys.assignment.cpu().numpy())

    @cached_property
    def correlation(self) -> np.ndarray:
        """Correlation of each filter with its key, without its sign, NaN where it has none; shape (filters,)."""
        return np.where(self.assignment < 0, np.nan, np.abs(self.keys.correlation.double().cpu().numpy()))

    @cached_property
    def filters(self) -> np.ndarray:
        """The keys as pictures; shape (keys, *sides)."""
        return np.asarray(self.keys.filters.cpu().numpy())

    @cached_property
    def fit(self) -> Fit | None:
        """The models of the keys in scale space; None where no family is defined on their size."""
        try:
            return self.keys.fit()
        except ModelError:
            return None

    @cached_property
    def status(self) -> list[str]:
        """How the fit of each key ended; a key that is explained no better than noise is unexplained."""
        if self.fit is None:
            return ["unsupported-size"] * len(self.keys)
        known = np.isnan(self.fit.r2.cpu().numpy()) | beyond_white_noise(self.fit)
        return [str(word) for word in np.where(known, self.fit.status, "unexplained")]

    @cached_property
    def models(self) -> np.ndarray:
        """The models of the keys as pictures, NaN where there is none; shape (keys, *sides)."""
        kernels = None if self.fit is None else self.fit.kernels()
        return kernels.cpu().numpy() if isinstance(kernels, torch.Tensor) else np.full_like(self.filters, np.nan)

    @cached_property
    def matches(self) -> pd.DataFrame:
        """The keys that were matched with published filters, and these."""
        return self.keys.match_published().dropna(subset="published")

    @cached_property
    def signs(self) -> dict[int, float]:
        """Sign of the correlation of each matched key with its published filter."""
        return {int(row["key"]): float(np.sign(row["correlation"])) or 1.0 for row in self.matches.to_dict("records")}

    @cached_property
    def layers(self) -> tuple[tuple[FilterBank, LayerFilters], ...]:
        """Every layer with its bank, in the order of the filters."""
        return tuple((bank, layer) for bank in self.banks for layer in bank.layers)

    @cached_property
    def starts(self) -> np.ndarray:
        """Position of the first filter of each layer, and the number of filters at the end."""
        return np.array([0, *accumulate(len(layer) for _, layer in self.layers)])

    @cached_property
    def layer(self) -> np.ndarray:
        """Position of the layer of each filter; shape (filters,)."""
        return np.repeat(np.arange(len(self.layers)), np.diff(self.starts))

    @cached_property
    def bank(self) -> np.ndarray:
        """Position of the bank of each filter; shape (filters,)."""
        return np.repeat(np.arange(len(self.banks)), [len(bank) for bank in self.banks])

    @cached_property
    def summary(self) -> KeysSummary:
        """The figures of the page."""
        return summarize_keys(self)

    def members(self, key: int) -> np.ndarray:
        """Return the positions of all members of a key, the closest first."""
        mine = np.flatnonzero(self.assignment == key)
        return mine[np.argsort(-self.correlation[mine], kind="stable")]

    def aligned(self, index: int) -> np.ndarray:
        """Return a filter as it is compared: centred, in the window of the keys, with the sign and frame of its key."""
        _, layer = self.layers[int(self.layer[index])]
        learned = layer.kernels[self.channel(index)].detach().cpu()
        row = unit_rows(learned[None], self.keys.window)[0][0].view(self.keys.window).numpy()
        mirrored, turns = divmod(int(self.keys.transform[index]), 4)
        back = np.rot90(row, -turns) if turns else row
        sign = np.sign(float(self.keys.correlation[index])) or 1.0
        return np.ascontiguousarray(sign * (np.fliplr(back) if mirrored else back))

    def channel(self, index: int) -> int:
        """Return the position of a filter in its layer."""
        return int(index - self.starts[self.layer[index]])


def summarize_keys(view: KeysView) -> KeysSummary:
    """Condense a clustering, its models and its matches."""
    keys, choice = view.keys, view.choice
    used = [place for place in range(len(view.layers)) if (view.assignment[view.layer == place] >= 0).any()]
    return KeysSummary(
        models=tuple(bank.model for bank in view.banks),
        size=size_text(view.filters.shape[1:]),
        weighting=keys.spec.weighting,
        symmetry=keys.spec.symmetry,
        filters=len(view.assignment),
        left_out=int((view.assignment < 0).sum()),
        negligible=int(keys.negligible.sum()),
        explained=keys.explained,
        white_noise=keys.white_noise,
        matched_noise=keys.matched_noise,
        threshold=view.threshold,
        coverage=keys.coverage(view.threshold),
        keys=tuple(_key(view, key) for key in range(len(view.filters))),
        layers=tuple(_layer(view, place) for place in used),
        curve=() if choice is None else _curve(choice.table),
        best_k=None if choice is None else choice.best,
        reason=None if choice is None else choice.reason,
        notes=(*_notes(view.banks), *keys.notes),
        not_read=_not_read(view.banks),
        elimination=view.elimination,
    )


def _notes(banks: tuple[FilterBank, ...]) -> tuple[str, ...]:
    """Collect what readers of sources noted, and about which source where there are several."""
    return tuple(f"{bank.model}: {note}" if len(banks) > 1 else note for bank in banks for note in bank.notes)


def _not_read(banks: tuple[FilterBank, ...]) -> tuple[LeftOut, ...]:
    """Collect what the sources hold and is not read, under the name of its network where there are several."""
    return tuple(
        replace(one, name=f"{bank.model}: {one.name}") if len(banks) > 1 else one
        for bank in banks
        for one in bank.left_out
    )


def _key(view: KeysView, key: int) -> KeySummary:
    mine = view.assignment == key
    match = view.matches[view.matches["key"] == key]
    found = None if match.empty else match.iloc[0]
    fit = view.fit
    fitted = fit is not None and bool(fit.family[key])
    sigma = [] if fit is None else fit.sigma[key].tolist()
    return KeySummary(
        key=key,
        members=int(mine.sum()),
        share=float(mine.sum() / max((view.assignment >= 0).sum(), 1)),
        median_correlation=median(view.correlation[mine]),
        family=str(fit.family[key]) if fit is not None and fitted else None,
        sigma={axis: None if np.isnan(value) else value for axis, value in zip(AXES, sigma, strict=False)},
        r2=None if fit is None else finite(float(fit.r2[key])),
        status=view.status[key],
        published=None if found is None else int(found["published"]),
        published_family=None if found is None else str(found["family"]),
        published_correlation=None if found is None else abs(float(found["correlation"])),
    )


def _layer(view: KeysView, place: int) -> LayerKeys:
    bank, layer = view.layers[place]
    mine = view.assignment[view.layer == place]
    mine, correlation = mine[mine >= 0], view.correlation[view.layer == place][mine >= 0]
    return LayerKeys(
        bank=int(view.bank[view.starts[place]]),
        model=bank.model,
        layer=layer.name,
        depth=layer.depth,
        size=size_text(layer.size),
        filters=len(mine),
        coverage=float((correlation >= view.threshold).mean()),
        members=tuple(np.bincount(mine, minlength=len(view.filters)).tolist()),
    )


def _curve(table: pd.DataFrame) -> tuple[CurvePoint, ...]:
    known = table.astype(object).where(table.notna(), None)
    return tuple(CurvePoint(*row) for row in known.itertuples(index=False, name=None))
