"""The study: all measures and fits of a few filters."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from scalekeys.errors import FilterError
from scalekeys.filters import MASTER_KEY_FAMILIES, Spread, dc_offset, master_keys, spread
from scalekeys.filters.scaling import norms
from scalekeys.fitting import Fit, fit, share_scales
from scalekeys.fitting.search.shared_scales import paper_group
from scalekeys.fitting.spec import Criterion, Scales
from scalekeys.paper.published import GROUPS
from scalekeys.scalespace import FAMILIES, WINDOWS, Window, family, template
from scalekeys.shapes import ArrayLike, as_float_tensor


@dataclass(frozen=True)
class Method:
    """One of the paper's ways to find scales.

    Parameters
    ----------
    name : str
        Its letter in the paper, with 1 for a scale for each axis, 2 for a common one, 3 for one shared by a group.
    criterion, scales : str
        See :func:`scalekeys.fit`.
    start : str
        For shared scales the method whose scales of single filters it starts from.
    """

    name: str
    criterion: Criterion
    scales: Scales
    start: str = ""


METHODS: tuple[Method, ...] = (
    Method("A1", "variance-continuous", "per-axis"),
    Method("B1", "variance", "per-axis"),
    Method("C1", "l1", "per-axis"),
    Method("D1", "l2", "per-axis"),
    Method("C2", "l1", "common"),
    Method("D2", "l2", "common"),
    Method("A3", "variance-continuous", "shared", start="A1"),
    Method("B3", "variance", "shared", start="B1"),
    Method("C3", "l1", "shared", start="C2"),
    Method("D3", "l2", "shared", start="D2"),
)
"""The paper's methods."""

SPREAD_MEASURES: tuple[str, ...] = ("l1 norm", "mean x", "mean y", "Vxx", "Vxy", "Vyy")
"""The columns of the paper's table of spread."""

RICHER_MODELS: dict[str, int] = {"ideal8": 4, "jet1": 6, "jet2": 9, "jet3": 13}
"""Models that are compared beyond the paper, with the numbers that each spends on a filter: scales (or scale and
strength), coefficients and offset."""


LARGEST_SIDE = 63
"""Of filters that can be studied; the largest depthwise kernels in use have 51 taps."""


@dataclass(frozen=True, eq=False)
class Study:
    """The analysis of k filters.

    Parameters
    ----------
    filters : Tensor, shape (k, rows, cols), float64
    families : tuple of str
        The family that models each filter.
    groups : dict of tuple of int
        Which filters (by index from 0) share a scale, by the name of the group.
    fits : dict of Fit
        By ``(window, method name)``; amplitudes are fixed by moments.
    richer : dict of Fit
        By model, with free amplitudes and offsets, least squares and the exact window.
    published : bool
        Whether these are the paper's eight filters.
    source : str
        Where the filters come from.
    """

    filters: Tensor
    families: tuple[str, ...]
    groups: dict[str, tuple[int, ...]]
    fits: dict[tuple[Window, str], Fit]
    richer: dict[str, Fit]
    published: bool
    source: str

    @property
    def names(self) -> tuple[str, ...]:
        """The filters are called by their number from 1."""
        return tuple(str(number) for number in range(1, len(self.filters) + 1))

    @cached_property
    def spread(self) -> Spread:
        """Spread measures of all filters."""
        return spread(self.filters)

    @cached_property
    def weighted_spread(self) -> Spread:
        """Spread of each filter, weighted with the template of its family at scale 1, in the published window.

        The DC offset of a smoothing or a sharpening is subtracted first, as for the scales by methods A and B, which
        rest on this spread. The template of `sharpen` has the strength of its l2 fit.
        """
        ones = torch.ones(2, dtype=torch.float64)
        alpha = self.fits["published", "D1"].alpha
        weights = [
            template(
                name,
                ones,
                self.size,
                alpha=alpha[index] if "alpha" in FAMILIES[name].parameters else None,
                window="published",
            ).abs()
            for index, name in enumerate(self.families)
        ]
        offsets = self.filters.new_tensor([self.dc_offset.get(name, 0.0) for name in self.names])
        return spread(self.filters - offsets[:, None, None], weight=torch.stack(weights))

    @cached_property
    def dc_offset(self) -> dict[str, float]:
        """The offset that is subtracted from each smoothing or sharpening filter, by its name."""
        offsets = dc_offset(self.filters)
        return {
            name: float(offsets[index])
            for index, (name, family) in enumerate(zip(self.names, self.families, strict=True))
            if FAMILIES[family].order == (0, 0)
        }

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the filters."""
        return self.filters.shape[1], self.filters.shape[2]

    def relative_error(self, method: str, window: Window = "published") -> Tensor:
        """Return ``|K - N| / |N|`` in the l2 norm for each filter, shape (k,)."""
        result = self.fits[window, method]
        return result.residual_l2 / norms(self.filters - result.offset[:, None, None])

    def objective(self, method: str, window: Window = "published") -> Tensor:
        """Return the l1 or l2 norm of ``K - N`` for each filter, shape (k,); the l2 norm where widths are compared."""
        result = self.fits[window, method]
        residual = result.residual_l1 if result.spec.criterion == "l1" else result.residual_l2
        return residual / result.amplitude.abs()

    def to_dict(self) -> dict[str, Any]:
        """Return the figures in the published window as plain numbers, in the form that ``--json`` writes."""
        plain = [index for index, name in enumerate(self.families) if "alpha" not in FAMILIES[name].parameters]
        sharpening = [index for index, name in enumerate(self.families) if "alpha" in FAMILIES[name].parameters]

        def sigma(method: str) -> list[list[float]]:
            numbers: list[list[float]] = self.fits["published", method].sigma.tolist()
            return numbers

        def strengths(method: str) -> dict[str, Any]:
            result = self.fits["published", method]
            found = {
                self.names[i]: {"sigma": float(result.sigma[i, 0]), "alpha": float(result.alpha[i])} for i in sharpening
            }
            return next(iter(found.values())) if len(found) == 1 else found

        means, weighted = self.spread, self.weighted_spread
        return {
            "source": self.source,
            "families": dict(zip(self.names, self.families, strict=True)),
            "spread": {
                name: {
                    "l1_norm": float(means.l1_norm[i]),
                    "mean": means.mean[i].tolist(),
                    "covariance": means.covariance[i].tolist(),
                }
                for i, name in enumerate(self.names)
            },
            "dc_offset": self.dc_offset,
            "weighted_spread": {
                name: {"mean": weighted.mean[i].tolist(), "covariance": weighted.covariance[i].tolist()}
                for i, name in enumerate(self.names)
            },
            "scales": {
                "per-axis": {
                    m.criterion: {self.names[i]: sigma(m.name)[i] for i in plain} for m in methods_with("per-axis")
                },
                "common": {
                    m.criterion: {self.names[i]: sigma(m.name)[i][0] for i in plain} for m in methods_with("common")
                },
                "shared": {
                    m.criterion: {group: sigma(m.name)[members[0]][0] for group, members in self.groups.items()}
                    for m in methods_with("shared")
                },
            },
            "sharpening": {"l1": strengths("C1"), "l2": strengths("D1")},
        }


def methods_with(scales: Scales) -> tuple[Method, ...]:
    """Return the methods that free such scales.

    Examples
    --------
    >>> [method.name for method in methods_with("common")]
    ['C2', 'D2']
    """
    return tuple(method for method in METHODS if method.scales == scales)


def spread_table(measured: Spread) -> Tensor:
    """Return the :data:`SPREAD_MEASURES` of a batch of filters, shape (..., 6)."""
    v = measured.covariance
    parts = (measured.l1_norm, *measured.mean.unbind(-1), v[..., 0, 0], v[..., 0, 1], v[..., 1, 1])
    return torch.stack(parts, dim=-1)


def study(
    filters: ArrayLike | None = None,
    *,
    families: Sequence[str] | None = None,
    groups: Sequence[Sequence[int]] | None = None,
    source: str = "the published master key filters",
) -> Study:
    """Repeat the paper's analysis on filters.

    Parameters
    ----------
    filters : Tensor or array, shape (k, rows, cols), optional
        By default the paper's eight.
    families : sequence of str, optional
        The family of each filter. By default those of the paper for its filters, and for others the family that
        explains most (least squares, free amplitude and offset).
    groups : sequence of sequences of int, optional
        The numbers (from 1) of the filters that share a scale. By default the paper's grouping in terms of families:
        centred differences in one group, one-sided differences and smoothing in another.
    source : str
        Where the filters come from, for tables and titles.

    Returns
    -------
    Study

    Raises
    ------
    FilterError
        If the filters have no shape (k, rows, cols), an even side, or one that is zero, constant or not finite; or if a
        group names a filter that is not there, twice, or of a family with a strength of its own.
    ModelError
        If a family is unknown, or there is not one for each filter.

    Examples
    --------
    >>> result = study(master_keys()[4:5], families=["dx"])  # filter 5 alone; study() takes all eight
    >>> [round(sigma, 4) for sigma in result.to_dict()["scales"]["per-axis"]["variance"]["1"]]
    [1.1067, 0.9448]
    """
    published = filters is None and (families is None or tuple(families) == MASTER_KEY_FAMILIES)
    values = master_keys() if filters is None else as_float_tensor(filters).double()
    _check(values)
    best = fit(values)
    names = MASTER_KEY_FAMILIES if published else tuple(map(str, best.family if families is None else families))
    for name in names:
        family(name)  # refuses names that are unknown for kernels of two axes
    members = _groups(groups, names) if groups is not None else GROUPS if published else _paper_groups(names)
    labels = [next((group for group, inside in members.items() if i in inside), None) for i in range(len(values))]

    fits: dict[tuple[Window, str], Fit] = {}
    for window in WINDOWS:
        for method in METHODS:
            if method.start:
                fits[window, method.name] = share_scales(fits[window, method.start], labels)
            else:
                fits[window, method.name] = fit_by(method, values, names, window=window)
    richer = {model: best if model == "ideal8" else fit(values, model) for model in RICHER_MODELS}
    return Study(values, names, members, fits, richer, published, source)


def fit_by(method: Method, filters: Tensor, families: Sequence[str], *, window: Window) -> Fit:
    """Fit filters, each by its family, by a method that gives each of them its own scales.

    `filters`: shape (k, rows, cols).
    `families`: one a filter.
    """
    return fit(
        filters,
        tuple(dict.fromkeys(families)),
        criterion=method.criterion,
        scales=method.scales,
        normalization="moment",
        window=window,
        families=families,
    )


def _check(filters: Tensor) -> None:
    """Refuse filters that cannot be studied, by their number."""
    if filters.ndim != 3 or not len(filters):
        raise FilterError(f"filters must have shape (filters, rows, cols), got {tuple(filters.shape)}")
    rows, cols = filters.shape[1:]
    if rows % 2 == 0 or cols % 2 == 0 or not 3 <= min(rows, cols) <= max(rows, cols) <= LARGEST_SIDE:
        sides = f"odd sides from 3 to {LARGEST_SIDE}"
        raise FilterError(f"the filters have {rows}x{cols} taps; the paper's analysis needs {sides}")
    for number, one in enumerate(filters, 1):
        if not bool(one.isfinite().all()):
            raise FilterError(f"filter {number} holds a value that is not finite")
        if float(one.max()) == float(one.min()):
            raise FilterError(f"filter {number} is constant, so it has no shape to model; leave it out")


def _groups(groups: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Check groups of numbers from 1, and name them."""
    seen: set[int] = set()
    for number in (number for group in groups for number in group):
        if not 1 <= number <= len(names):
            raise FilterError(f"a group names filter {number}; the filters are 1 to {len(names)}")
        if number in seen:
            raise FilterError(f"filter {number} stands twice in the groups")
        if "alpha" in FAMILIES[names[number - 1]].parameters:
            raise FilterError(
                f"filter {number} is a {names[number - 1]!r}, which has a scale and a strength of its own"
            )
        seen.add(number)
    separator = "-" if len(names) > 9 else ""
    return {separator.join(map(str, group)): tuple(number - 1 for number in group) for group in groups if group}


def _paper_groups(names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Group filters as the paper does, in terms of families."""
    groups: dict[str, list[int]] = {}
    for number, name in enumerate(names, 1):
        label = paper_group(name)
        if label is not None:
            groups.setdefault(label, []).append(number)
    return _groups(list(groups.values()), names)
