"""Scalar products of filters with oriented receptive fields, without making their tables tap by tap."""

from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

from scalekeys.fitting.templates.products import FoldedTargets, Products
from scalekeys.fitting.templates.whole import WholeFamily
from scalekeys.scalespace import Family, Window
from scalekeys.scalespace.oriented_derivatives import (
    FieldDerivatives,
    field_derivatives,
    signs_of,
    variance_tables,
    weights_along,
)
from scalekeys.scalespace.parametrizations import Oriented
from scalekeys.scalespace.second_order import chained, pairs

_AT_ONCE = 256  # problems, whose fields with all derivatives stay in a cache
_SECTORS = 4
SECTOR = pi / _SECTORS


@dataclass(frozen=True, eq=False)
class OrientedTargets:
    """Filters, folded as they are and after a reflection of their rows.

    Parameters
    ----------
    rising, falling : Tensor, shape (n, coordinates)
    piece : Tensor of int64, shape (n,), optional
        Where the search of each stays, see :func:`piece_of`; by default where it is asked for.
    """

    rising: Tensor
    falling: Tensor
    piece: Tensor | None = None

    def select(self, index: Tensor) -> "OrientedTargets":
        """Return some of the filters."""
        piece = None if self.piece is None else self.piece[index]
        return OrientedTargets(self.rising[index], self.falling[index], piece)

    def within(self, piece: Tensor) -> "OrientedTargets":
        """Return the same for a search that stays in given pieces."""
        return OrientedTargets(self.rising, self.falling, piece)


class OrientedFamily(WholeFamily):
    """An oriented family on a window, see :class:`WholeFamily`, with sums of squares that are not weighted."""

    def __init__(self, family: Family, size: tuple[int, ...], window: Window, bend: float) -> None:
        super().__init__(family, size, window, bend)
        assert isinstance(family.parametrization, Oriented)
        self._order = family.parametrization.order
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
        signs = signs_of(coordinates) if folded.piece is None else signs_in(folded.piece).to(coordinates)
        arguments = variance_tables(coordinates, signs, self._bend)
        variances = torch.stack([one[0].clamp(min=0.0) for one in arguments])
        mixed = signs[1] * signs[2]
        own = torch.where(mixed[:, None] < 0, folded.falling, folded.rising)
        turns = mixed ** torch.arange(self._order + 1).to(mixed)[:, None]  # of differences in y, which is turned
        weights = weights_along(coordinates[2], self._order) * turns
        found = coordinates.new_empty(2, 15, coordinates.shape[1])
        fields = self._fields(centred=centred)
        for some in variances[2].argsort().split(_AT_ONCE):
            found[..., some] = _sums(fields(variances[:, some]), weights[..., some], own[some])
        angle = torch.zeros_like(arguments[0])
        angle[3] = 1.0
        with_filters, gram = chained(found.movedim(1, 0), [*arguments, angle], 3).unbind(1)
        return Products([with_filters], {(0, 0): gram}, 3)

    def _fields(self, *, centred: bool) -> FieldDerivatives:
        return field_derivatives(self._order, self.size, centred=centred)


def _sums(fields: Tensor, weights: Tensor, filters: Tensor) -> Tensor:
    """Return the products with filters and the squared norms, as tables in three variances and the angle: (2, 15, n).

    Parameters
    ----------
    fields : Tensor, shape (n, differences, 10, coordinates)
    weights : Tensor, shape (3, differences, n)
        With two derivatives in the angle.
    filters : Tensor, shape (n, coordinates)
    """
    turned = (weights.permute(2, 0, 1) @ fields.flatten(2)).unflatten(2, fields.shape[2:])
    value, first, second = turned.unbind(1)
    # The order of a table of four parameters, of which the angle is the last.
    table = torch.cat(
        [value[:, :4], first[:, :1], value[:, 4:7], first[:, 1:2], value[:, 7:9], first[:, 2:3], value[:, 9:]]
        + [first[:, 3:4], second[:, :1]],
        dim=1,
    )
    with_filters = (table @ filters[..., None])[..., 0].T
    products = table[:, :5] @ table.mT  # (n, 5, 15)
    norms = 2 * products[:, 0].T
    norms[0] /= 2
    for place, (i, j) in enumerate(pairs(4), 5):
        norms[place] += 2 * products[:, 1 + i, 1 + j]
    return torch.stack([with_filters, norms])


def piece_of(coordinates: Tensor) -> Tensor:
    """Return the piece of search coordinates (3, n) in which fields are smooth: twice its sector of angles, and side.

    The side is 1 where the field is longer along its angle than across it.
    """
    sector = (coordinates[2] / SECTOR).long().clamp(0, _SECTORS - 1)
    return 2 * sector + (coordinates[1] >= 0)


def signs_in(piece: Tensor) -> Tensor:
    """Return the signs of ``cos 2 phi``, ``sin 2 phi`` and the eccentricity inside pieces: shape (3, n)."""
    sector, side = piece // 2, piece % 2
    outer = (sector == 0) | (sector == _SECTORS - 1)
    return torch.stack([outer, sector < _SECTORS // 2, side == 1]).double() * 2 - 1


def bounds_of(piece: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ends of pieces, both of shape (3, n), given those of the whole search, (3,)."""
    low, high = (ends[:, None].repeat(1, len(piece)) for ends in (lower, upper))
    side = piece % 2 == 1
    low[1] = torch.where(side, low[1].clamp(min=0.0), low[1])
    high[1] = torch.where(side, high[1], high[1].clamp(max=0.0))
    low[2] = (piece // 2) * SECTOR
    high[2] = low[2] + SECTOR
    return low, high
