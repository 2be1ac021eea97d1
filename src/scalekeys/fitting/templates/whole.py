"""Whole templates with derivatives, for families that are no outer products and for errors that are weighted."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scalekeys.fitting.templates.axis_profiles import profiles_along, scale_factors
from scalekeys.fitting.templates.products import FoldedTargets, Products
from scalekeys.scalespace import Family, Window
from scalekeys.scalespace.oriented_derivatives import oriented_tables
from scalekeys.scalespace.parametrizations import Oriented
from scalekeys.scalespace.second_order import chained, entries, lifted, outer, pairs, product, tied


@dataclass(frozen=True, eq=False)
class WholeTargets:
    """Filters as they are, each with the matrix that weights its errors."""

    taps: Tensor
    """Shape (n, taps)."""
    metric: Tensor | None = None
    """Shape (n, taps, taps). S of the error ``e^T S e``; the sum of squares without it."""

    def select(self, index: Tensor) -> "WholeTargets":
        """Return some of the filters."""
        return WholeTargets(self.taps[index], None if self.metric is None else self.metric[index])


class WholeFamily:
    """The templates of a family on a window, and their scalar products ``<a, b> = a^T S b``.

    `bend`, `plain`: see :func:`.profiles_along`.
    """

    def __init__(
        self, family: Family, size: tuple[int, ...], window: Window, bend: float, *, plain: bool = False
    ) -> None:
        self.family, self.size = family, size
        self.parametrization, self.parameters = family.parametrization, len(family.parametrization.names)
        self.axes = profiles_along(family, size, window, bend, plain=plain)
        self._bend = bend

    def __call__(self, coordinates: Tensor) -> Tensor:
        """Return the templates at coordinates of shape (parameters, n), as tables: (entries, components, taps, n)."""
        if isinstance(self.parametrization, Oriented):
            return oriented_tables(coordinates, self.parametrization.order, self.size, self._bend)[:, None]
        weights = self.parametrization.weights(coordinates)
        places = (
            None if self.parametrization.groups is not None else self.parametrization.places(coordinates, self._bend)
        )
        shared = None if places is not None else self._profiles(coordinates[list(self.parametrization.groups or ())])
        total, components = None, []
        for number, component in enumerate(self.family.components):
            own = shared if places is None else self._profiles(places[0, number])
            assert own is not None
            field = self._field(component, own)
            if places is not None:
                field = chained(field, places[:, number].unbind(1), self.parameters)
            elif len(field) < entries(self.parameters):
                field = lifted(field, self.parameters)
            if weights is None:
                components.append(field)
                continue
            part = product(weights[:, number, None], field, self.parameters)
            total = part if total is None else total + part
        return torch.stack(components, dim=1) if total is None else total[:, None]

    def fold(self, targets: Tensor, metric: Tensor | None = None) -> WholeTargets:
        """Join filters of shape (n, taps) with their metrics."""
        return WholeTargets(targets, metric)

    def products(self, folded: FoldedTargets, coordinates: Tensor, *, centred: bool) -> Products:
        """Return the products at coordinates of shape (parameters, n).

        Centred means, with a metric: orthogonal to constants in its sense.
        """
        assert isinstance(folded, WholeTargets)
        table = self(coordinates)
        count, components = table.shape[:2]
        rows = table.flatten(0, 1).permute(2, 0, 1).contiguous()  # (n, entries * components, taps)
        if centred:
            rows = orthogonal_to_constants(rows - rows.mean(-1, keepdim=True), folded.metric)
        weighted = rows if folded.metric is None else rows @ folded.metric
        with_filters = (weighted @ folded.taps[..., None])[..., 0].unflatten(1, (count, components))
        gram = (weighted @ rows.mT).reshape(-1, count, components, count, components).movedim(0, -1)
        return Products(
            [with_filters[:, :, component].T.contiguous() for component in range(components)],
            {
                (a, b): _derivatives(gram[:, a, :, b], self.parameters)
                for a in range(components)
                for b in range(a, components)
            },
            self.parameters,
        )

    def mixed(self, coordinates: Tensor, weights: Tensor) -> Tensor:
        """Return centred mixtures of the components, shape (n, taps), with weights of shape (components, n)."""
        values = self(coordinates)[0]
        model = ((values - values.mean(1, keepdim=True)) * weights[:, None]).sum(0).T
        return model - model.mean(-1, keepdim=True)

    def factors(self, coordinates: Tensor) -> Tensor:
        """Return what components are multiplied by to become those of the family, shape (components, n)."""
        groups = self.parametrization.groups
        power = torch.ones_like(coordinates[0]) if groups is None else scale_factors(self.axes, groups, coordinates)
        return power.expand(self.family.coefficients, -1)

    def _profiles(self, places: Tensor) -> list[list[Tensor]]:
        """Profiles along each axis with two derivatives, each of shape (3, taps, n), at coordinates (axes, n)."""
        return [
            [torch.einsum("ct,dcn->dtn", own.folds[k].to(rows), rows[:, :-1]) for k, rows in enumerate(own(place))]
            for own, place in zip(self.axes, places, strict=True)
        ]

    def _field(self, component: Sequence, profiles: list[list[Tensor]]) -> Tensor:  # type: ignore[type-arg]
        """Sum of outer products, as a table in the parameters of the axes, tied as they are: (entries, taps, n)."""
        total = None
        for term in component:
            along = []
            for axis, (own, name) in enumerate(zip(self.axes, term.operators, strict=True)):
                rows = profiles[axis][own.operators.index(name)]
                shape = [rows.shape[1] if place == axis else 1 for place in reversed(range(len(self.axes)))]
                along.append(rows.reshape(3, *shape, -1))
            table = outer(along).flatten(1, -2)
            table = table if term.weight == 1.0 else term.weight * table
            total = table if total is None else total + table
        assert total is not None
        return total if self.parametrization.groups is None else tied(total, self.parametrization.groups)


def orthogonal_to_constants(rows: Tensor, metric: Tensor | None) -> Tensor:
    """Return rows (n, rows, taps) less the constants that make them orthogonal to constants."""
    if metric is None:
        return rows - rows.mean(-1, keepdim=True)
    ones = metric.sum(-1)  # S 1
    return rows - (rows @ ones[..., None]) / ones.sum(-1)[:, None, None]


def _derivatives(products: Tensor, parameters: int) -> Tensor:
    """Return the table of ``<a, b>``, given the products of all derivatives: from (entries, entries, n)."""
    p = products
    rows = [p[0, 0], *(p[1 + i, 0] + p[0, 1 + i] for i in range(parameters))]
    for place, (i, j) in enumerate(pairs(parameters), parameters + 1):
        rows.append(p[place, 0] + p[1 + i, 1 + j] + p[1 + j, 1 + i] + p[0, place])
    return torch.stack(rows)
