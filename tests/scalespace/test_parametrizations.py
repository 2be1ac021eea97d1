"""What the parameters of a family mean: search coordinates and back, and the tables of a search."""

import math

import numpy as np
import pytest
import torch
from torch.autograd.functional import hessian, jacobian

from scalekeys.scalespace import GAP, INFINITE, STRENGTH_MAX, AxisScales, common, families, family, per_axis
from scalekeys.scalespace.parametrizations import place_of, variance_at
from scalekeys.scalespace.second_order import pairs
from tolerances import assert_close

BEND = 5.0
WITH_PLACES = {
    "per axis, 1": per_axis(1),
    "per axis, 2": per_axis(2),
    "per axis, 3": per_axis(3),
    "common, 2": common(2),
    "common, 3": common(3),
    "one of three apart": AxisScales((0, 1, 0)),
    "strengthened, 1": family("sharpen", 1).parametrization,
    "strengthened, 3": family("sharpen", 3).parametrization,
    "two scales, 1": family("dog", 1).parametrization,
    "two scales, 2": family("dog", 2).parametrization,
}
each = pytest.mark.parametrize("own", WITH_PLACES.values(), ids=list(WITH_PLACES))


def inside(own, count=7, share=0.9):
    """Coordinates at random places of the box."""
    low, high = (torch.tensor(ends, dtype=torch.float64)[:, None] for ends in own.bounds(BEND, 0.95))
    draw = torch.rand(len(low), count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return low + share * draw * (high - low)


def table_of(function, at):
    """Tables of a function of coordinates (p,) to (...), at points (p, n): (entries, ..., n)."""
    columns = []
    for point in at.T:
        first = jacobian(function, point).movedim(-1, 0)
        second = jacobian(lambda p: jacobian(function, p, create_graph=True), point)
        rows = [function(point), *first, *(second[..., i, j] for i, j in pairs(len(at)))]
        columns.append(torch.stack(rows))
    return torch.stack(columns, dim=-1)


def test_zero_stands_at_zero_infinity_at_one_and_the_bend_half_way():
    t = torch.tensor([0.0, BEND, 1e12, math.inf], dtype=torch.float64)
    assert_close(place_of(t, BEND), np.array([0.0, 0.5, 1 - 5e-12, 1.0]), absolute=1e-15)
    assert variance_at(torch.tensor([0.0, 0.5], dtype=torch.float64), BEND).tolist() == [0.0, BEND]


@each
def test_coordinates_of_parameters_lead_back_to_them(own):
    coordinates = inside(own)
    parameters = own.parameters(coordinates, BEND)
    assert parameters.shape == coordinates.shape
    assert_close(own.coordinates(parameters, BEND), coordinates, absolute=1e-10)


@each
def test_the_box_ends_at_zero_and_at_the_limit_of_scales(own):
    low, high = own.bounds(BEND, INFINITE)
    assert low == [0.0] * len(own.names)
    for name, end in zip(own.names, high, strict=True):
        assert end == (math.log1p(STRENGTH_MAX) if name == "alpha" else INFINITE)


@each
def test_places_are_those_of_the_variances_with_their_derivatives(own):
    coordinates = inside(own)

    def places(p):
        parameters = own.parameters(p[:, None], BEND).T
        return place_of(own.component_variances(parameters)[0], BEND)

    assert_close(own.places(coordinates, BEND), table_of(places, coordinates), absolute=1e-10)


@each
def test_weights_are_those_of_the_components_with_their_derivatives(own):
    coordinates = inside(own)
    found = own.weights(coordinates)
    if found is None:
        assert own.component_weights(own.parameters(coordinates, BEND).T) is None
        return

    def weights(p):
        return own.component_weights(own.parameters(p[:, None], BEND).T)[0]

    assert_close(found, table_of(weights, coordinates), absolute=1e-12)


@each
def test_groups_say_which_parameter_is_the_variance_of_each_axis(own):
    parameters = own.parameters(inside(own), BEND).T
    variances = own.component_variances(parameters)
    if own.groups is None:
        assert variances.shape[1] > 1
    else:
        assert_close(variances[:, 0], parameters[:, list(own.groups)])
    assert_close(own.axis_variances(parameters), variances[:, 0])


def test_names_are_variances_by_axis_or_one_for_all():
    assert [per_axis(axes).names for axes in (1, 2, 3)] == [("tx",), ("tx", "ty"), ("tx", "ty", "tz")]
    assert [common(axes).names for axes in (1, 2, 3)] == [("tx",), ("t",), ("t",)]
    assert per_axis(1) == common(1)
    assert family("sharpen", 3).parametrization.names == ("t", "alpha")
    assert family("dog", 1).parametrization.names == ("t_inner", "t_outer")


def test_what_tables_get_beside_the_scales():
    alpha = family("sharpen").parametrization.columns(torch.tensor([[0.5, 0.8]]))
    assert {name: values.tolist() for name, values in alpha.items()} == {"alpha": [pytest.approx(0.8)]}
    dog = family("dog").parametrization.columns(torch.tensor([[0.5, 4.0]]))
    assert {name: values.tolist() for name, values in dog.items()} == {"sigma_outer": [2.0]}
    assert per_axis(3).columns(torch.ones(1, 3)) == {}


def test_the_scales_of_a_difference_are_at_least_the_gap_apart():
    own = family("dog").parametrization
    inner, outer = own.parameters(torch.tensor([[0.3], [0.0]], dtype=torch.float64), BEND)
    assert float(outer - inner) == pytest.approx(GAP)
    closer = torch.tensor([[1.0], [1.0 + GAP / 2]], dtype=torch.float64)
    assert own.coordinates(closer, BEND)[1].item() == 0.0


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_every_family_has_a_parametrization_of_its_axes(axes):
    for own in families(axes).values():
        assert own.parametrization.axes == own.axes == axes
        assert own.mixed == own.name.startswith("jet")
        assert len(own.order) == axes


@pytest.mark.parametrize("name", ["sharpen", "dog"])
def test_gradients_of_variances_and_weights_reach_the_parameters(name):
    own = family(name).parametrization
    parameters = torch.tensor([[0.5, 1.4]], dtype=torch.float64)
    assert torch.autograd.gradcheck(own.component_variances, parameters.requires_grad_())
    assert hessian(lambda p: own.component_variances(p[None]).square().sum(), parameters.detach()[0]).isfinite().all()
