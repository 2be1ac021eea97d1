"""The components of families at given parameters, as models of filters have them."""

import torch
from torch import Tensor

from scalekeys.fitting.templates.grid import FamilyGrid, infinite_variance
from scalekeys.scalespace import place_of


def is_infinite(grid: FamilyGrid, coordinates: Tensor) -> Tensor:
    """Return which scales of filters are infinite for the window, of the shape of the coordinates."""
    if not grid.is_unbounded:
        return torch.zeros_like(coordinates, dtype=torch.bool)
    return coordinates > place_of(coordinates.new_tensor(infinite_variance(grid.size)), grid.bend)


def components_at(grid: FamilyGrid, coordinates: Tensor) -> Tensor:
    """Return the components of a family at search coordinates of shape (n, parameters): (n, components, taps).

    Where a scale is infinite, the template is centred and has norm 1: without that it would vanish in the window.
    """
    infinite = is_infinite(grid, coordinates).any(-1)
    if not bool(infinite.any()):
        return grid.plan(coordinates)
    fields = grid.plan(torch.where(infinite[:, None], 0.0, coordinates))
    rows = coordinates[infinite].T.contiguous()
    unit = grid.products.mixed(rows, torch.ones_like(rows[:1]))
    fields[infinite, 0] = unit / torch.linalg.vector_norm(unit, dim=-1, keepdim=True)
    return fields
