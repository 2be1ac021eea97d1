"""Tables of functions with first and second derivatives, against automatic differentiation."""

import itertools
import math

import pytest
import torch
from torch.autograd.functional import hessian, jacobian

from scalekeys.scalespace.second_order import composed, entries, lifted, outer, pairs, product, split, tied
from tolerances import assert_close

POINT = torch.tensor([0.4, -0.7, 1.1], dtype=torch.float64)


def table_of(function, parameters):
    """The table of a scalar function at the point, by automatic differentiation."""
    at = POINT[:parameters]
    second = hessian(function, at)
    rows = [function(at), *jacobian(function, at), *(second[i, j] for i, j in pairs(parameters))]
    return torch.stack([row.reshape(()) for row in rows])


def wave(p):
    return torch.sin((p * torch.arange(1, len(p) + 1)).sum()) + p.prod()


def bell(p):
    return torch.exp(-(p * p).sum() + 0.3 * p.sum())


@pytest.mark.parametrize("parameters", [1, 2, 3])
def test_a_table_has_the_value_the_slopes_and_the_pairs(parameters):
    assert (
        entries(parameters) == 1 + parameters + math.comb(parameters + 1, 2) == 1 + parameters + len(pairs(parameters))
    )
    assert list(pairs(parameters)) == list(itertools.combinations_with_replacement(range(parameters), 2))


@pytest.mark.parametrize("parameters", [1, 2, 3])
def test_the_product_follows_leibniz(parameters):
    found = product(table_of(wave, parameters), table_of(bell, parameters), parameters)
    assert_close(found, table_of(lambda p: wave(p) * bell(p), parameters), absolute=1e-13)


@pytest.mark.parametrize("parameters", [1, 2, 3])
def test_the_composition_follows_the_chain_rule(parameters):
    inner = table_of(wave, parameters)
    g = inner[0]
    found = composed(inner, torch.exp(2 * g), 2 * torch.exp(2 * g), 4 * torch.exp(2 * g), parameters)
    assert_close(found, table_of(lambda p: torch.exp(2 * wave(p)), parameters), absolute=1e-12)


ONE = (torch.sin, torch.exp, lambda v: v**3 + v)


def along(function, place):
    value = POINT[place]
    first = jacobian(function, value)
    return torch.stack([function(value), first, hessian(function, value)])


@pytest.mark.parametrize("parameters", [1, 2, 3])
def test_an_outer_product_has_a_parameter_for_each_factor(parameters):
    found = outer([along(function, place) for place, function in enumerate(ONE[:parameters])])
    whole = table_of(lambda p: torch.stack([own(v) for own, v in zip(ONE, p, strict=False)]).prod(), parameters)
    assert_close(found, whole, absolute=1e-13)


@pytest.mark.parametrize("groups", [(0, 1, 2), (0, 0), (0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0)])
def test_arguments_that_share_a_parameter_have_its_derivatives(groups):
    places = torch.tensor(groups)

    def shared(p):
        return wave(p[places]) * bell(p[places])

    parameters = max(groups) + 1
    arguments = POINT[:parameters][places]
    second = hessian(lambda p: wave(p) * bell(p), arguments)
    first = jacobian(lambda p: wave(p) * bell(p), arguments)
    pieces = [
        (wave(arguments) * bell(arguments))[None],
        first,
        torch.stack([second[i, j] for i, j in pairs(len(groups))]),
    ]
    assert_close(tied(torch.cat(pieces), groups), table_of(shared, parameters), absolute=1e-13)


@pytest.mark.parametrize("parameters", [1, 2, 3])
def test_a_lifted_function_depends_on_the_first_parameter_alone(parameters):
    found = lifted(along(torch.exp, 0), parameters)
    assert_close(found, table_of(lambda p: torch.exp(p[0]), parameters), absolute=1e-13)


@pytest.mark.parametrize("parameters", [1, 2, 3])
def test_splitting_gives_value_gradient_and_a_symmetric_hessian(parameters):
    value, gradient, second = split(table_of(bell, parameters)[:, None], parameters)
    at = POINT[:parameters]
    assert_close(value[0], bell(at))
    assert_close(gradient[:, 0], jacobian(bell, at))
    assert_close(second[..., 0], hessian(bell, at), absolute=1e-13)
    assert torch.equal(second, second.transpose(0, 1))


def test_other_axes_broadcast():
    a, b = torch.randn(2, 6, 4, 1, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    many = product(a, b.transpose(1, 2), 2)
    assert many.shape == (6, 4, 4, 3)
    assert_close(many[:, 2, 1, 0], product(a[:, 2, 0, 0], b[:, 1, 0, 0], 2))
