"""What must not change a fit, and what must change it in a known way."""

import numpy as np
import pytest
import torch

import scalekeys as sk

MANY = 90
_COLUMNS = ("sigma", "amplitude", "offset", "r2", "residual_l1", "residual_l2")


def _filters(seed, count=6, side=5):
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _assert_same(first, second, rows=slice(None), **tolerance):
    assert list(first.family) == list(second.family[rows])
    for name in _COLUMNS:
        np.testing.assert_allclose(getattr(first, name), getattr(second, name)[rows], **tolerance)


def _assert_same_shares(first, second):
    """Shares agree to rounding; where several scales are infinite, a search ends a little before the last digits."""
    exact = first.status != "polynomial"
    np.testing.assert_allclose(first.r2[exact], second.r2[exact], rtol=1e-9)
    np.testing.assert_allclose(first.r2[~exact], second.r2[~exact], atol=1e-7)


@pytest.mark.parametrize("factor", [-3.0, 1e-6, 1e6, -1e-30])
def test_scaling_a_filter_scales_amplitude_offset_and_residuals_only(factor):
    filters = _filters(0, MANY)
    plain, scaled = sk.fit(filters), sk.fit(factor * filters)
    assert list(plain.family) == list(scaled.family)
    np.testing.assert_allclose(scaled.sigma, plain.sigma, atol=1e-5)
    _assert_same_shares(scaled, plain)
    np.testing.assert_allclose(scaled.amplitude, factor * plain.amplitude, rtol=1e-4)
    np.testing.assert_allclose(scaled.residual_l1, abs(factor) * plain.residual_l1, rtol=1e-4)
    np.testing.assert_allclose(scaled.residual_l2, abs(factor) * plain.residual_l2, rtol=1e-6)


def test_the_result_for_a_filter_does_not_depend_on_its_batch():
    filters = _filters(1, count=40, side=7)
    together = sk.fit(filters)
    _assert_same(sk.fit(filters[7:8]), together, slice(7, 8), rtol=1e-9, atol=1e-9)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    _assert_same(sk.fit(filters[order]), together, order.numpy(), rtol=1e-9, atol=1e-9)


def test_chunks_do_not_show(monkeypatch):
    filters = _filters(2, count=30)
    whole = sk.fit(filters)
    done = []
    monkeypatch.setattr("scalekeys.fitting.stack.CHUNK", 7)
    _assert_same(sk.fit(filters, progress=done.append), whole, rtol=1e-9, atol=1e-9)
    assert done == [6, 6, 6, 6, 6]


def test_numpy_arrays_and_half_precision_are_accepted():
    filters = _filters(3)
    _assert_same(sk.fit(filters.numpy()), sk.fit(filters), rtol=0)
    half = filters.half()
    _assert_same(sk.fit(half), sk.fit(half.float()), rtol=0)


def test_a_finer_choice_of_families_never_explains_less():
    filters = _filters(4, count=50, side=7)
    few, all_of_them = sk.fit(filters, ("dx", "smooth")), sk.fit(filters)
    assert (all_of_them.r2 >= few.r2 - 1e-12).all()
    assert set(few.family) <= {"dx", "smooth"}


@pytest.mark.parametrize("shape", [(2, 3), (1,), ()])
def test_kernels_of_a_tensor_have_its_shape(shape):
    filters = torch.randn(*shape, 3, 3, generator=torch.Generator().manual_seed(0))
    fit = sk.fit(filters)
    kernels = fit.kernels()
    assert kernels.shape == filters.shape
    assert kernels.dtype == filters.dtype
    residual = (filters - kernels).reshape(-1, 9).double()
    np.testing.assert_allclose(residual.norm(dim=-1), fit.residual_l2, atol=1e-5)
    np.testing.assert_allclose(residual.abs().sum(-1), fit.residual_l1, atol=1e-5)
