"""Jets: free mixtures of all derivatives up to an order."""

import numpy as np
import pytest
import torch
from scipy import optimize

import scalekeys as sk
from scalekeys.scalespace import FAMILIES, JETS, template, template_plan


def _basis(name, sigma, side):
    t = torch.as_tensor(sigma, dtype=torch.float64).square()[None]
    return template_plan(name, (side, side))(t)[0].flatten(1).T.numpy()


def _share(filter_, name, sigma):
    """r2 of a filter by least squares on the components and a constant, written with numpy."""
    target = filter_.flatten().numpy()
    columns = np.column_stack([_basis(name, sigma, filter_.shape[-1]), np.ones(target.size)])
    left = target - columns @ np.linalg.lstsq(columns, target, rcond=None)[0]
    return 1 - (left**2).sum() / ((target - target.mean()) ** 2).sum()


@pytest.mark.parametrize("name", JETS)
def test_a_search_with_numpy_from_many_starts_finds_no_better_jet(name):
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.standard_normal((2, 7, 7)))
    filters = torch.cat([sk.master_keys()[[0, 4, 6]], noise])
    fit = sk.fit(filters, name)
    for index, filter_ in enumerate(filters):
        loss = lambda p, f=filter_: -_share(f, name, np.abs(p))  # noqa: E731
        for _ in range(4):
            best = optimize.minimize(loss, rng.exponential(0.8, 2), method="Nelder-Mead", bounds=[(0, 7)] * 2)
            assert float(fit.r2[index]) >= -best.fun - 1e-9


def test_shares_of_the_keys_are_those_of_the_method():
    # Order 2 explains 98 % of the energy of the keys 1 to 4.
    assert sk.fit(sk.master_keys()[:4], "jet2").r2.min() > 0.98


def test_a_jet_of_higher_order_explains_more():
    filters = torch.randn(30, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares = [sk.fit(filters, name).r2 for name in JETS]
    assert (shares[1] >= shares[0] - 1e-9).all()
    assert (shares[2] >= shares[1] - 1e-9).all()


def test_noise_free_mixtures_give_back_scales_and_coefficients():
    generator = torch.Generator().manual_seed(3)
    sigma = 0.4 + 0.8 * torch.rand(20, 2, generator=generator, dtype=torch.float64)
    weights = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    components = template_plan("jet2", (9, 9))(sigma.square())
    filters = (weights[..., None, None] * components).sum(1) + 0.3
    fit = sk.fit(filters, "jet2")
    np.testing.assert_allclose(fit.sigma, sigma, atol=1e-4)
    np.testing.assert_allclose(fit.coefficients, weights, atol=1e-3)
    np.testing.assert_allclose(fit.offset, np.full(20, 0.3), atol=1e-3)
    assert fit.amplitude.isnan().all()
    np.testing.assert_allclose(fit.kernels(), filters, atol=1e-6)


@pytest.mark.parametrize("name", JETS)
@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_kernels_too_small_for_a_jet_are_explained_wholly_and_not_spoiled(name, criterion):
    filters = torch.randn(6, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    fit = sk.fit(filters, name, criterion=criterion)
    assert fit.r2.isfinite().all()
    np.testing.assert_allclose((filters - fit.kernels()).square().sum((-2, -1)).sqrt(), fit.residual_l2, atol=1e-6)
    if name == "jet3":
        assert (fit.r2 > 1 - 1e-6).all()
        assert set(sk.fit(filters, name).sigma_status.ravel()) <= {"flat", "at-zero", "at-bound"}


def test_turning_a_filter_turns_its_jet():
    fit, turned = sk.fit(sk.master_keys(), "jet2"), sk.fit(sk.master_keys().mT, "jet2")
    np.testing.assert_allclose(turned.sigma, fit.sigma.flip(-1), atol=1e-6)
    np.testing.assert_allclose(turned.r2, fit.r2, atol=1e-9)


def test_coefficients_stand_in_the_table_for_jets_only():
    table = sk.fit(sk.master_keys(), "jet1").to_arrow()
    assert [len(row) for row in table["coefficients"].to_pylist()] == [3] * 8
    assert sk.fit(sk.master_keys(), "dx").to_arrow()["coefficients"].null_count == 8


def test_a_jet_is_no_template_by_itself():
    assert len(FAMILIES["jet2"].components) == 6
    with pytest.raises(sk.ModelError, match="'jet2' is a mixture of 6 templates and none by itself"):
        template("jet2", torch.ones(2))
