"""The criteria that compare widths: what a constant does to them, and the widths of continuous Gaussians."""

import numpy as np
import pytest
import torch
from scipy import integrate

import scalekeys as sk
from scalekeys.fitting.search.by_width import continuous_ratio
from scalekeys.scalespace import template

VARIANCES = pytest.mark.parametrize("criterion", ["variance", "variance-continuous"])


def noise(count, *size, seed=0):
    return torch.randn(count, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@VARIANCES
@pytest.mark.parametrize("size", [(8,), (3, 5), (3, 2, 3)], ids=str)
def test_a_constant_added_to_a_filter_changes_no_width(criterion, size):
    axes, filters = len(size), noise(3, *size)
    names = ("smooth", "dx", "dx+", *(["dyy", "dxy"] if axes == 2 else []))
    plain = sk.fit(filters, names, axes=axes, criterion=criterion)
    moved = sk.fit(filters + 3, names, axes=axes, criterion=criterion)
    assert list(plain.family) == list(moved.family)
    np.testing.assert_allclose(plain.sigma, moved.sigma, atol=1e-9)
    np.testing.assert_allclose(plain.r2, moved.r2, atol=1e-9)
    np.testing.assert_allclose(plain.offset + 3, moved.offset, atol=1e-9)


@VARIANCES
def test_the_published_moments_subtract_nothing_from_a_derivative(criterion):
    filters = sk.master_keys()[:6] + torch.arange(2, dtype=torch.float64)[:, None, None, None]
    names = ["dy+", "dx-", "dy-", "dx+", "dx", "dy"]
    options = {"criterion": criterion, "normalization": "moment", "window": "published"}
    plain, moved = (sk.fit(one, names, families=names, **options).sigma for one in filters)
    assert (plain - moved).abs().amax(-1).min() > 0.01


@pytest.mark.parametrize("name", ["dx", "dx+", "dy-", "dxx", "dxy"])
def test_a_planted_derivative_and_a_constant_give_back_the_scales(name):
    sigma = torch.tensor([[0.5, 0.5], [0.9, 0.7], [0.6, 1.0]], dtype=torch.float64)
    fit = sk.fit(-2 * template(name, sigma, 7) + 1, name, criterion="variance")
    np.testing.assert_allclose(fit.sigma, sigma, atol=1e-3)
    np.testing.assert_allclose(fit.amplitude, [-2.0] * 3, rtol=1e-2)


@pytest.mark.parametrize("order", range(7))
def test_the_width_of_a_weighted_derivative_of_a_gaussian(order):
    hermite = np.polynomial.hermite_e.HermiteE.basis(order)

    def moment(power):
        return integrate.quad(lambda x: x**power * hermite(x) ** 2 * np.exp(-(x**2)), -np.inf, np.inf)[0]

    assert continuous_ratio(order) == pytest.approx(moment(0) / moment(2), rel=1e-7)
