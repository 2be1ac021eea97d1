"""Fits to sums of absolute differences: the crease at a bound, and what must not matter."""

import numpy as np
import pytest
import torch
from scipy import optimize

import scalekeys as sk
from scalekeys.fitting.solvers.lines import fitted_lines
from scalekeys.fitting.templates.grid import family_grid
from scalekeys.scalespace import family, template


def _noise(count, side, seed):
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed))


def test_a_crease_beside_a_scale_of_zero_is_found():
    # From a scale of zero the sum falls very gently, into a crease at 0.084: a smoothed sum stays at the bound.
    filter_ = _noise(8, 5, seed=3)[0].double()
    fit = sk.fit(filter_[None], "dy-", criterion="l1")
    norm = float((filter_ - filter_.mean()).norm())
    assert float(fit.residual_l1) / norm < 2.8949452  # found by scipy from many starts; 2.8949572 at the bound
    assert float(fit.sigma[0, 0]) == pytest.approx(0.0841, abs=2e-3)


def test_mirrors_batches_and_offsets_change_nothing_that_they_should_not():
    filters = torch.cat([_noise(4, 5, seed=1).double(), sk.master_keys()[::2, 1:6, 1:6]])
    fit = sk.fit(filters, criterion="l1")
    swap = {"dx+": "dx-", "dx-": "dx+"}
    mirrored = sk.fit(filters.flip(-1), criterion="l1")
    assert [swap.get(name, name) for name in fit.family] == list(mirrored.family)
    np.testing.assert_allclose(mirrored.residual_l1, fit.residual_l1, rtol=1e-6)
    np.testing.assert_allclose(sk.fit(filters[3:5], criterion="l1").residual_l1, fit.residual_l1[3:5], rtol=1e-9)
    np.testing.assert_allclose(sk.fit(filters + 3, criterion="l1").residual_l1, fit.residual_l1, rtol=1e-6)


def test_one_tap_that_is_far_off_hardly_moves_the_fit():
    sigma = torch.tensor([[0.7, 1.0]], dtype=torch.float64)
    filters = template("dx", sigma, 7)
    filters[0, 0, 6] += 1.0
    fit = sk.fit(filters, "dx", criterion="l1")
    np.testing.assert_allclose(fit.sigma, sigma, atol=1e-4)
    assert float(fit.residual_l1) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("name", ["dx-", "smooth"])
def test_no_start_of_a_simplex_search_ends_lower(name):
    filter_ = _noise(1, 3, seed=21).double()
    fit = sk.fit(filter_, name, criterion="l1")
    grid = family_grid(family(name), (3, 3), "exact")
    upper = [0.95] * 2

    def loss(u):
        kernel = grid.plan(torch.from_numpy(np.clip(u, 0, upper))[None])[0, 0]
        basis = torch.stack([kernel - kernel.mean(), torch.ones(9, dtype=torch.float64)])
        c = fitted_lines(filter_.flatten()[:, None], basis[:, :, None])[:, 0]
        return float((filter_.flatten() - c @ basis).abs().sum())

    starts = np.random.default_rng(4).uniform(0, upper, (4, 2))
    options = {"xatol": 1e-7, "maxfev": 150}
    ends = [optimize.minimize(loss, start, method="Nelder-Mead", options=options).fun for start in starts]
    assert float(fit.residual_l1[0]) <= min(ends) * (1 + 1e-7)


def test_by_moments_the_batch_does_not_matter():
    filters = torch.cat([sk.master_keys()[:, 1:6, 1:6], _noise(4, 5, seed=5).double()])
    options = {"criterion": "l1", "normalization": "moment"}
    alone = torch.cat([sk.fit(one, **options).residual_l1 for one in filters[4:]])
    np.testing.assert_allclose(sk.fit(filters, **options).residual_l1[4:], alone, rtol=1e-6)


@pytest.mark.parametrize(("normalization", "scales"), [("affine", "common"), ("moment", "per-axis")])
def test_mirroring_a_filter_leaves_its_loss(normalization, scales):
    filters = torch.cat([sk.master_keys()[::2], _noise(3, 7, seed=6).double()])
    options = {"criterion": "l1", "normalization": normalization, "scales": scales}
    plain, mirrored = sk.fit(filters, **options), sk.fit(filters.flip(-1), **options)
    np.testing.assert_allclose(mirrored.residual_l1, plain.residual_l1, rtol=1e-6)


@pytest.mark.parametrize("scales", ["per-axis", "common"])
def test_all_families_together_are_no_worse_than_each_alone(scales):
    filters = _noise(4, 7, seed=8).double()
    best = sk.fit(filters, criterion="l1", scales=scales).residual_l1
    for name in ("dx+", "dy-", "sharpen", "smooth"):
        assert (best <= sk.fit(filters, name, criterion="l1", scales=scales).residual_l1 * (1 + 1e-6)).all()


def test_scaling_a_filter_scales_its_loss():
    filters = torch.cat([sk.master_keys()[1::2], _noise(3, 7, seed=7).double()])
    plain, moved = sk.fit(filters, criterion="l1"), sk.fit(-1e4 * filters, criterion="l1")
    np.testing.assert_allclose(moved.residual_l1, 1e4 * plain.residual_l1, rtol=1e-6)
