"""What tables, figures and sentences of an article take from a study."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scalekeys.paper import (
    METHODS,
    Comparison,
    Convention,
    Method,
    Study,
    compare,
    methods_with,
    questionable_conventions,
)
from scalekeys.report.page.words import listed
from scalekeys.scalespace import FAMILIES

METHOD: dict[str, Method] = {method.name: method for method in METHODS}
"""The methods by their names."""

PER_AXIS: tuple[str, ...] = tuple(method.name for method in methods_with("per-axis"))
COMMON: tuple[str, ...] = tuple(method.name for method in methods_with("common"))
SHARED: tuple[str, ...] = tuple(method.name for method in methods_with("shared"))
"""The methods by the scales that they free."""

_CRITERIA = {
    "variance-continuous": "variance of a continuous Gaussian",
    "variance": "variance",
    "l1": "l1",
    "l2": "l2",
}
_SCALES = {"per-axis": "a scale for each axis", "common": "one scale for both axes", "shared": "a scale for each group"}


@dataclass(frozen=True)
class Move:
    """How far the exact window moves one scale.

    Parameters
    ----------
    index : int
        The filter, from 0.
    method : str
    axis : {"x", "y", ""}
        Nothing where both axes have one scale.
    value : float
        Scale in the exact window minus scale in the published one.
    """

    index: int
    method: str
    axis: str
    value: float


@dataclass(frozen=True, eq=False)
class Material:
    """A study with what is derived from it once.

    Parameters
    ----------
    study : Study
    """

    study: Study

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Published values beside computed ones."""
        return compare(self.study)

    @cached_property
    def conventions(self) -> list[Convention]:
        """Disagreements with the published material."""
        return questionable_conventions(self.study)

    @cached_property
    def published(self) -> dict[tuple[str, str, str], Comparison]:
        """The comparisons by table, filter and quantity."""
        return {(one.table, one.filter, one.quantity): one for one in self.comparisons}

    @property
    def sharpening(self) -> list[int]:
        """The filters whose family has a strength."""
        return [i for i, family in enumerate(self.study.families) if "alpha" in FAMILIES[family].parameters]

    @property
    def plain(self) -> list[int]:
        """The filters whose family has none."""
        return [i for i in range(len(self.study.filters)) if i not in self.sharpening]

    @property
    def smoothing(self) -> list[int]:
        """The filters from which a DC offset is subtracted."""
        return [i for i, name in enumerate(self.study.names) if name in self.study.dc_offset]

    @cached_property
    def normalised(self) -> np.ndarray:
        """The filters N, shape (k, rows, cols)."""
        return self._normalise("D1", self.study.filters)

    def models(self, method: str) -> np.ndarray:
        """Return the models K of a method in the published window, shape (k, rows, cols)."""
        return self._normalise(method, self.study.fits["published", method].kernels())

    @cached_property
    def moves(self) -> list[Move]:
        """How far the exact window moves each scale, by filter and method."""
        return list(self._moves())

    def _moves(self) -> Iterator[Move]:
        for method in METHODS:
            shift = self.study.fits["exact", method.name].sigma - self.study.fits["published", method.name].sigma
            for i, pair in enumerate(shift.tolist()):
                if i in self.sharpening:
                    if method.name in ("C1", "D1"):  # the other methods take these
                        yield Move(i, method.name, "", pair[0])
                elif method.scales == "per-axis":
                    yield Move(i, method.name, "x", pair[0])
                    yield Move(i, method.name, "y", pair[1])
                else:
                    yield Move(i, method.name, "", pair[0])

    def _normalise(self, method: str, values: object) -> np.ndarray:
        result = self.study.fits["published", method]
        offset, amplitude = (part[:, None, None].numpy() for part in (result.offset, result.amplitude))
        with np.errstate(all="ignore"):
            normalised: np.ndarray = (np.asarray(values) - offset) / amplitude
        return normalised


def method_words(name: str) -> str:
    """Say what a method does.

    Examples
    --------
    >>> method_words("C2")
    'l1, one scale for both axes'
    """
    method = METHOD[name]
    return f"{_CRITERIA[method.criterion]}, {_SCALES[method.scales]}"


def methods_words(methods: Sequence[str]) -> str:
    """Say what several methods do, in groups of equal scales.

    Examples
    --------
    >>> methods_words(("C2", "D2", "B3"))
    'C2 l1 and D2 l2, one scale for both axes; B3 variance, a scale for each group'
    """
    groups: dict[str, list[str]] = {}
    for name in methods:
        groups.setdefault(METHOD[name].scales, []).append(f"{name} {_CRITERIA[METHOD[name].criterion]}")
    return "; ".join(f"{listed(names)}, {_SCALES[scales]}" for scales, names in groups.items())


def members(study: Study, group: str) -> list[str]:
    """Return the numbers of the filters of a group."""
    return [study.names[i] for i in study.groups[group]]
