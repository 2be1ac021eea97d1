"""Several families that are outer products of two profiles, searched as one.

The families differ in the rows that make a profile from the kernel, and in nothing after that. Filters stand in the
order of their families, so that each family makes the profiles of its own part, and every other operation is one for
all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scalekeys.fitting.products import FoldedTargets, Products, leibniz
from scalekeys.fitting.profiles import Profile, squared
from scalekeys.fitting.separable import Separable, contracted, outer, table_of
from scalekeys.fitting.series import kernel_series


@dataclass(frozen=True, eq=False)
class JointlyFolded:
    """Filters in the order of their families, folded by the symmetries of each.

    Parameters
    ----------
    block : Tensor, shape (folded taps in y, folded taps in x, n)
        Filled up with zeros where a family has fewer.
    ends : Tensor of int64, shape (families,)
        Where the filters of each family end.
    """

    block: Tensor
    ends: Tensor

    def select(self, index: Tensor) -> "JointlyFolded":
        """Return some of the filters, by ascending number."""
        return JointlyFolded(self.block.index_select(-1, index), torch.searchsorted(index, self.ends))


class OuterProducts:
    """The scalar products of filters, each with its own of several families.

    Parameters
    ----------
    families : sequence of Separable
        Of one window, each an outer product of two profiles with a scale for each axis.
    """

    def __init__(self, families: Sequence[Separable]) -> None:
        self._families = families
        self.taps = families[0].taps
        self._shape = (
            max(family.y.folds[0].shape[0] for family in families),
            max(family.x.folds[0].shape[0] for family in families),
        )
        sides = [[family.y for family in families], [family.x for family in families]]
        series = max((axis.series for side in sides for axis in side), key=lambda one: one.radius)
        self._series = kernel_series(series.radius, series.maximum)
        self._matrices = [
            [self._from_basis(axis.padded(taps)) for axis in side]
            for side, taps in zip(sides, self._shape, strict=True)
        ]

    def _from_basis(self, rows: Tensor) -> Tensor:
        """Return rows that act on the terms of the series instead of on the kernel, shape (3 (taps + 2), length)."""
        return rows.flatten(0, 1) @ self._series.coefficients[: rows.shape[-1]]

    def fold(self, targets: Sequence[Tensor]) -> JointlyFolded:
        """Fold the filters of each family, shape (n, taps)."""
        counts = [len(part) for part in targets]
        block = targets[0].new_zeros(*self._shape, sum(counts))
        for family, part, own in zip(self._families, targets, block.split(counts, dim=-1), strict=True):
            folded = next(iter(family.fold(part).blocks.values()))
            own[: folded.shape[0], : folded.shape[1]] = folded
        return JointlyFolded(block, torch.tensor(counts, device=block.device).cumsum(0))

    def products(self, folded: FoldedTargets, parameters: Tensor, *, centred: bool) -> Products:
        """Return the products at parameters of shape (2, n)."""
        assert isinstance(folded, JointlyFolded)
        ends = folded.ends.tolist()
        y, x = (self._profiles(side, parameters[1 - side], ends) for side in (0, 1))
        gram = outer(squared(x.taps), squared(y.taps))
        if centred:
            total = outer(x.total, y.total)
            gram = gram - leibniz(total, total) / self.taps
        return Products([table_of(contracted(folded.block, x.taps), y.taps)], {(0, 0): gram})

    def _profiles(self, side: int, t: Tensor, ends: list[int]) -> Profile:
        basis = self._series.basis(t)
        rows = basis.new_empty(self._matrices[side][0].shape[0], len(t))
        for matrix, start, end in zip(self._matrices[side], [0, *ends[:-1]], ends, strict=True):
            if end > start:
                rows[:, start:end] = matrix.to(basis) @ basis[:, start:end]
        values = rows.unflatten(0, (3, -1))
        return Profile(values[:, :-2], values[:, -2], values[:, -1])
