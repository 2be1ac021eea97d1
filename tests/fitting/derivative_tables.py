"""Profiles and components of families with two derivatives, by the heat equation and the rules of Leibniz."""

import torch
from torch import Tensor

from scalekeys.fitting.templates.grid import FamilyGrid
from scalekeys.scalespace import DIFFERENCES, IMPULSE, Window, difference_matrix, discrete_gaussian, variance_at
from scalekeys.scalespace.second_order import composed, product


def profile_table(name: str, side: int, window: Window, axis: int, u: Tensor, bend: float) -> Tensor:
    """A profile with two derivatives in u, by the heat equation: shape (3, taps, n)."""
    own = DIFFERENCES["identity" if name == IMPULSE else name]
    matrix = difference_matrix(own, side, own.margin(side), window)
    t = variance_at(u, bend) * (name != IMPULSE)
    wide = discrete_gaussian(t, side // 2 + own.margin(side) + 2)
    heat = (wide[:, :-2] - 2 * wide[:, 1:-1] + wide[:, 2:]) / 2
    twice = (heat[:, :-2] - 2 * heat[:, 1:-1] + heat[:, 2:]) / 2
    value, first, second = (kernel @ matrix.T for kernel in (wide[:, 2:-2], heat[:, 1:-1], twice))
    slope, turn = ((power * bend / (1 - u) ** (power + 1))[:, None] * (name != IMPULSE) for power in (1, 2))
    table = torch.stack([value, first * slope, second * slope**2 + first * turn]).mT
    return table.flip(1) if axis == 1 else table


def component_table(grid: FamilyGrid, coordinates: Tensor) -> Tensor:
    """The components of a family with derivatives in the search coordinates (p, n): (entries, components, taps, n)."""
    own, count = grid.family.parametrization, grid.parameters
    places, weights = own.places(coordinates, grid.bend), own.weights(coordinates)
    fields = []
    for number, component in enumerate(grid.family.components):
        place = places[:, min(number, places.shape[1] - 1)]
        fields.append(sum(term.weight * _outer(grid, term.operators, place, count) for term in component))
        if weights is not None:
            fields[-1] = product(weights[:, number, None], fields[-1], count)
    table = torch.stack(fields, dim=1)
    return table if weights is None else table.sum(1, keepdim=True)


def _outer(grid: FamilyGrid, operators: tuple[str, ...], place: Tensor, count: int) -> Tensor:
    total = None
    for axis, (name, side) in enumerate(zip(operators, grid.size[::-1], strict=True)):
        value, slope, bend = profile_table(name, side, grid.window, axis, place[0, axis], grid.bend)
        own = composed(place[:, axis, None], value, slope, bend, count)  # (entries, taps, n)
        total = own if total is None else product(own[:, :, None], total[:, None], count).flatten(1, 2)
    return total
