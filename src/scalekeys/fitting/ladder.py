"""What explains the rest: richer models one after another, and whether noise gains as much from each of them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from scalekeys.errors import FilterError, ModelError
from scalekeys.filters import FilterBank
from scalekeys.fitting.api import fit as fit_filters
from scalekeys.fitting.ladder_steps import MODELS_IN_ORDER, Sample, Step, steps_of
from scalekeys.fitting.orientation import orientation
from scalekeys.fitting.result import Fit
from scalekeys.fitting.spec import IDEAL, FitSpec, parse_spec
from scalekeys.scalespace import ORIENTED, families
from scalekeys.shapes import size_text

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE, _LEAST, _MOST = 400, 4, 64  # filters of a network, and the least and the most of a layer
_ORIENTED_NUMBERS = families(2)[ORIENTED[0]].numbers + 1  # which family counts as one more


@dataclass(frozen=True)
class LadderGroup:
    """The steps for the filters of one layer, of one kernel size, or of a network.

    Parameters
    ----------
    name, size : str
        Of the layer, or of the network; and of its kernels, several separated by commas.
    filters, sampled : int
        How many filters carry a fit, and how many of them were fitted by all models.
    steps : tuple of Step
        Those models that have a form on these kernels, in their order.
    """

    name: str
    size: str
    filters: int
    sampled: int
    steps: tuple[Step, ...]

    def rows(self) -> list[dict[str, object]]:
        """Return one flat row a step."""
        group = {"layer": self.name, "kernel_size": self.size, "filters": self.filters, "sampled": self.sampled}
        return [group | _flat(asdict(step)) for step in self.steps]


@dataclass(frozen=True)
class Ladder:
    """What explains the filters of a network, model by model.

    Parameters
    ----------
    network : LadderGroup
        All filters together; intervals are those of draws of layers where there are five or more.
    sizes : tuple of LadderGroup
        By kernel size, the largest first.
    layers : tuple of LadderGroup
        In the order of the bank; layers without a fit are left out.
    """

    network: LadderGroup
    sizes: tuple[LadderGroup, ...]
    layers: tuple[LadderGroup, ...]

    def to_pandas(self) -> "pd.DataFrame":
        """Return one row for each layer and step."""
        import pandas as pd

        return pd.DataFrame([row for group in self.layers for row in group.rows()])


def ladder(
    fit: Fit,
    white: Fit,
    matched: Fit,
    *,
    sample: int = _SAMPLE,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Ladder:
    """Fit richer models to a sample of filters and of both controls, and say what each adds to those before it.

    Parameters
    ----------
    fit : Fit
        Of the idealized families, with the default options.
    white, matched : Fit
        The same fits of :func:`scalekeys.white_noise_like` and :func:`scalekeys.matched_noise_like` of the same bank.
    sample : int
        About how many filters are taken, spread evenly over the layers: at least 4 and at most 64 of each, evenly
        spaced among those with a fit. Each stands for as many filters of its layer as were left out.
    seed : int
        Of the draws that give the intervals.
    progress : callable, optional
        Called with the number of fits done since the last call.

    Returns
    -------
    Ladder

    Raises
    ------
    FilterError
        If the fits are not those of the idealized families, have no fitted filter, or are not those of the same bank.

    Notes
    -----
    The models are ``ideal``, ``second-order``, ``jet2`` and ``oriented``. They are not nested: ``second-order`` holds
    none of the idealized families; ``jet2`` holds the second-order families and, on odd sides, all idealized ones but
    ``sharpen`` and those with an infinite scale; ``oriented`` holds no one-sided difference, ``sharpen``, ``dxy`` or
    ``laplacian``. A step is therefore the best of all models up to it, filter by filter. More models explain more of
    anything, so that a gain counts only as far as it exceeds that of noise. The oriented families are searched on the
    grid of :func:`orientation`, without the refinement between its nodes that the other models get: a refined search
    costs ten times as much as all other models.

    The intervals come from 2,000 draws with replacement: of filters with the noise in their place for a layer, and of
    whole layers for a kernel size and a network with five layers or more. They hold 95 % of the draws where many things
    are drawn, and more of them where few are (Hesterberg's expanded percentiles).

    References
    ----------
    T. C. Hesterberg, "What teachers should know about the bootstrap: resampling in the undergraduate statistics
    curriculum", The American Statistician 69(4):371-386, 2015.

    Examples
    --------
    >>> import scalekeys as sk
    >>> keys = sk.FilterBank.from_tensor(sk.master_keys())
    >>> found = ladder(sk.fit(keys), sk.fit(sk.white_noise_like(keys)), sk.fit(sk.matched_noise_like(keys)))
    >>> for step in found.network.steps:
    ...     print(step.model, step.numbers, round(step.explained.filters, 3))
    ideal 5 0.884
    second-order 5 0.884
    jet2 9 0.97
    oriented 6 0.97
    """
    fits = (fit, matched, white)
    _check(fits)
    rows = _chosen(fits, sample)
    if not len(rows):
        raise FilterError(f"{fit.bank.model}: no filter has a fit, so that there is nothing to compare models on")
    layer_of = fit.bank.layer_of
    fitted = np.bincount(layer_of[fit.family != ""], minlength=len(fit.bank.layers))
    chosen = np.bincount(layer_of[rows], minlength=len(fit.bank.layers))
    norm = fit.values.norm.cpu().numpy()[rows]
    layer = layer_of[rows]
    weight = (norm / norm.max()) ** 2 * fitted[layer] / chosen[layer]
    whole = Sample(layer, weight, *_fitted(fits, rows, layer, progress))
    names = [own.name for own in fit.bank.layers]
    sizes = [size_text(own.size) for own in fit.bank.layers]

    def group(name: str, size: str, layers: Sequence[int]) -> LadderGroup:
        mine = whole.of(np.isin(layer, layers))
        return LadderGroup(name, size, int(fitted[list(layers)].sum()), len(mine.layer), steps_of(mine, seed))

    everything = [place for place in range(len(names)) if chosen[place]]
    by_size = {size: [place for place in everything if sizes[place] == size] for size in map(size_text, fit.bank.sizes)}
    return Ladder(
        group(fit.bank.model, ", ".join(size for size, own in by_size.items() if own), everything),
        tuple(group(fit.bank.model, size, own) for size, own in by_size.items() if own),
        tuple(group(names[place], sizes[place], [place]) for place in everything),
    )


def has_ladder(spec: FitSpec, axes: Sequence[int]) -> bool:
    """Tell whether a fit is the first step of a ladder: that of the idealized families, with the default options."""
    return replace(spec, model=IDEAL) == parse_spec(IDEAL, dict.fromkeys(axes))


def _check(fits: Sequence[Fit]) -> None:
    """Refuse fits that are not the first step of a ladder, or not of one bank."""
    first = fits[0]
    if any(not has_ladder(one.spec, [layer.axes for layer in one.bank]) for one in fits):
        raise FilterError(f"a ladder begins with fits of the model 'ideal' with the default options, got {first.spec}")
    if any([len(layer) for layer in one.bank] != [len(layer) for layer in first.bank] for one in fits[1:]):
        raise FilterError("the noise is not that of the filters: its layers hold other numbers of filters")


def _chosen(fits: Sequence[Fit], sample: int) -> np.ndarray:
    """Return the rows of a sample of the filters that carry a fit, as their noise does: evenly spaced in each layer."""
    fitted = np.logical_and.reduce([fit.family != "" for fit in fits])
    known = [np.flatnonzero(fitted[part]) + part.start for _, part in fits[0].bank.parts()]
    most = min(max(sample // max(1, sum(len(rows) > 0 for rows in known)), _LEAST), _MOST)
    places = [np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int) for rows in known]
    return np.concatenate([rows[place] for rows, place in zip(known, places, strict=True)])


def _fitted(
    fits: Sequence[Fit], rows: np.ndarray, layer: np.ndarray, progress: Callable[[int], None] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return what each model explains, (models, kinds, filters), and its numbers a filter, (models, filters)."""
    bank = _joined(fits, rows, layer)
    shares, numbers = [_of_kinds([fit.r2[rows] for fit in fits])], [fits[0].numbers[rows]]
    for model in MODELS_IN_ORDER[1:-1]:
        try:
            found = fit_filters(bank, model, progress=progress)
        except ModelError:  # the model has no form on any of these kernels
            shares.append(np.full_like(shares[0], np.nan))
            numbers.append(torch.zeros_like(numbers[0]))
        else:
            shares.append(_of_kinds(found.r2.chunk(len(fits))))
            numbers.append(found.numbers[: len(rows)])
    known = any(own.axes == 2 for own in bank)
    angled = orientation(bank).free if known else torch.full((len(bank),), torch.nan)
    shares.append(_of_kinds(angled.chunk(len(fits))))
    numbers.append(torch.where(angled[: len(rows)].isfinite(), _ORIENTED_NUMBERS, 0))
    return np.stack(shares), np.stack([own.cpu().numpy() for own in numbers])


def _of_kinds(shares: Sequence[torch.Tensor]) -> np.ndarray:
    """Stack the shares of the filters and of both kinds of noise: (kinds, filters)."""
    return np.stack([own.cpu().numpy() for own in shares])


def _joined(fits: Sequence[Fit], rows: np.ndarray, layer: np.ndarray) -> FilterBank:
    """Return the sampled filters and then their noise as one bank, centred and of unit norm, so that none is dead."""
    layers = []
    for fit in fits:
        for (own, part), place in zip(fit.bank.parts(), range(len(fit.bank.layers)), strict=True):
            mine = torch.as_tensor(rows[layer == place] - part.start, device=own.kernels.device)
            if len(mine):
                flat = own.kernels[mine].detach().double().flatten(1)
                flat = flat / flat.abs().amax(1, keepdim=True)
                centred = flat - flat.mean(1, keepdim=True)
                unit = centred / torch.linalg.vector_norm(centred, dim=1, keepdim=True)
                layers.append(replace(own, kernels=unit.reshape(len(mine), *own.size)))
    return FilterBank(tuple(layers), model=fits[0].bank.model)


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested figures as one row, their names joined."""
    row: dict[str, object] = {}
    for name, value in values.items():
        row |= _flat(value, f"{prefix}{name}_") if isinstance(value, dict) else {prefix + name: value}
    return row
