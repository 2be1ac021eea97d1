"""What the coarse search may miss: the bound of what lies between the nodes of a grid holds."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from scalekeys.fitting.templates import grid as grids
from scalekeys.fitting.templates.grid import bend_of, family_grid, widest
from scalekeys.scalespace import FAMILIES, ORIENTED, common, families, family

SINGLE = [name for name, own in FAMILIES.items() if not own.mixed and name not in ORIENTED]


def _between(grid, count, seed):
    """Coordinates at random places of the grid, up to the far node, and the numbers of the nodes around each."""
    draw = torch.Generator().manual_seed(seed)
    ends = torch.tensor(grid.inner_nodes.shape) - 1
    position = torch.rand(count, len(ends), generator=draw, dtype=torch.float64) * ends
    low = position.floor().long()
    high = torch.minimum(low + 1, ends)
    sides = product((low, high), repeat=len(ends))
    places = [torch.stack([side[:, axis] for axis, side in enumerate(corner)], dim=-1) for corner in sides]
    corners = [grids.ravelled(place, grid.nodes.shape) for place in places]
    return grid.nodes.at(position), torch.stack(corners, dim=-1)


def _assert_bounded(grid, seed):
    coordinates, corners = _between(grid, 300, seed)
    templates = grid.plan(coordinates)[:, 0]
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


@pytest.mark.parametrize("size", [(3, 3), (7, 7), (5, 9), (21, 21), (4, 4), (2, 5)], ids=str)
@pytest.mark.parametrize("name", SINGLE)
def test_a_correlation_between_nodes_exceeds_those_around_by_no_more_than_the_reach(name, size):
    grid = family_grid(FAMILIES[name], size, "exact")
    _assert_bounded(grid, seed=len(name))
    assert grid.angles.reach.max() < 0.2


@pytest.mark.parametrize("size", [(3,), (8,), (15,), (3, 3, 3), (2, 3, 4)], ids=str)
def test_it_is_bounded_along_one_axis_and_in_volumes_as_well(size):
    for name, own in families(len(size)).items():
        if not own.mixed:
            grid = family_grid(own, size, "exact")
            if grid.has_form:
                _assert_bounded(grid, seed=len(name))


@pytest.mark.parametrize("name", ["jet1", "jet2"])
@pytest.mark.parametrize("size", [(7, 7), (6, 6), (9,), (3, 3, 3)], ids=str)
def test_the_energy_of_a_jet_between_nodes_is_bounded_too(name, size):
    grid = family_grid(family(name, len(size)), size, "exact")
    coordinates, corners = _between(grid, 200, seed=3)
    components = grid.plan(coordinates).mT
    basis = torch.linalg.qr(components - components.mean(1, keepdim=True)).Q
    weights = torch.randn(200, basis.shape[-1], 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    filters = torch.nn.functional.normalize((basis @ weights)[..., 0], dim=-1)
    products = (filters.float() @ grid.angles.atoms).square().unflatten(1, (basis.shape[-1], -1)).sum(1)
    assert (1 - products.gather(1, corners).amax(-1) <= grid.angles.reach[corners].amin(-1) + 1e-5).all()


@pytest.mark.parametrize(("name", "size"), [("dx", (7, 7)), ("smooth", (9,)), ("dz+", (3, 3, 5)), ("dx", (4, 6))])
def test_nodes_are_steps_of_an_angle_apart_and_span_the_search(name, size):
    grid = family_grid(family(name, len(size)), size, "exact")
    edge = widest(size) / (bend_of(size) + widest(size))
    for values, inner in zip(grid.nodes.values, grid.inner_nodes.values, strict=True):
        assert inner[0] == 0
        assert len(inner) == 1 or float(inner[-1]) == edge
        assert torch.equal(values[: len(inner)], inner)
        assert values[len(inner) :].tolist() == ([] if len(inner) == 1 else [grids._FAR])
    atoms = grid.angles.atoms.T.reshape(*grid.nodes.shape, -1)
    for axis in range(len(size)):
        atoms = atoms.narrow(axis, 0, grid.inner_nodes.shape[axis])
    for axis in range(len(size)):
        count = grid.inner_nodes.shape[axis] - 1
        before, after = atoms.narrow(axis, 0, count), atoms.narrow(axis, 1, count)
        angles = torch.arccos((before * after).sum(-1).abs().clamp(max=1))
        assert count == 0 or float(angles.max()) < 1.3 * grids._STEP


def test_the_grid_of_a_common_scale_has_one_parameter():
    own = family_grid(replace(family("dx", 3), parametrization=common(3)), (3, 3, 3), "exact")
    assert own.parameters == len(own.nodes.shape) == 1
    assert own.common
    assert not family_grid(family("sharpen", 3), (3, 3, 3), "exact").common


@pytest.mark.parametrize("size", [(1,), (2,), (1, 1), (2, 2), (1, 2, 1)], ids=str)
def test_a_smoothing_on_two_taps_has_no_form(size):
    assert not family_grid(family("smooth", len(size)), size, "exact").has_form
    assert family_grid(family("smooth", len(size)), (3, *size[1:]), "exact").has_form
