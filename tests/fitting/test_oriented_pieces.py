"""Pieces of oriented families: their coordinates, their edges, and the products of filters in them."""

import math

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.fitting.templates.grid import bend_of
from scalekeys.fitting.templates.oriented import OrientedFamily
from scalekeys.fitting.templates.whole import WholeFamily
from scalekeys.scalespace import ORIENTED, discrete_gaussian, families, template_plan
from scalekeys.scalespace.oriented_derivatives import periodic_gaussian

COUNT = 40
every_family = pytest.mark.parametrize("name", ORIENTED)


def family_of(name, size=(5, 4), kind=OrientedFamily):
    return kind(families(2)[name], size, "exact", bend_of(size))


def coordinates_of(name):
    draw = torch.rand(3, COUNT, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    eccentricity = draw[1] if name == "affine" else 2 * draw[1] - 1
    return torch.stack([0.8 * draw[0], eccentricity, math.pi * draw[2]])


def filters_of(size):
    filters = torch.randn(COUNT, math.prod(size), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return filters - filters.mean(-1, keepdim=True)


@pytest.mark.parametrize("variance", [0.0, 0.3, 7.0, 60.0])
def test_the_kernel_of_a_spectrum_is_the_discrete_analogue_of_the_gaussian(variance):
    t = torch.tensor([variance], dtype=torch.float64)
    np.testing.assert_allclose(periodic_gaussian(t, 12), discrete_gaussian(t, 12), atol=1e-14)


@every_family
def test_coordinates_of_a_piece_lead_back(name):
    pieces, coordinates = family_of(name).pieces, coordinates_of(name)
    local, piece = pieces.enter(coordinates)
    low, high = pieces.bounds(piece, 0.8)
    assert bool(((local >= low) & (local <= high)).all())
    np.testing.assert_allclose(pieces.leave(local, piece), coordinates, atol=1e-9)


@every_family
@pytest.mark.parametrize("size", [(5, 4), (3, 3)], ids=str)
@pytest.mark.parametrize("centred", [True, False])
def test_products_are_those_of_whole_templates(name, size, centred):
    coordinates, filters = coordinates_of(name), filters_of(size)
    found, expected = (
        own.products(own.fold(filters), coordinates, centred=centred)
        for own in (family_of(name, size), family_of(name, size, WholeFamily))
    )
    np.testing.assert_allclose(found.filters[0], expected.filters[0], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.gram[0, 0], expected.gram[0, 0], rtol=1e-8, atol=1e-10)


@every_family
def test_derivatives_in_a_piece_are_differences_of_values(name):
    family, filters, step = family_of(name), filters_of((5, 4)), 1e-6
    local, piece = family.pieces.enter(coordinates_of(name))
    folded = family.fold(filters).within(piece)
    table = family.products(folded, local, centred=True).filters[0]
    for axis in range(3):
        moved = torch.zeros_like(local)
        moved[axis] = step
        sides = [family.products(folded, local + sign * moved, centred=True).filters[0][:4] for sign in (-1, 1)]
        slopes = (sides[1] - sides[0]) / (2 * step)
        scale = slopes.abs().amax(1, keepdim=True) + 1
        second = [{0: 4, 1: 5, 2: 6}, {0: 5, 1: 7, 2: 8}, {0: 6, 1: 8, 2: 9}][axis]
        expected = torch.stack([table[1 + axis], *(table[second[other]] for other in range(3))])
        np.testing.assert_allclose(slopes / scale, expected / scale, atol=1e-6)


@every_family
def test_fields_meet_at_the_edges_of_pieces(name):
    family, coordinates = family_of(name), coordinates_of(name)
    if name == "affine":
        coordinates[1] = 0.0
    else:
        coordinates[2] = math.pi / 4 * torch.arange(COUNT, dtype=torch.float64) % math.pi
    local, piece = family.pieces.enter(coordinates)
    at, beyond, other = family.pieces.neighbours(local, piece)[0]
    assert len(at)
    folded = family.fold(filters_of((5, 4)))
    here = family.products(folded.select(at).within(piece[at]), local[:, at], centred=True)
    there = family.products(folded.select(at).within(other), beyond, centred=True)
    np.testing.assert_allclose(there.filters[0][0].abs(), here.filters[0][0].abs(), atol=1e-9)
    np.testing.assert_allclose(there.gram[0, 0][0], here.gram[0, 0][0], atol=1e-9)


@every_family
def test_fields_on_both_sides_of_an_edge_are_found(name):
    turned = torch.tensor([-0.2, 0.0, 0.2], dtype=torch.float64) % math.pi
    parameters = torch.stack([torch.full_like(turned, 3.0), torch.full_like(turned, 1.0), turned], dim=-1)
    filters = template_plan(name, (5, 5))(parameters)[:, 0]
    np.testing.assert_allclose(sk.fit(filters, "oriented", families=[name] * 3).r2, 1.0, atol=1e-9)
