"""Computed values beside published ones."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from scalekeys.filters import moment_normalization, spread
from scalekeys.paper import published
from scalekeys.paper.study import METHODS, SPREAD_MEASURES, Study, methods_with, spread_table
from scalekeys.scalespace import template

_FOUR_DECIMALS, _THREE_DECIMALS = 5e-5, 5e-4
_GRID = 5.5e-4 + 1e-4  # a step of the grids of the notebooks, and what printing four decimals rounds away at both ends
_PER_AXIS = {"variance-continuous": _THREE_DECIMALS, "variance": _THREE_DECIMALS, "l1": _GRID, "l2": _GRID}
_SHARED = 2e-4 + 1e-5  # the same for the grids of shared scales
_SCALE_7 = 0.707


@dataclass(frozen=True)
class Comparison:
    """One published figure and what is computed.

    Parameters
    ----------
    table : str
        Which table of the paper it belongs to, for example ``"scales, l2, common"``.
    filter : str
        Number of the filter.
    quantity : str
        What it is, for example ``"sigma_x"``.
    published, computed : float
    tolerance : float
        By how much they may differ: half a unit of the last decimal that the published search determines, or a step of
        its grid and the rounding of what is printed.
    """

    table: str
    filter: str
    quantity: str
    published: float
    computed: float
    tolerance: float

    @property
    def deviation(self) -> float:
        """Absolute difference."""
        return abs(self.computed - self.published)

    @property
    def reached(self) -> bool:
        """Whether the values agree within the tolerance."""
        return self.deviation <= self.tolerance


def compare(study: Study) -> list[Comparison]:
    """Return every published figure beside the computed one; nothing for filters that are not the paper's."""
    if not study.published:
        return []
    return [
        *_spread(study),
        *_offsets(study),
        *_normalised(study),
        *_scales(study),
        *_shared(study),
        *_sharpening(study),
    ]


def worst_deviations(comparisons: Iterable[Comparison]) -> dict[str, Comparison]:
    """Return the comparison with the largest deviation of each table."""
    worst: dict[str, Comparison] = {}
    for one in comparisons:
        if one.table not in worst or one.deviation > worst[one.table].deviation:
            worst[one.table] = one
    return worst


def _spread(study: Study) -> Iterable[Comparison]:
    for name, computed in zip(study.names, spread_table(study.spread).tolist(), strict=True):
        for quantity, value, known in zip(SPREAD_MEASURES, computed, published.SPREAD[name], strict=True):
            yield Comparison("spread", name, quantity, known, value, _FOUR_DECIMALS)


def _offsets(study: Study) -> Iterable[Comparison]:
    for name, known in published.DC_OFFSET.items():
        yield Comparison("DC offset", name, "C", known, study.dc_offset[name], _FOUR_DECIMALS)


def _normalised(study: Study) -> Iterable[Comparison]:
    """Spread of filters 7 and 8 after the normalisation by moments."""
    normal = {
        name: moment_normalization(study.filters[int(name) - 1], study.families[int(name) - 1]).filters
        for name in published.NORMALISED_L1_NORM
    }
    for name, known in published.NORMALISED_L1_NORM.items():
        yield Comparison("spread, normalised", name, "l1 norm", known, float(normal[name].abs().sum()), _FOUR_DECIMALS)
    for name, scale, quantities, figures in (
        ("7", _SCALE_7, ("Vxx", "Vyy"), published.WEIGHTED_SPREAD_7),
        ("8", 1.0, ("Vxx", "Vxy", "Vyy"), published.WEIGHTED_SPREAD_8),
    ):
        sigma = torch.tensor([scale, scale], dtype=torch.float64)
        found = spread(normal[name], weight=template("smooth", sigma, study.size, window="published")).covariance
        values = {"Vxx": found[0, 0], "Vxy": found[0, 1], "Vyy": found[1, 1]}
        for quantity, known in zip(quantities, figures, strict=True):
            yield Comparison("spread, weighted", name, quantity, known, float(values[quantity]), _FOUR_DECIMALS)


def _scales(study: Study) -> Iterable[Comparison]:
    for method in METHODS:
        sigma = study.fits["published", method.name].sigma
        if method.scales == "per-axis":
            for name, pair in published.PER_AXIS.get(method.criterion, {}).items():
                for axis, known in enumerate(pair):
                    value = float(sigma[int(name) - 1, axis])
                    table, quantity = f"scales, {method.criterion}, per axis", f"sigma_{'xy'[axis]}"
                    yield Comparison(table, name, quantity, known, value, _PER_AXIS[method.criterion])
        elif method.scales == "common":
            for name, known in published.COMMON[method.criterion].items():
                value = float(sigma[int(name) - 1, 0])
                yield Comparison(f"scales, {method.criterion}, common", name, "sigma", known, value, _THREE_DECIMALS)


def _shared(study: Study) -> Iterable[Comparison]:
    for method in methods_with("shared"):
        for group, known in published.SHARED[method.criterion].items():
            value = float(study.fits["published", method.name].sigma[study.groups[group][0], 0])
            yield Comparison(f"scales, {method.criterion}, shared", group, "sigma", known, value, _SHARED)


def _sharpening(study: Study) -> Iterable[Comparison]:
    for table, method, figures in (
        ("sharpening, l2", "D1", published.SHARPENING_L2),
        ("sharpening, l1", "C1", published.SHARPENING_L1),
    ):
        found = study.fits["published", method]
        for quantity, known, value in zip(
            ("sigma", "alpha"), figures, (found.sigma[6, 0], found.alpha[6]), strict=True
        ):
            yield Comparison(table, "7", quantity, known, float(value), _THREE_DECIMALS)
