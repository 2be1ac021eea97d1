"""Fits to sums of absolute differences: the crease at a bound, exact coefficients, and what must not matter."""

import numpy as np
import pytest
import torch
from scipy import optimize

import scalekeys as sk
from scalekeys.fitting.absolute import least_absolute
from scalekeys.scalespace import template


def _noise(count, side, seed):
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed))


def test_a_crease_beside_a_scale_of_zero_is_found():
    # From a scale of zero the sum falls very gently, into a crease at 0.084: a smoothed sum stays at the bound.
    filter_ = _noise(8, 5, seed=3)[0].double()
    fit = sk.fit(filter_[None], "dy-", criterion="l1")
    norm = float((filter_ - filter_.mean()).norm())
    assert float(fit.residual_l1) / norm < 2.8949452  # found by scipy from many starts; 2.8949572 at the bound
    assert float(fit.sigma[0, 0]) == pytest.approx(0.0841, abs=2e-3)


@pytest.mark.parametrize("unknowns", [2, 4])
def test_coefficients_are_those_of_a_linear_programme(unknowns):
    generator = torch.Generator().manual_seed(1)
    basis = torch.randn(5, 25, unknowns, generator=generator, dtype=torch.float64)
    targets = torch.randn(5, 25, generator=generator, dtype=torch.float64)
    _, residual = least_absolute(basis, targets)
    for b, h, left in zip(basis.numpy(), targets.numpy(), residual, strict=True):
        cost = np.r_[np.zeros(unknowns), np.ones(50)]
        equal = np.hstack([b, np.eye(25), -np.eye(25)])
        bounds = [(None, None)] * unknowns + [(0, None)] * 50
        best = optimize.linprog(cost, A_eq=equal, b_eq=h, bounds=bounds)
        assert float(left.abs().sum()) == pytest.approx(best.fun, rel=1e-6)


def test_mirrors_batches_and_offsets_change_nothing_that_they_should_not():
    filters = torch.cat([_noise(6, 5, seed=1).double(), sk.master_keys()[:, 1:6, 1:6]])
    fit = sk.fit(filters, criterion="l1")
    swap = {"dx+": "dx-", "dx-": "dx+"}
    mirrored = sk.fit(filters.flip(-1), criterion="l1")
    assert [swap.get(name, name) for name in fit.family] == list(mirrored.family)
    np.testing.assert_allclose(mirrored.residual_l1, fit.residual_l1, rtol=1e-6)
    np.testing.assert_allclose(sk.fit(filters[4:6], criterion="l1").residual_l1, fit.residual_l1[4:6], rtol=1e-9)
    np.testing.assert_allclose(sk.fit(filters + 3, criterion="l1").residual_l1, fit.residual_l1, rtol=1e-6)


def test_one_tap_that_is_far_off_hardly_moves_the_fit():
    sigma = torch.tensor([[0.7, 1.0]], dtype=torch.float64)
    filters = template("dx", sigma, 7)
    filters[0, 0, 6] += 1.0
    fit = sk.fit(filters, "dx", criterion="l1")
    np.testing.assert_allclose(fit.sigma, sigma, atol=1e-4)
    assert float(fit.residual_l1) == pytest.approx(1.0, abs=1e-4)
