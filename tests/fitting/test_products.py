"""Scalar products by folding, and of whole templates, against templates and automatic differentiation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from derivative_tables import component_table

from scalekeys.fitting.solvers.variable_projection import projection, weights_of
from scalekeys.fitting.templates.folded import FoldedFamily, outer_products
from scalekeys.fitting.templates.grid import family_grid
from scalekeys.scalespace import FAMILIES, ORIENTED, WIDE_JET, common, families, family, template
from scalekeys.scalespace.second_order import composed, product

SIZES = [(5,), (4,), (7, 7), (4, 3), (3, 3, 3), (2, 3, 4)]
COUNT = 12

sizes = pytest.mark.parametrize("size", SIZES, ids=str)


def grids_of(size, window="exact"):
    """The families of outer products, but for the largest jets."""
    for name, own in families(len(size)).items():
        if name not in (*ORIENTED, WIDE_JET) and (name != "jet3" or len(size) < 3):
            yield name, family_grid(own, size, window)


def coordinates_of(grid, count=COUNT, most=0.8, seed=1):
    """Random places of a search, down to scales of zero."""
    low, high = (ends.clamp(max=most)[:, None] if len(ends) else ends for ends in grid.bounds())
    draw = torch.rand(len(low), count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    draw[:, 0] = 0.0
    return low + draw * (high - low)


def filters_of(size, count=COUNT, seed=0):
    taps = int(np.prod(size))
    filters = torch.randn(count, taps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return filters - filters.mean(-1, keepdim=True)


def expected_products(grid, filters, coordinates, *, centred, factors=None):
    """The products of whole templates, which the plan of the family evaluates."""
    table = component_table(grid, coordinates)
    if factors is not None:
        table = product(factors, table, grid.parameters)
    table = table - table.mean(2, keepdim=True) if centred else table
    count = table.shape[1]
    with_filters = (table * filters.T).sum(2).unbind(1)
    gram = {
        (a, b): product(table[:, a], table[:, b], grid.parameters).sum(1) for a in range(count) for b in range(a, count)
    }
    return with_filters, gram


def inverse_factors(grid, coordinates):
    """What the components of a family are multiplied by to become those of its products up to infinity."""
    places, total = grid.family.parametrization.places(coordinates, grid.bend)[:, 0], None
    for axis, profiles in enumerate(grid.products.axes):
        w, k = 1 - places[0, axis], profiles.base
        own = composed(places[:, axis], w**-k, k * w ** (-k - 1), k * (k + 1) * w ** (-k - 2), grid.parameters)
        total = own if total is None else product(own, total, grid.parameters)
    return total[:, None, None]


def assert_tables(found, expected, parameters):
    """Values to eleven digits of the largest, slopes to seven, bends to four: a series loses digits with each."""
    for rows, digits in ((slice(0, 1), 11), (slice(1, 1 + parameters), 7), (slice(1 + parameters, None), 4)):
        scale = float(expected[rows].abs().max().clamp(min=1.0))
        np.testing.assert_allclose(found[rows] / scale, expected[rows] / scale, atol=10.0**-digits)


def assert_products(found, expected, parameters):
    with_filters, gram = expected
    assert found.parameters == parameters
    for mine, theirs in zip(found.filters, with_filters, strict=True):
        assert_tables(mine, theirs, parameters)
    assert set(found.gram) <= set(gram)
    for pair, theirs in gram.items():  # a missing pair is orthogonal by symmetry
        assert_tables(found.gram.get(pair, torch.zeros_like(theirs)), theirs, parameters)


@pytest.mark.parametrize("centred", [True, False])
@sizes
def test_plain_products_are_those_of_templates_with_their_derivatives(size, centred):
    filters = filters_of(size)
    for _, grid in grids_of(size):
        if grid.family.coefficients > 6:
            continue
        coordinates = coordinates_of(grid, most=0.7)
        expected = expected_products(grid, filters, coordinates, centred=centred)
        for own in dict.fromkeys((grid.true_products, grid.true_whole)):
            found = own.products(own.fold(filters), coordinates, centred=centred)
            assert_products(found, expected, grid.parameters)


@sizes
def test_products_up_to_infinity_differ_by_the_factors_of_the_family(size):
    filters = filters_of(size)
    for _, grid in grids_of(size):
        if not grid.is_unbounded:
            continue
        coordinates = coordinates_of(grid, most=0.7)
        own = grid.products
        factors = inverse_factors(grid, coordinates)
        np.testing.assert_allclose(own.factors(coordinates)[0], 1 / factors[0, 0, 0], rtol=1e-12)
        expected = expected_products(grid, filters, coordinates, centred=True, factors=factors)
        assert_products(own.products(own.fold(filters), coordinates, centred=True), expected, grid.parameters)
        whole = grid.whole
        np.testing.assert_allclose(whole.factors(coordinates), own.factors(coordinates), rtol=1e-12)
        np.testing.assert_allclose(
            (whole(coordinates)[0] * whole.factors(coordinates)[:, None]).movedim(-1, 0),
            grid.plan(coordinates.T),
            atol=1e-10,
        )


@pytest.mark.parametrize("size", [(3, 3), (7, 5), (5,), (3, 3, 3)], ids=str)
def test_in_the_published_window_as_well(size):
    filters = filters_of(size)
    for _, grid in grids_of(size, "published"):
        if grid.family.coefficients > 3:
            continue
        coordinates = coordinates_of(grid, most=0.6)
        own = grid.products
        expected = expected_products(grid, filters, coordinates, centred=True)
        assert_products(own.products(own.fold(filters), coordinates, centred=True), expected, grid.parameters)


@pytest.mark.parametrize("size", [(5, 5), (4, 4), (5, 3), (3, 3, 3), (3, 4, 5)], ids=str)
@pytest.mark.parametrize("name", ["dx+", "smooth", "laplacian", "jet1"])
def test_one_scale_for_all_axes_has_the_derivatives_of_one_scale(name, size):
    own = replace(family(name, len(size)), parametrization=common(len(size)))
    grid = family_grid(own, size, "exact")
    coordinates, filters = coordinates_of(grid, most=0.7), filters_of(size)
    assert coordinates.shape[0] == 1
    expected = expected_products(grid, filters, coordinates, centred=True)
    products = grid.true_products
    assert_products(products.products(products.fold(filters), coordinates, centred=True), expected, 1)


@sizes
def test_mixtures_are_weighted_components_less_their_mean(size):
    for _, grid in grids_of(size):
        coordinates = coordinates_of(grid, most=0.7)
        count = grid.family.coefficients
        weights = torch.randn(count, COUNT, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        fields = grid.plan(coordinates.T)
        expected = (fields * weights.T[..., None]).sum(1)
        expected = expected - expected.mean(-1, keepdim=True)
        for own in (grid.products, grid.true_products, grid.whole, grid.true_whole):
            found = own.mixed(coordinates, weights * own.factors(coordinates))
            np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("size", [(7,), (4,), (7, 7), (4, 6), (3, 4, 3)], ids=str)
def test_outer_products_of_several_families_are_those_of_each(size):
    grids = [grid for _, grid in grids_of(size) if grid.family.is_outer_product]
    joint = outer_products(tuple(grid.products for grid in grids))
    assert joint is outer_products(tuple(grid.products for grid in grids))
    counts = [3, 0, *range(1, len(grids) - 1)]
    parts = [filters_of(size, count, seed=place) for place, count in enumerate(counts)]
    places = [
        coordinates_of(grid, count or 1, most=0.999)[:, :count] for grid, count in zip(grids, counts, strict=True)
    ]
    folded, coordinates = joint.fold(parts), torch.cat(places, dim=1)
    found = joint.products(folded, coordinates, centred=True)
    some = torch.arange(0, coordinates.shape[1], 2)
    fewer = joint.products(folded.select(some), coordinates[:, some], centred=True)
    np.testing.assert_allclose(fewer.filters[0], found.filters[0][:, some], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(fewer.gram[0, 0], found.gram[0, 0][:, some], rtol=1e-9, atol=1e-12)
    ends = np.cumsum([0, *counts])
    for grid, part, place, start, end in zip(grids, parts, places, ends, ends[1:], strict=False):
        own = grid.products.products(grid.products.fold(part), place, centred=True)
        np.testing.assert_allclose(found.filters[0][:, start:end], own.filters[0], rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(found.gram[0, 0][:, start:end], own.gram[0, 0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["smooth", "dx+", "dxy", "laplacian"])
def test_at_infinite_scales_nothing_is_lost(name):
    # What counts there are deviations from the mean, which are a millionth of the template and less.
    size, end = (5, 5), 1 - 1e-8
    grid = family_grid(FAMILIES[name], size, "exact")
    coordinates = torch.full((2, 1), end, dtype=torch.float64)
    limit = template(name, torch.full((2,), torch.inf, dtype=torch.float64), size).flatten()
    products = grid.products
    table = products.products(products.fold(limit[None]), coordinates, centred=True)
    cosine = table.filters[0][0] ** 2 / table.gram[0, 0][0]
    np.testing.assert_allclose(cosine, 1.0, atol=1e-7)


CASES = [
    ("dx", (7, 7)),
    ("sharpen", (7, 7)),
    ("laplacian", (4, 7)),
    ("jet2", (7, 7)),
    ("jet3", (7, 7)),
    ("dog", (7, 7)),
    ("jet3", (9,)),
    ("dx-", (4,)),
    ("sharpen", (6,)),
    ("dz", (3, 4, 5)),
    ("jet2", (3, 4, 5)),
]


@pytest.mark.parametrize(("name", "size"), CASES, ids=str)
def test_the_projection_is_that_of_numpy_and_has_its_derivatives(name, size):
    grid = family_grid(family(name, len(size)), size, "exact")
    filters, coordinates = filters_of(size, 5), 0.1 + 0.8 * coordinates_of(grid, 5, most=0.7)
    products = grid.true_products
    folded = products.fold(filters)

    def at(u):
        return projection(products.products(folded, u, centred=True))

    value, gradient, hessian = at(coordinates)
    weights = weights_of(products.products(folded, coordinates, centred=True))
    components = grid.plan(coordinates.T)
    for i, filter_ in enumerate(filters.numpy()):
        columns = np.column_stack([components[i].T.numpy(), np.ones(len(filter_))])
        solution, *_ = np.linalg.lstsq(columns, filter_, rcond=None)
        np.testing.assert_allclose(weights[:, i], solution[:-1], rtol=1e-5, atol=1e-8)
        left = filter_ - columns @ solution
        assert float(value[i]) == pytest.approx((left**2).sum() - (filter_**2).sum(), abs=1e-9)
    step = 1e-5
    for axis in range(grid.parameters):
        shift = torch.zeros(grid.parameters, 1, dtype=torch.float64)
        shift[axis] = step
        above, below = at(coordinates + shift), at(coordinates - shift)
        scale = float(hessian.abs().max())
        np.testing.assert_allclose(gradient[axis], (above[0] - below[0]) / (2 * step), atol=1e-6 * max(1, scale))
        np.testing.assert_allclose(hessian[axis], (above[1] - below[1]) / (2 * step), atol=1e-4 * max(1, scale))


def test_dependent_components_do_no_harm():
    # On three taps a third difference is a multiple of the first.
    grid = family_grid(FAMILIES["jet3"], (3, 3), "exact")
    filters, coordinates = filters_of((3, 3)), coordinates_of(grid)
    folded = grid.products
    assert isinstance(folded, FoldedFamily)
    value, gradient, hessian = projection(folded.products(folded.fold(filters), coordinates, centred=True))
    np.testing.assert_allclose(-value, filters.square().sum(-1), rtol=1e-6)
    assert gradient.isfinite().all()
    assert hessian.isfinite().all()
