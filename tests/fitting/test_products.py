"""Scalar products by folding against those of whole templates, and the Chebyshev series against scipy."""

import numpy as np
import pytest
import torch
from scalekeys.fitting.dense import Dense
from scalekeys.fitting.projection import projection, weights_of
from scalekeys.fitting.separable import Separable
from scalekeys.fitting.series import kernel_series
from scipy.special import ive

from scalekeys.scalespace import FAMILIES, WINDOWS, template_plan

SEPARABLE = [name for name, family in FAMILIES.items() if not family.two_scales]


@pytest.mark.parametrize(("radius", "maximum"), [(4, 9.0), (6, 49.0), (18, 961.0), (28, 2601.0)])
def test_the_series_is_exact_to_rounding(radius, maximum):
    t = torch.cat([torch.linspace(0, 1, 200), torch.linspace(0, maximum, 500)]).double()
    expected = ive(np.arange(radius + 1)[:, None], t.numpy())
    np.testing.assert_allclose(kernel_series(radius, maximum)(t), expected, atol=1e-13)


def _case(name, size, window, common=False, count=30):
    generator = torch.Generator().manual_seed(1)
    plan = template_plan(name, size, window, common=common)
    parameters = 3 * torch.rand(2, count, generator=generator, dtype=torch.float64)
    filters = torch.randn(count, size[0] * size[1], generator=generator, dtype=torch.float64)
    return plan, parameters, filters


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("size", [(7, 7), (3, 5)], ids=str)
@pytest.mark.parametrize("name", SEPARABLE)
def test_folded_products_are_those_of_whole_templates(name, size, window, centred):
    plan, parameters, filters = _case(name, size, window)
    if centred:
        filters = filters - filters.mean(-1, keepdim=True)
    folded, whole = Separable(plan, 49.0), Dense(plan, size)
    one = folded.products(folded.fold(filters), parameters, centred=centred)
    other = whole.products(whole.fold(filters), parameters, centred=centred)
    for mine, theirs in zip(one.filters, other.kernels, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-11)
    for pair, theirs in other.gram.items():
        np.testing.assert_allclose(one.gram.get(pair, torch.zeros_like(theirs)), theirs, atol=1e-9)
    weights = torch.randn(len(one.filters), parameters.shape[1], dtype=torch.float64)
    np.testing.assert_allclose(folded.mixed(parameters, weights), whole.mixed(parameters, weights), atol=1e-12)


@pytest.mark.parametrize("name", ["dx+", "sharpen", "smooth", "jet2"])
def test_one_scale_for_both_axes_has_the_derivatives_of_one_scale(name):
    plan, parameters, filters = _case(name, (5, 5), "exact", common=True)
    folded, whole = Separable(plan, 49.0), Dense(plan, (5, 5))
    one = folded.products(folded.fold(filters), parameters, centred=False)
    other = whole.products(whole.fold(filters), parameters, centred=False)
    np.testing.assert_allclose(one.filters[0], other.kernels[0], atol=1e-11)
    np.testing.assert_allclose(one.gram[0, 0], other.gram[0, 0], atol=1e-10)


@pytest.mark.parametrize("name", ["dx", "sharpen", "laplacian", "jet2", "jet3", "dog"])
def test_the_projection_is_that_of_numpy_and_has_its_derivatives(name):
    plan, parameters, filters = _case(name, (7, 7), "exact", count=5)
    filters = filters - filters.mean(-1, keepdim=True)
    products = Dense(plan, (7, 7))
    folded = products.fold(filters)

    def at(p):
        return projection(products.products(folded, p, centred=True))

    value, gradient, hessian = at(parameters)
    weights = weights_of(products.products(folded, parameters, centred=True))
    components = plan(parameters.T)[:, 0].flatten(2)
    for i, filter_ in enumerate(filters.numpy()):
        columns = np.column_stack([components[i].T.numpy(), np.ones(49)])
        solution, *_ = np.linalg.lstsq(columns, filter_, rcond=None)
        np.testing.assert_allclose(weights[:, i], solution[:-1], rtol=1e-6, atol=1e-8)
        left = filter_ - columns @ solution
        assert float(value[i]) == pytest.approx((left**2).sum() - (filter_**2).sum(), abs=1e-10)
    step = 1e-5
    for axis in (0, 1):
        shift = torch.zeros(2, 1, dtype=torch.float64)
        shift[axis] = step
        above, below = at(parameters + shift), at(parameters - shift)
        np.testing.assert_allclose(gradient[axis], (above[0] - below[0]) / (2 * step), atol=1e-7)
        np.testing.assert_allclose(hessian[axis], (above[1] - below[1]) / (2 * step), rtol=1e-5, atol=1e-6)


def test_dependent_components_do_no_harm():
    # On three taps a third difference is a multiple of the first.
    plan, parameters, filters = _case("jet3", (3, 3), "exact")
    filters = filters - filters.mean(-1, keepdim=True)
    folded = Separable(plan, 9.0)
    value, gradient, hessian = projection(folded.products(folded.fold(filters), parameters, centred=True))
    np.testing.assert_allclose(-value, filters.square().sum(-1), rtol=1e-6)
    assert gradient.isfinite().all()
    assert hessian.isfinite().all()
