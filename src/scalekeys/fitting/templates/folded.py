"""Scalar products of filters with outer products of profiles, without making the templates.

A filter is folded along each axis by the symmetries of the profiles once, ``H = F_y h F_x^T``; then
``<h, y x^T> = y^T H x`` with profiles of half the length, and the products of templates are products of those of their
profiles. Everything is laid out with the filters last, so that each step is one operation on long rows.

For components less their means, with :math:`A = E + B` the product of two profiles along an axis, E that of their
deviations and B that of their means, the product over the axes is
:math:`E_1 B_2 B_3 + A_1 E_2 B_3 + A_1 A_2 E_3`: nothing is subtracted, so that nothing is lost at large scales.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from itertools import product as pairs_of

import torch
from torch import Tensor

from scalekeys.fitting.templates.axis_profiles import AxisProfiles, chebyshev, profiles_along, scale_factors
from scalekeys.fitting.templates.products import FoldedTargets, Products
from scalekeys.scalespace import Family, Window
from scalekeys.scalespace.second_order import entries, outer, pairs, product, tied, total


@dataclass(frozen=True, eq=False)
class Folded:
    """Filters, folded: one block for each combination of folds that a term of the family needs.

    `blocks`: shape (..., coordinates in y, coordinates in x, n); by the number of the fold along each axis, in the
    order (x, y, z).
    """

    blocks: dict[tuple[int, ...], Tensor]

    def select(self, index: Tensor) -> "Folded":
        """Return some of the filters."""
        return Folded({key: block.index_select(-1, index) for key, block in self.blocks.items()})


class FoldedFamily:
    """The scalar products of a family whose components are sums of outer products, on a window.

    `family`: with one variance along each axis for all components, or one for several axes.
    `bend`, `plain`: see :func:`.profiles_along`.
    """

    def __init__(
        self, family: Family, size: tuple[int, ...], window: Window, bend: float, *, plain: bool = False
    ) -> None:
        assert family.parametrization.groups is not None
        self.family, self.size = family, size
        self.groups, self.parameters = family.parametrization.groups, len(family.parametrization.names)
        self.axes = profiles_along(family, size, window, bend, plain=plain)
        self.terms = [
            [
                (
                    term.weight,
                    tuple(own.operators.index(name) for own, name in zip(self.axes, term.operators, strict=True)),
                )
                for term in component
            ]
            for component in family.components
        ]
        self._fold_of = [_numbered(own.folds) for own in self.axes]
        self._folds = {
            self._place(term): [own.folds[k] for own, k in zip(self.axes, term, strict=True)]
            for component in self.terms
            for _, term in component
        }
        self._alike = all(
            own.matrix.shape == self.axes[0].matrix.shape and torch.equal(own.matrix, self.axes[0].matrix)
            for own in self.axes
        )
        self._crossings = {
            (axis, a, b): own.crossing(a, own, b)
            for axis, own in enumerate(self.axes)
            for a, b in pairs_of(range(len(own.operators)), repeat=2)
        }

    def fold(self, targets: Tensor) -> Folded:
        """Fold filters of shape (n, taps)."""
        whole = targets.T.reshape(*self.size, -1)
        return Folded({place: folded(whole, folds) for place, folds in self._folds.items()})

    def products(self, folded: FoldedTargets, coordinates: Tensor, *, centred: bool) -> Products:
        """Return the scalar products at coordinates of shape (parameters, n).

        Filters have mean zero where `centred`.
        """
        assert isinstance(folded, Folded)
        profiles = self._profiles(coordinates)
        filters = [self._with_filters(terms, folded, profiles) for terms in self.terms]
        known, gram = _Known(), {}
        for first in range(len(self.terms)):
            for second in range(first, len(self.terms)):
                table = self._with_each_other(first, second, profiles, known, centred=centred)
                if table is not None:
                    gram[first, second] = table
        return self._weighted(Products(filters, gram, max(self.groups) + 1), coordinates)

    def mixed(self, coordinates: Tensor, weights: Tensor) -> Tensor:
        """Return centred mixtures of the components, shape (n, taps), with weights of shape (components, n)."""
        profiles = self._profiles(coordinates)
        own = self.family.parametrization.weights(coordinates)
        blocks: dict[tuple[int, ...], Tensor] = {}
        for number, terms in enumerate(self.terms):
            weight = weights[number] if own is None else weights[0] * own[0, number]
            for factor, term in terms:
                block = _outer_block([profiles[axis][k][0, :-1] for axis, k in enumerate(term)]) * (factor * weight)
                place = self._place(term)
                blocks[place] = blocks[place] + block if place in blocks else block
        models = []
        for place, block in blocks.items():
            if all(bool((fold[0] == fold[0, 0]).all()) for fold in self._folds[place]):
                block[(0,) * len(place)] = 0.0  # the mean, and nothing else
            models.append(folded(block, [fold.T for fold in self._folds[place]]).flatten(0, -2).T)
        model = torch.stack(models).sum(0)
        return model - model.mean(-1, keepdim=True)

    def factors(self, coordinates: Tensor) -> Tensor:
        """Return what components are multiplied by to become those of the family, shape (components, n)."""
        return scale_factors(self.axes, self.groups, coordinates).expand(self.family.coefficients, -1)

    def _place(self, term: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(numbers[k] for numbers, k in zip(self._fold_of, term, strict=True))

    def _profiles(self, coordinates: Tensor) -> list[list[Tensor]]:
        """Coordinates of the profiles along each axis, as :class:`AxisProfiles` returns them."""
        if self._alike and len(set(self.groups)) == 1:
            return [self.axes[0](coordinates[0])] * len(self.axes)
        return [own(coordinates[group]) for own, group in zip(self.axes, self.groups, strict=True)]

    def _with_filters(
        self, terms: Sequence[tuple[float, tuple[int, ...]]], folded: Folded, profiles: list[list[Tensor]]
    ) -> Tensor:
        tables = []
        for factor, term in terms:
            own = [profiles[axis][k][:, :-1] for axis, k in enumerate(term)]
            table = contracted(folded.blocks[self._place(term)], own)
            tables.append(table if factor == 1.0 else factor * table)
        return tied(total(tables), self.groups)

    def _with_each_other(
        self, first: int, second: int, profiles: list[list[Tensor]], known: "_Known", *, centred: bool
    ) -> Tensor | None:
        tables = []
        for number, (wa, one) in enumerate(self.terms[first]):
            for other_number, (wb, other) in enumerate(self.terms[second]):
                if first == second and other_number < number:
                    continue  # the same as with the terms exchanged
                weight = wa * wb * (2 if first == second and other_number > number else 1)
                keys = [(axis, a, b) for axis, (a, b) in enumerate(zip(one, other, strict=True))]
                if any(self._orthogonal(key) for key in keys):
                    continue
                table = self._product(keys, profiles, known, centred=centred)
                tables.append(table if weight == 1.0 else weight * table)
        return total(tables) if tables else None

    def _product(
        self, keys: list[tuple[int, int, int]], profiles: list[list[Tensor]], known: "_Known", *, centred: bool
    ) -> Tensor:
        """Product of two outer products, as a table in the parameters."""
        one_scale = len(set(self.groups)) == 1
        if one_scale and self._alike:  # the axes can be exchanged
            keys = sorted((0, min(a, b), max(a, b)) for _, a, b in keys)
        name = tuple(keys)
        if name not in known.tables:
            for key in keys:
                if key not in known.along:
                    axis, a, b = key
                    known.along[key] = products_along(profiles[axis][a], profiles[axis][b], self._crossings[key])
            along = [known.along[key] for key in keys]
            table = over_axes(along, centred=centred, one_scale=one_scale)
            known.tables[name] = table if one_scale else tied(table, self.groups)
        return known.tables[name]

    def _orthogonal(self, key: tuple[int, int, int]) -> bool:
        """Whether two profiles along an axis are orthogonal at all scales, by symmetry."""
        axis, a, b = key
        ones = self.axes[axis].ones
        means = any(bool((ones[k].abs() < 1e-12).all()) for k in (a, b))
        return means and not bool(self._crossings[key].any())

    def _weighted(self, products: Products, coordinates: Tensor) -> Products:
        """Join components whose weights are functions of the last parameter to one."""
        weights = self.family.parametrization.own_weights(coordinates)
        if weights is None:
            return products
        own = list(weights.unbind(1))
        filters = [outer([table, weight]) for table, weight in zip(products.filters, own, strict=True)]
        gram = []
        for (a, b), table in products.gram.items():
            part = outer([table, product(own[a], own[b], 1)])
            gram.append(part if a == b else 2 * part)
        return Products([total(filters)], {(0, 0): total(gram)}, self.parameters)


@dataclass(eq=False)
class _Known:
    """Products of profiles along axes and of outer products that are found already, by their numbers."""

    along: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = field(default_factory=dict)
    tables: dict[tuple[tuple[int, int, int], ...], Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class JointlyFolded:
    """Filters in the order of their families, folded by the symmetries of each."""

    block: Tensor
    """Shape (..., coordinates in y, coordinates in x, n). Filled up with zeros where a family has fewer."""
    ends: Tensor
    """Int64, shape (families,). Where the filters of each family end."""

    def select(self, index: Tensor) -> "JointlyFolded":
        """Return some of the filters, by ascending number."""
        return JointlyFolded(self.block.index_select(-1, index), torch.searchsorted(index, self.ends))


class OuterProducts:
    """The scalar products of filters with several families that are one outer product each, searched as one.

    The families differ in the rows that make a profile from the terms of a series, and in nothing after that. Filters
    stand in the order of their families, so that each family makes the profiles of its own part, and every other
    operation is one for all.

    `families`: of one window, each one outer product with a variance for each axis.
    """

    def __init__(self, families: Sequence[FoldedFamily]) -> None:
        self._families = families
        self.parameters = families[0].parameters
        self._axes = [[family.axes[axis] for family in families] for axis in range(self.parameters)]
        self._sides = [max(own.folds[0].shape[0] for own in axes) for axes in self._axes]
        self._lengths = [max(own.matrix.shape[2] for own in axes) for axes in self._axes]
        self._matrices = [
            [_padded(own, side, length) for own in axes]
            for axes, side, length in zip(self._axes, self._sides, self._lengths, strict=True)
        ]
        # In an even fold the mean is the first coordinate, and the others are the deviations from it.
        self._apart = [[bool((own.folds[0][0] == own.folds[0][0, 0]).all()) for own in axes] for axes in self._axes]

    def fold(self, targets: Sequence[Tensor]) -> JointlyFolded:
        """Fold the filters of each family, shape (n, taps)."""
        counts = [len(part) for part in targets]
        block = targets[0].new_zeros(*self._sides[::-1], sum(counts))
        for family, part, own in zip(self._families, targets, block.split(counts, dim=-1), strict=True):
            mine = next(iter(family.fold(part).blocks.values()))
            own[tuple(slice(0, side) for side in mine.shape[:-1])] = mine
        return JointlyFolded(block, torch.tensor(counts, device=block.device).cumsum(0))

    def products(self, folded: FoldedTargets, coordinates: Tensor, *, centred: bool) -> Products:
        """Return the products at coordinates of shape (parameters, n)."""
        assert isinstance(folded, JointlyFolded)
        ends = folded.ends.tolist()
        profiles, along = [], []
        for axis, u in enumerate(coordinates):
            rows, apart = self._profiles(axis, u, ends)
            profiles.append(rows[:, :-1])
            mean = squared(rows[:, -1:])
            first = squared(rows[:, :1]) - mean
            along.append((squared(rows[:, 1:-1]).addcmul_(first, apart), mean))
        table = over_axes(along, centred=centred)
        return Products([contracted(folded.block, profiles)], {(0, 0): table}, self.parameters)

    def _profiles(self, axis: int, u: Tensor, ends: list[int]) -> tuple[Tensor, Tensor]:
        """Coordinates and mean of each profile, (3, coordinates + 1, n), and 0 where the first one is the mean."""
        basis = chebyshev(self._axes[axis][0].position(u), self._lengths[axis])
        side = self._sides[axis] + 1
        rows, apart = basis.new_empty(3 * side, len(u)), basis.new_empty(len(u))
        parts = zip(self._matrices[axis], self._axes[axis], self._apart[axis], [0, *ends[:-1]], ends, strict=True)
        for matrix, own, is_apart, start, end in parts:
            if end > start:
                torch.mm(matrix.to(basis), basis[:, start:end], out=rows[:, start:end])
                own.rescaled(rows[:, start:end].unflatten(0, (3, side)), u[start:end])
                apart[start:end] = 0.0 if is_apart else 1.0
        return rows.unflatten(0, (3, side)), apart


@lru_cache(maxsize=64)
def outer_products(families: tuple[FoldedFamily, ...]) -> OuterProducts:
    """Return the joint products of some families, built once."""
    return OuterProducts(families)


def folded(whole: Tensor, folds: Sequence[Tensor]) -> Tensor:
    """Fold filters (*size, n) along each axis, given matrices in the order (x, y, z); transposed ones unfold them."""
    axes = whole.ndim - 1
    for axis, fold in enumerate(folds):
        place = axes - 1 - axis
        whole = torch.tensordot(fold.to(whole), whole, dims=([1], [place])).movedim(0, place)
    return whole.contiguous()


def contracted(block: Tensor, profiles: Sequence[Tensor]) -> Tensor:
    """Return the scalar products of folded filters with outer products of profiles, as a table: (entries, n).

    `block`: shape (..., coordinates in y, coordinates in x, n).
    `profiles`: shape (3, coordinates, n); with two derivatives, in the order (x, y, z).
    """
    x = profiles[0]
    moved = block[..., None, 0, :] * x[:, 0]  # (..., coordinates in y, 3, n)
    for b in range(1, x.shape[1]):
        moved.addcmul_(block[..., None, b, :], x[:, b])
    for count, profile in enumerate(profiles[1:], 1):
        axis = moved.ndim - 3
        plain = (moved * profile[0][:, None]).sum(axis)
        first = (moved[..., : 1 + count, :] * profile[1][:, None]).sum(axis)
        second = (moved[..., :1, :] * profile[2][:, None]).sum(axis)
        both = torch.cat([plain, first, second], dim=-2)
        moved = both.index_select(-2, torch.tensor(_order(count), device=both.device))
    return moved


@lru_cache(maxsize=8)
def _order(count: int) -> tuple[int, ...]:
    """Where rows of a table in ``count + 1`` parameters stand among those with 0, 1 and 2 derivatives in the last."""
    plain = {pair: 1 + count + place for place, pair in enumerate(pairs(count))}
    start = entries(count)
    mixed = {(i, count): start + 1 + i for i in range(count)} | {(count, count): start + 1 + count}
    return (*range(1 + count), start, *((plain | mixed)[pair] for pair in pairs(count + 1)))


def squared(rows: Tensor) -> Tensor:
    """Return the sum of squares of rows (3, rows, n) with two derivatives: (3, n)."""
    value, first, second = rows
    if rows.shape[1] == 0:
        return rows.new_zeros(3, rows.shape[2])
    return torch.stack(
        [(value * value).sum(0), 2 * (value * first).sum(0), 2 * (value * second + first * first).sum(0)]
    )


def products_along(first: Tensor, second: Tensor, crossing: Tensor) -> tuple[Tensor, Tensor]:
    """Return the products of the deviations of two profiles along an axis, and that of their means: (3, n) each."""
    moved = (
        second[:, :-1] if _is_identity(crossing) else torch.einsum("ab,dbn->dan", crossing.to(second), second[:, :-1])
    )
    return _multiplied(first[:, :-1], moved), _multiplied(first[:, -1:], second[:, -1:])


def over_axes(along: Sequence[tuple[Tensor, Tensor]], *, centred: bool, one_scale: bool = False) -> Tensor:
    """Return the product of outer products from those along each axis.

    A table with a parameter for each axis, or with one for all of them.
    """
    joined = _of_one_scale if one_scale else outer
    plain = [deviations + means for deviations, means in along]
    if not centred:
        return joined(plain)
    return total(
        [
            joined([*plain[:axis], deviations, *(means for _, means in along[axis + 1 :])])
            for axis, (deviations, _) in enumerate(along)
        ]
    )


def _of_one_scale(functions: Sequence[Tensor]) -> Tensor:
    """Product of functions of the same one parameter, given with two derivatives: (3, n)."""
    return reduce(lambda a, b: product(a, b, 1), functions)


def _multiplied(first: Tensor, second: Tensor) -> Tensor:
    """Scalar product of rows (3, rows, n) with two derivatives: (3, n)."""
    (a, da, dda), (b, db, ddb) = first, second
    return torch.stack([(a * b).sum(0), (da * b + a * db).sum(0), (dda * b + 2 * da * db + a * ddb).sum(0)])


def _is_identity(matrix: Tensor) -> bool:
    return matrix.shape[0] == matrix.shape[1] and torch.equal(matrix, torch.eye(len(matrix), dtype=matrix.dtype))


def _outer_block(profiles: Sequence[Tensor]) -> Tensor:
    """Outer product of coordinates (coordinates, n) in the order (x, y, z): shape (..., in y, in x, n)."""
    block = profiles[0]
    for profile in profiles[1:]:
        block = profile.reshape(len(profile), *(1,) * (block.ndim - 1), -1) * block
    return block


def _numbered(folds: Sequence[Tensor]) -> list[int]:
    """Return numbers of folds so that equal ones have the same number."""
    numbers: list[int] = []
    for fold in folds:
        same = [
            numbers[k]
            for k, other in enumerate(folds[: len(numbers)])
            if fold.shape == other.shape and torch.equal(fold, other)
        ]
        numbers.append(same[0] if same else len(numbers))
    return numbers


def _padded(own: AxisProfiles, side: int, length: int) -> Tensor:
    """Return the rows of the only profile, its coordinates filled up with zeros: shape (3 (side + 1), length)."""
    coordinates = own.matrix.shape[1] - 1
    blank = own.matrix.new_zeros(3, side - coordinates, own.matrix.shape[2])
    rows = torch.cat([own.matrix[:, :-1], blank, own.matrix[:, -1:]], dim=1)
    return torch.nn.functional.pad(rows, (0, length - rows.shape[2])).flatten(0, 1)
