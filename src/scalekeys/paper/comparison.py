"""Computed values beside published ones."""

from collections.abc import Iterable
from dataclasses import dataclass

from scalekeys.paper import published
from scalekeys.paper.study import METHODS, SPREAD_MEASURES, Study, spread_table


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
    decimals : int
        To how many decimals they should agree: the published figures come from searches of that accuracy.
    """

    table: str
    filter: str
    quantity: str
    published: float
    computed: float
    decimals: int

    @property
    def deviation(self) -> float:
        """Absolute difference."""
        return abs(self.computed - self.published)

    @property
    def reached(self) -> bool:
        """Whether the values agree to the decimals, within half a unit of the last."""
        return self.deviation <= 0.5 * 10.0**-self.decimals


def compare(study: Study) -> list[Comparison]:
    """Return every published figure beside the computed one; nothing for filters that are not the paper's."""
    if not study.published:
        return []
    return [*_spread(study), *_offsets(study), *_scales(study), *_sharpening(study)]


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
            yield Comparison("spread", name, quantity, known, value, 4)


def _offsets(study: Study) -> Iterable[Comparison]:
    for name, known in published.DC_OFFSET.items():
        yield Comparison("DC offset", name, "C", known, study.dc_offset[name], 4)


def _scales(study: Study) -> Iterable[Comparison]:
    for method in METHODS:
        sigma = study.fits["published", method.name].sigma
        if method.scales == "per-axis":
            for name, pair in published.PER_AXIS.get(method.criterion, {}).items():
                for axis, known in enumerate(pair):
                    value = float(sigma[int(name) - 1, axis])
                    yield Comparison(
                        f"scales, {method.criterion}, per axis", name, f"sigma_{'xy'[axis]}", known, value, 3
                    )
        elif method.scales == "common":
            for name, known in published.COMMON[method.criterion].items():
                value = float(sigma[int(name) - 1, 0])
                yield Comparison(f"scales, {method.criterion}, common", name, "sigma", known, value, 3)


def _sharpening(study: Study) -> Iterable[Comparison]:
    l2, l1 = study.fits["published", "D1"], study.fits["published", "C1"]
    sigma, alpha = published.SHARPENING_L2
    yield Comparison("sharpening, l2", "7", "sigma", sigma, float(l2.sigma[6, 0]), 3)
    yield Comparison("sharpening, l2", "7", "alpha", alpha, float(l2.alpha[6]), 3)
    yield Comparison("sharpening, l1", "7", "alpha", published.SHARPENING_L1_ALPHA, float(l1.alpha[6]), 3)
