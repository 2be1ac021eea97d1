"""Scalar products of filters with oriented receptive fields, without making their tables tap by tap."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scalekeys.fitting.templates.oriented_pieces import pieces_of
from scalekeys.fitting.templates.products import FoldedTargets, Products
from scalekeys.fitting.templates.whole import WholeFamily
from scalekeys.scalespace import Family, Window
from scalekeys.scalespace.oriented import weights_along
from scalekeys.scalespace.oriented_derivatives import (
    FieldDerivatives,
    field_derivatives,
    signs_of,
    variance_tables,
)
from scalekeys.scalespace.parametrizations import Oriented
from scalekeys.scalespace.second_order import chained, entries, pairs

_AT_ONCE = 256  # problems, whose fields with all derivatives stay in a cache


@dataclass(frozen=True, eq=False)
class OrientedTargets:
    """Filters, folded as they are and after a reflection of their rows."""

    rising: Tensor
    falling: Tensor
    """`rising` and `falling`: shape (n, coordinates)."""
    piece: Tensor | None = None
    """Int64, shape (n,). The piece in whose coordinates products are asked for; by default in those of the search."""

    def select(self, index: Tensor) -> "OrientedTargets":
        """Return some of the filters."""
        piece = None if self.piece is None else self.piece[index]
        return OrientedTargets(self.rising[index], self.falling[index], piece)

    def within(self, piece: Tensor) -> "OrientedTargets":
        """Return the same filters, in given pieces."""
        return replace(self, piece=piece)


class OrientedFamily(WholeFamily):
    """An oriented family on a window, see :class:`WholeFamily`, for sums of squares that are not weighted.

    `pieces`: in which the fields are smooth.
    """

    def __init__(self, family: Family, size: tuple[int, ...], window: Window, bend: float) -> None:
        super().__init__(family, size, window, bend)
        assert isinstance(family.parametrization, Oriented)
        self._order = family.parametrization.order
        self.pieces = pieces_of(self._order, bend)
        fold = self._fields(centred=True).fold
        self._folds = fold, fold.unflatten(1, size).flip(1).flatten(1)

    def fold(self, targets: Tensor, metric: Tensor | None = None) -> OrientedTargets:  # type: ignore[override]
        """Fold filters of shape (n, taps)."""
        assert metric is None
        rising, falling = (targets @ fold.T.to(targets) for fold in self._folds)
        return OrientedTargets(rising, falling)

    def products(self, folded: FoldedTargets, coordinates: Tensor, *, centred: bool) -> Products:
        """Return the products at coordinates of shape (parameters, n)."""
        assert isinstance(folded, OrientedTargets)
        if folded.piece is None:
            signs = signs_of(coordinates)
            arguments, mixed = variance_tables(coordinates, signs, self._bend), signs[1] * signs[2]
        else:
            arguments, mixed = self.pieces.tables(coordinates, folded.piece)
        own = torch.where(mixed[:, None] < 0, folded.falling, folded.rising)
        turns = mixed ** torch.arange(self._order + 1).to(mixed)[:, None]  # of differences in y, which is turned
        weights = weights_along(coordinates[2], self._order) * turns
        if self._order:
            angle = torch.zeros_like(arguments[0])
            angle[0], angle[3] = coordinates[2], 1.0
            arguments = [*arguments, angle]
        variances = torch.stack([one[0].clamp(min=0.0) for one in arguments[:3]])
        sums = coordinates.new_empty(2, entries(len(arguments)), coordinates.shape[1])
        fields = self._fields(centred=centred)
        for some in variances[2].argsort().split(_AT_ONCE):
            rows = _along_angle(fields(variances[:, some]), weights[..., some])
            sums[..., some] = _sums(rows, own[some], len(arguments))
        with_filters, gram = chained(sums.movedim(1, 0), arguments, 3).unbind(1)
        return Products([with_filters], {(0, 0): gram}, 3)

    def _fields(self, *, centred: bool) -> FieldDerivatives:
        return field_derivatives(self._order, self.size, centred=centred)


def _along_angle(fields: Tensor, weights: Tensor) -> Tensor:
    """Return tables of fields in three variances, and in the angle if they differ along it: (n, entries, coordinates).

    `fields`: shape (n, differences, 10, coordinates).
    `weights`: shape (3, differences, n); with two derivatives in the angle, which is the last parameter.
    """
    if fields.shape[1] == 1:
        return fields[:, 0]
    turned = (weights.permute(2, 0, 1) @ fields.flatten(2)).unflatten(2, fields.shape[2:])
    value, first, second = turned.unbind(1)
    return torch.cat(
        [
            *(value[:, :4], first[:, :1]),
            *(value[:, 4:7], first[:, 1:2], value[:, 7:9], first[:, 2:3], value[:, 9:], first[:, 3:4], second[:, :1]),
        ],
        dim=1,
    )


def _sums(rows: Tensor, filters: Tensor, parameters: int) -> Tensor:
    """Return the products of tables (n, entries, coordinates) with filters, and their squares: (2, entries, n)."""
    with_filters = (rows @ filters[..., None])[..., 0].T
    products = rows[:, : 1 + parameters] @ rows.mT
    norms = 2 * products[:, 0].T
    norms[0] /= 2
    first, second = (torch.tensor(one) + 1 for one in zip(*pairs(parameters), strict=True))
    norms[1 + parameters :] += 2 * products[:, first, second].T
    return torch.stack([with_filters, norms])
