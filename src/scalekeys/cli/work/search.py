"""How ``scalekeys keys`` seeks keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from scalekeys.cli.work import Step
from scalekeys.clustering import KChoice, Keys, choose_k, cluster, distinct_filters
from scalekeys.clustering.spec import Sizes, Symmetry, Weighting
from scalekeys.filters import FilterBank


@dataclass(frozen=True)
class Search:
    """How keys are sought; the names are those of :func:`scalekeys.cluster`."""

    seed: int
    restarts: int
    weighting: Weighting
    symmetry: Symmetry
    sizes: Sizes
    axes: int | None
    layers: Sequence[str] | None

    @property
    def without_weighting(self) -> dict[str, Any]:
        """The options of a search in which all filters count alike."""
        return {name: value for name, value in vars(self).items() if name != "weighting"}

    def keys(self, banks: Sequence[FilterBank], k: int, step: Step, *, controls: bool = True) -> Keys:
        """Find so many keys, and as many of white and of matched noise beside them."""
        beside = ", and those of noise" if controls else ""
        progress = step(f"finding {k} key{'' if k == 1 else 's'}{beside}", sum(map(len, banks)))
        return cluster(banks, k, **vars(self), controls=controls, progress=progress)

    def filters(self, banks: Sequence[FilterBank]) -> Tensor:
        """Return the filters among which keys are sought, without those that are nearly the same."""
        return distinct_filters(banks, sizes=self.sizes, layers=self.layers, axes=self.axes)

    def choice(self, banks: Sequence[FilterBank], ks: Sequence[int], step: Step) -> KChoice | None:
        """Compare numbers of keys, if there are any to compare."""
        if not ks:
            return None
        return choose_k(banks, ks, **vars(self), progress=step("comparing numbers of keys", len(ks)))
