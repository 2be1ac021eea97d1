"""Filters of any magnitude: multiplication by a power of two changes nothing but units."""

from functools import lru_cache

import pytest
import torch

import scalekeys as sk
from scalekeys.filters import FilterBank, assign_keys, noise_model, white_noise_like
from scalekeys.filters.scaling import in_powers_of_two, norms, power_of_two
from scalekeys.fitting import Fit

CASES = [(torch.float64, -1000), (torch.float64, 990), (torch.float32, -100)]
FITS = {
    "l2": {},
    "l1": {"criterion": "l1"},
    "variance": {"criterion": "variance", "normalization": "moment"},
    "response": {"criterion": "response"},
    "sparse6": {"model": "sparse6"},
}


def filters(dtype: torch.dtype) -> torch.Tensor:
    """Keys and noise in steps of 2^-12, so that no type rounds them."""
    noise = torch.randn(4, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ((torch.cat([sk.master_keys()[:, 1:6, 1:6], noise]) + 0.01) * 2**12).round().div(2**12).to(dtype)


def equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool(torch.equal(one.nan_to_num(-9.0), other.nan_to_num(-9.0)))


@lru_cache
def fit_of(dtype: torch.dtype, name: str) -> Fit:
    return sk.fit(filters(dtype), **FITS[name])


@pytest.mark.parametrize("name", FITS)
@pytest.mark.parametrize(("dtype", "exponent"), CASES, ids=str)
def test_a_fit_changes_in_nothing_but_units(dtype, exponent, name):
    factor = 2.0**exponent
    fit, scaled = fit_of(dtype, name), sk.fit(filters(dtype) * factor, **FITS[name])
    for name in ("r2", "sigma", "sigma_error", "alpha", "r2_response", "evidence"):
        assert equal(getattr(scaled, name), getattr(fit, name)), name
    for name in ("coefficients", "offset", "residual_l1", "residual_l2"):
        assert equal(getattr(scaled, name), getattr(fit, name) * factor), name
    assert (scaled.family == fit.family).all()
    assert (scaled.status == fit.status).all()
    assert scaled.share_explained == fit.share_explained
    assert scaled.kernels().isfinite().all()


@pytest.mark.parametrize(("dtype", "exponent"), CASES, ids=str)
def test_measures_controls_and_keys_change_in_nothing_but_units(dtype, exponent):
    h, factor = filters(dtype), 2.0**exponent
    bank, scaled = FilterBank.from_tensor(h), FilterBank.from_tensor(h * factor)
    assert equal(norms(h * factor), norms(h) * factor)
    assert equal(white_noise_like(scaled).layers[0].kernels, white_noise_like(bank).layers[0].kernels * factor)
    assert equal(noise_model(scaled).r2, noise_model(bank).r2)
    assert equal(assign_keys(scaled).r2, assign_keys(bank).r2)
    assert equal(assign_keys(scaled).amplitude, assign_keys(bank).amplitude * factor)
    measured, other = sk.spread(h), sk.spread(h * factor)
    assert equal(other.covariance, measured.covariance)
    assert equal(other.mean, measured.mean)
    assert equal(sk.dc_offset(h * factor), sk.dc_offset(h) * factor)
    for name in ("dx", "smooth"):
        normal, wide = sk.moment_normalization(h, name), sk.moment_normalization(h * factor, name)
        assert equal(wide.filters, normal.filters)
        assert equal(wide.amplitude, normal.amplitude * factor)
    assert equal(sk.cluster(scaled, k=3, restarts=1).filters, sk.cluster(bank, k=3, restarts=1).filters)


def test_one_huge_filter_leaves_a_finite_share():
    h = filters(torch.float64)
    h[0] *= 1e200
    fit = sk.fit(h)
    assert fit.share_explained == pytest.approx(float(fit.r2[0]), abs=1e-12)
    assert fit.strongest == 1.0
    rest = torch.tensor([n > 0 for n in range(len(h))])
    assert fit.share_of(rest) == pytest.approx(sk.fit(h[1:]).share_explained, rel=1e-12)
    assert torch.isnan(torch.tensor(fit.share_of(torch.zeros(len(h), dtype=torch.bool))))


def test_the_units_are_exact_and_spare_what_has_none():
    pairs = [[5e-324, 1e-310], [0.0, 0.0], [torch.nan, 1.0], [torch.inf, 1.0], [0.75, -3.0]]
    values = torch.tensor(pairs, dtype=torch.float64)[:, None]
    scaled, exponent = in_powers_of_two(values)
    assert exponent.tolist() == [-1022, 0, 0, 0, 1]
    assert equal(scaled * power_of_two(exponent)[:, None, None], values)
    assert scaled[4].tolist() == [[0.375, -1.5]]


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_the_units_and_norms_are_those_of_the_last_axes(axes):
    values = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1e200
    scaled, exponent = in_powers_of_two(values, axes=axes)
    assert exponent.shape == values.shape[: 4 - axes]
    largest = scaled.abs().flatten(-axes).amax(-1)
    assert bool(((largest >= 1) & (largest < 2)).all())
    expected = (values * 1e-200).flatten(-axes).square().sum(-1).sqrt()
    torch.testing.assert_close(norms(values, axes=axes) * 1e-200, expected)
