"""What the coarse search may miss: the bound of what lies between the nodes of a grid holds."""

import pytest
import torch
from scalekeys.fitting.grids import family_grid

from scalekeys.fitting import grids
from scalekeys.scalespace import FAMILIES


def _between(grid, count, seed):
    """Parameters at random places of the grid, and the numbers of the four nodes around each."""
    draw = torch.Generator().manual_seed(seed)
    rows, cols = grid.nodes.shape
    position = torch.rand(count, 2, generator=draw, dtype=torch.float64) * torch.tensor([rows - 1, cols - 1])
    low = position.floor().long()
    high = torch.minimum(low + 1, torch.tensor([rows - 1, cols - 1]))
    corners = torch.stack([a[:, 0] * cols + b[:, 1] for a in (low, high) for b in (low, high)], dim=-1)
    return grid.nodes.at(position), corners


@pytest.mark.parametrize("size", [(3, 3), (7, 7), (5, 9), (21, 21)], ids=str)
@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if not family.is_jet])
def test_a_correlation_between_nodes_exceeds_those_around_by_no_more_than_the_reach(name, size):
    grid = family_grid(name, size, "exact")
    parameters, corners = _between(grid, 300, seed=len(name))
    templates = grid.plan(parameters)[:, 0, 0].flatten(1)
    templates = torch.nn.functional.normalize(templates - templates.mean(-1, keepdim=True), dim=-1)
    draw = torch.Generator().manual_seed(1)
    noise = torch.randn(templates.shape, generator=draw, dtype=torch.float64)
    # The filter that has most to lose is the template itself; and filters that are partly noise.
    for share in (0.0, 0.1, 1.0):
        filters = templates + share * (noise - noise.mean(-1, keepdim=True)) / noise.shape[1] ** 0.5
        filters = torch.nn.functional.normalize(filters, dim=-1)
        at_nodes = (filters.float() @ grid.angles.atoms).abs()
        best = at_nodes.gather(1, corners).amax(-1)
        reach = grid.angles.reach[corners].amin(-1)
        between = (filters * templates).sum(-1).abs()
        assert (between - best <= reach + 1e-5).all()
        assert reach.max() < 0.2


@pytest.mark.parametrize("name", ["jet1", "jet2"])
def test_the_energy_of_a_jet_between_nodes_is_bounded_too(name):
    grid = family_grid(name, (7, 7), "exact")
    parameters, corners = _between(grid, 200, seed=3)
    components = grid.plan(parameters)[:, 0].flatten(2).mT
    basis = torch.linalg.qr(components - components.mean(1, keepdim=True)).Q
    weights = torch.randn(200, basis.shape[-1], 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    filters = torch.nn.functional.normalize((basis @ weights)[..., 0], dim=-1)
    products = (filters.float() @ grid.angles.atoms).square().unflatten(1, (basis.shape[-1], -1)).sum(1)
    assert (1 - products.gather(1, corners).amax(-1) <= grid.angles.reach[corners].amin(-1) + 1e-5).all()


def test_nodes_are_steps_of_an_angle_apart_and_span_the_search():
    grid = family_grid("dx", (7, 7), "exact")
    assert grid.nodes.first[0] == 0
    assert float(grid.nodes.first[-1]) == grids.max_sigma((7, 7)) ** 2
    atoms = grid.angles.atoms.T.reshape(*grid.nodes.shape, 49)
    for pair in ((atoms[1:], atoms[:-1]), (atoms[:, 1:], atoms[:, :-1])):
        angles = torch.arccos((pair[0] * pair[1]).sum(-1).clamp(max=1))
        assert float(angles.max()) < 1.2 * grids._STEP
