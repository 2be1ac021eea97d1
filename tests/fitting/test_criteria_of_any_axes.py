"""Every criterion, and standard errors, on kernels of one and three axes and of even sides."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize

import independent
import scalekeys as sk
from scalekeys.fitting import CRITERIA
from scalekeys.scalespace import template

SIZES = [(9,), (8,), (6, 6), (3, 4, 5)]

sizes = pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))


def noise(count, *size, seed=0):
    return torch.randn(count, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scales(count, axes, seed=0):
    return 0.5 + 0.5 * torch.rand(count, axes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def metric_of(count, taps, seed=0):
    root = noise(count, taps, 2 * taps, seed=seed)
    return root @ root.mT / taps


def flat(filters):
    return filters.flatten(1).numpy()


@sizes
@pytest.mark.parametrize("criterion", ["l1", "response"])
def test_planted_families_come_back_by_other_criteria(criterion, size):
    axes = len(size)
    for seed, name in enumerate(("smooth", f"d{'xyz'[axes - 1]}+")):
        sigma = scales(3, axes, seed)
        filters = 2 * template(name, sigma, size) + 0.5
        options = {"covariance": metric_of(3, math.prod(size))} if criterion == "response" else {}
        fit = sk.fit(filters, axes=axes, criterion=criterion, **options)
        assert set(fit.family) == {name}
        np.testing.assert_allclose(fit.sigma, sigma, atol=1e-4)
        np.testing.assert_allclose(fit.amplitude, np.full(3, 2.0), rtol=1e-3)
        np.testing.assert_allclose(fit.offset, np.full(3, 0.5), atol=1e-3)


def lowest(loss, axes, largest, draw, starts=5):
    """Least value of a loss of variances by simplex searches from random starts."""
    bounds = [(0.0, largest)] * axes
    options = {"xatol": 1e-5, "fatol": 1e-9, "maxfev": 250}
    ends = [
        optimize.minimize(loss, start, method="Nelder-Mead", bounds=bounds, options=options).fun
        for start in draw.exponential(0.8, (starts, axes))
    ]
    return min(ends)


@pytest.mark.parametrize(
    ("name", "size"), [("dx+", (7,)), ("smooth", (8,)), ("dz", (3, 3, 3)), ("dy-", (4, 6))], ids=str
)
def test_no_simplex_search_finds_a_smaller_error_of_response(name, size):
    axes, taps, draw = len(size), math.prod(size), np.random.default_rng(0)
    filters, metric = noise(3, *size, seed=1), metric_of(3, taps)
    fit = sk.fit(filters, name, axes=axes, criterion="response", covariance=metric)
    errors = flat(filters - fit.kernels())
    for target, s, error in zip(flat(filters), metric.numpy(), errors, strict=True):
        root = np.linalg.cholesky(s).T

        def loss(t, target=target, root=root):
            columns = np.stack([independent.receptive_field(name, size, t).ravel(), np.ones(taps)], 1)
            left = root @ (target - columns @ np.linalg.lstsq(root @ columns, root @ target, rcond=None)[0])
            return (left**2).sum()

        assert error @ s @ error <= lowest(loss, axes, 400.0, draw) * (1 + 1e-5)


@pytest.mark.parametrize(("name", "size"), [("dx-", (7,)), ("smooth", (6,)), ("dz", (3, 3, 3))], ids=str)
def test_no_simplex_search_finds_a_smaller_sum_of_absolute_differences(name, size):
    axes, taps, draw = len(size), math.prod(size), np.random.default_rng(0)
    filters = noise(2, *size, seed=2)
    fit = sk.fit(filters, name, axes=axes, criterion="l1")
    for index, target in enumerate(flat(filters)):
        bounds = [(None, None)] * 2 + [(0, None)] * taps
        cost = np.r_[0, 0, np.ones(taps)]

        def loss(t, target=target, bounds=bounds, cost=cost):
            kernel = independent.receptive_field(name, size, t).ravel()
            columns = np.stack([kernel / np.linalg.norm(kernel), np.ones(taps)], 1)
            upper = np.block([[columns, -np.eye(taps)], [-columns, -np.eye(taps)]])
            return optimize.linprog(cost, A_ub=upper, b_ub=np.r_[target, -target], bounds=bounds).fun

        assert float(fit.residual_l1[index]) <= lowest(loss, axes, 100.0, draw, starts=2) * (1 + 1e-5)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_noise_free_filters_give_back_their_scales_by_moments(axes):
    for seed, name in enumerate(("smooth", "dx", f"d{'xyz'[axes - 1]}-")):
        sigma = (0.3 if axes < 3 else 0.15) + 0.1 * scales(3, axes, seed)  # narrow, so that the window holds all of it
        filters = 3 * template(name, sigma, {1: (13,), 2: (12, 9), 3: (5, 5, 5)}[axes])
        for criterion in ("l2", "variance"):
            fit = sk.fit(filters, name, axes=axes, criterion=criterion, normalization="moment")
            np.testing.assert_allclose(fit.sigma, sigma, atol=2e-3)
            np.testing.assert_allclose(fit.amplitude, np.full(3, 3.0), atol=1e-2)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("scales_", ["per-axis", "common", "shared"])
def test_every_criterion_works_on_a_bank_of_several_numbers_of_axes(criterion, scales_):
    if (criterion, scales_) == ("response", "shared"):
        with pytest.raises(sk.ModelError, match="criterion 'response' goes with"):
            sk.fit(noise(2, 5, seed=3), axes=1, criterion=criterion, scales=scales_)
        return
    layers = [
        sk.LayerFilters("line", noise(2, 4, seed=3)),
        sk.LayerFilters("plane", noise(2, 5, 4, seed=4), depth=1),
        sk.LayerFilters("volume", torch.cat([noise(2, 3, 3, 3, seed=5), torch.zeros(1, 3, 3, 3).double()]), depth=2),
    ]
    bank = sk.FilterBank(tuple(layers), model="net")
    fit = sk.fit(bank, ("dx", "smooth"), criterion=criterion, scales=scales_)
    assert list(fit.family != "") == [True] * 6 + [False]
    assert fit.status[6] == "zero-filter"
    assert fit.residual_l2.isfinite().all()
    assert not fit.sigma[:6].isnan().logical_xor(torch.tensor([[False, n < 2, n < 4] for n in range(6)])).any()
    if scales_ == "common":
        np.testing.assert_array_equal(fit.sigma[2:4, 0], fit.sigma[2:4, 1])
        np.testing.assert_array_equal(fit.sigma[4:6, 0], fit.sigma[4:6, 2])
    for layer, model in zip(bank, fit.kernels(), strict=True):
        assert model.kernels.shape == layer.kernels.shape
        assert model.kernels.isfinite().all()


@pytest.mark.parametrize("size", [(4,), (9,), (3, 3, 3), (4, 4)], ids=str)
def test_common_scales_are_one_for_all_axes(size):
    axes, filters = len(size), noise(8, *size, seed=6)
    both, each = sk.fit(filters, "smooth", axes=axes, scales="common"), sk.fit(filters, "smooth", axes=axes)
    assert (both.r2 <= each.r2 + 1e-7).all()
    assert (both.sigma == both.sigma[:, :1]).all()
    sigma = scales(4, 1, seed=7).expand(-1, axes)
    fit = sk.fit(template("smooth", sigma, size), "smooth", axes=axes, scales="common")
    if size != (4,):  # four taps of a smoothing have two values, which are the same at every scale
        np.testing.assert_allclose(fit.sigma, sigma, atol=1e-5)


def test_a_scale_is_shared_across_numbers_of_axes():
    sigma = torch.tensor([0.8], dtype=torch.float64)
    layers = (
        sk.LayerFilters("line", template("smooth", sigma[None], (7,))),
        sk.LayerFilters("plane", template("dx", sigma.expand(1, 2), (7, 6)), depth=1),
        sk.LayerFilters("volume", template("dz+", sigma.expand(1, 3), (5, 5, 5)), depth=2),
    )
    fit = sk.fit(sk.FilterBank(layers, model="net"), scales="shared", groups="all")
    assert list(fit.family) == ["smooth", "dx", "dz+"]
    found = fit.sigma[~fit.sigma.isnan()]
    assert len(found) == 6
    np.testing.assert_allclose(found, np.full(6, 0.8), atol=1e-4)


@pytest.mark.parametrize("size", [(12,), (11,), (4, 5, 4)], ids=str)
def test_the_standard_error_is_the_spread_over_noisy_copies(size):
    axes = len(size)
    for name in ("smooth", f"d{'xyz'[axes - 1]}"):
        clean = template(name, torch.full((axes,), 0.8, dtype=torch.float64), size)
        fit = sk.fit(clean + 1e-3 * noise(400, *size, seed=8), name, axes=axes)
        assert set(fit.sigma_status.ravel()) == {"ok"}
        np.testing.assert_allclose(fit.sigma_error.square().mean(0).sqrt(), fit.sigma.std(0), rtol=0.2)
