"""The DC offset is exact, and normalisation by moments gives unit responses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scalekeys as sk
from scalekeys.filters import coordinates
from scalekeys.scalespace import IDEAL8, JETS, template


def _objective(filter_, offset):
    """sqrt(det V(|h - C|)), written apart from the package."""
    rows, cols = filter_.shape
    x, y = np.meshgrid(np.arange(cols) - (cols - 1) / 2, (rows - 1) / 2 - np.arange(rows))
    w = np.abs(filter_ - offset).ravel()
    return np.sqrt(max(np.linalg.det(np.cov(np.stack([x.ravel(), y.ravel()]), aweights=w, ddof=0)), 0.0))


def test_the_published_offsets_are_reached():
    offsets = sk.dc_offset(sk.master_keys()[6:])
    np.testing.assert_allclose(offsets, [-0.011767, -0.038648], atol=5e-7)
    np.testing.assert_allclose(offsets, [-0.01178, -0.03863], atol=2e-5)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), rows=st.sampled_from([3, 5, 7]), cols=st.sampled_from([3, 5, 7]))
def test_no_constant_on_a_dense_grid_concentrates_a_filter_more(seed, rows, cols):
    filter_ = np.random.default_rng(seed).standard_normal((rows, cols))
    found = _objective(filter_, float(sk.dc_offset(filter_)))
    grid = [_objective(filter_, c) for c in np.linspace(filter_.min(), filter_.max(), 400)]
    assert found <= min(grid) + 1e-12


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), factor=st.sampled_from([-2.0, 1e-8, 1e8]), shift=st.floats(-3, 3))
def test_the_offset_follows_amplitude_and_constant(seed, factor, shift):
    filter_ = torch.randn(5, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = factor * (sk.dc_offset(filter_) + shift)
    np.testing.assert_allclose(sk.dc_offset(factor * (filter_ + shift)), expected, rtol=1e-9)


def test_an_impulse_on_a_pedestal_loses_the_pedestal():
    filter_ = torch.full((2, 3, 5, 5), 0.25, dtype=torch.float64)
    filter_[..., 2, 2] = 1.0
    np.testing.assert_array_equal(sk.dc_offset(filter_), np.full((2, 3), 0.25))


def test_a_filter_without_a_shape_has_no_offset_and_disturbs_no_other():
    filters = sk.master_keys()[5:].clone()
    filters[0], filters[1, 0, 0] = 3.0, torch.nan
    offsets = sk.dc_offset(filters)
    assert offsets.isnan().tolist() == [True, True, False]
    assert offsets[2] == sk.dc_offset(sk.master_keys()[7])


def test_a_profile_is_concentrated_along_its_axis():
    profile = torch.tensor([[0.1, 0.1, 1.0, 0.1, 0.2]], dtype=torch.float64)
    assert float(sk.dc_offset(profile)) == pytest.approx(0.1)


@pytest.mark.parametrize("name", IDEAL8)
def test_a_template_is_normalised_already(name):
    # The full kernels have a unit response; what the window cuts off is small at this scale.
    options = {"alpha": 0.5} if name == "sharpen" else {}
    kernel = template(name, torch.tensor([0.5, 0.5], dtype=torch.float64), 11, **options)
    found = sk.moment_normalization(kernel, name)
    assert float(found.amplitude) == pytest.approx(1.0, abs=1e-5)
    assert float(found.offset) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", IDEAL8)
def test_normalised_filters_give_back_the_filters_and_have_unit_response(name):
    filters = torch.randn(4, 2, 5, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = sk.moment_normalization(filters, name)
    back = found.filters * found.amplitude[..., None, None] + found.offset[..., None, None]
    np.testing.assert_allclose(back, filters, atol=1e-12)
    if name in ("smooth", "sharpen"):
        response = found.filters.sum((-2, -1))
    else:
        axis = 0 if "x" in name else 1
        centre = sk.spread(filters).mean[..., axis, None, None]
        response = (found.filters * (-coordinates(5, 7, like=filters)[axis] - centre)).sum((-2, -1))
    np.testing.assert_allclose(response, np.ones((4, 2)), atol=1e-9)


def test_what_has_no_moment_is_refused():
    with pytest.raises(sk.ModelError, match="normalization 'moment' has no meaning for 'jet2'"):
        sk.moment_normalization(sk.master_keys(), JETS[1])
    with pytest.raises(sk.ModelError, match="no family is called 'dz'"):
        sk.moment_normalization(sk.master_keys(), "dz")
    for function in (sk.dc_offset, lambda values: sk.moment_normalization(values, "dx")):
        with pytest.raises(sk.FilterError, match=r"filters must have shape \(\.\.\., rows, cols\), got \(7,\)"):
            function(torch.ones(7))
