"""Fits to sums of absolute differences: the crease at a bound, exact coefficients, and what must not matter."""

import numpy as np
import pytest
import torch
from scalekeys.fitting.absolute import least_absolute
from scalekeys.fitting.columns import Columns
from scalekeys.fitting.grids import family_grid
from scalekeys.fitting.lines import fitted_lines
from scalekeys.fitting.residuals import Residuals
from scipy import optimize

import scalekeys as sk
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


@pytest.mark.parametrize("name", ["dx-", "smooth"])
def test_no_start_of_a_simplex_search_ends_lower(name):
    filter_ = _noise(1, 3, seed=21).double()
    fit = sk.fit(filter_, name, criterion="l1")
    grid = family_grid(name, (3, 3), "exact")
    upper = np.log1p(grid.upper.numpy())

    def loss(u):
        t = torch.from_numpy(np.expm1(np.clip(u, 0, upper)))[None]
        basis = torch.stack([grid.plan(t)[0, 0, 0].flatten(), torch.ones(9, dtype=torch.float64)])
        c = fitted_lines(filter_.flatten()[:, None], basis[:, :, None])[:, 0]
        return float((filter_.flatten() - c @ basis).abs().sum())

    starts = np.random.default_rng(4).uniform(0, upper, (6, 2))
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
    filters = torch.cat([sk.master_keys(), _noise(6, 7, seed=6).double()])
    options = {"criterion": "l1", "normalization": normalization, "scales": scales}
    plain, mirrored = sk.fit(filters, **options), sk.fit(filters.flip(-1), **options)
    np.testing.assert_allclose(mirrored.residual_l1, plain.residual_l1, rtol=1e-6)


@pytest.mark.parametrize("scales", ["per-axis", "common"])
def test_all_families_together_are_no_worse_than_each_alone(scales):
    filters = _noise(10, 7, seed=8).double()
    best = sk.fit(filters, criterion="l1", scales=scales).residual_l1
    for name in ("dx+", "dy-", "sharpen", "smooth"):
        assert (best <= sk.fit(filters, name, criterion="l1", scales=scales).residual_l1 * (1 + 1e-6)).all()


def test_scaling_a_filter_scales_its_loss():
    filters = torch.cat([sk.master_keys(), _noise(6, 7, seed=7).double()])
    plain, moved = sk.fit(filters, criterion="l1"), sk.fit(-1e4 * filters, criterion="l1")
    np.testing.assert_allclose(moved.residual_l1, 1e4 * plain.residual_l1, rtol=1e-6)


@pytest.mark.parametrize("case", ["noise", "exact", "flat", "two taps"])
def test_lines_are_those_of_the_linear_programme(case):
    draw = torch.Generator().manual_seed(9)
    basis = torch.stack([torch.randn(25, 6, generator=draw), torch.full((25, 6), 0.2)]).double()
    targets = torch.randn(25, 6, generator=draw).double()
    if case == "exact":
        targets = 2.0 * basis[0] - basis[1]
    elif case == "flat":
        basis[0] = 0.2 + 1e-6 * basis[0]
    elif case == "two taps":
        basis[0] = 0.0
        basis[0, 3], basis[0, 4] = 1.0, -1.0
    left = (targets - (basis * fitted_lines(targets, basis)[:, None]).sum(0)).abs().sum(0)
    for column in range(6):
        b, bounds = basis[:, :, column].T.numpy(), [(None, None)] * 2 + [(0, None)] * 50
        equal = np.hstack([b, np.eye(25), -np.eye(25)])
        best = optimize.linprog(np.r_[0, 0, np.ones(50)], A_eq=equal, b_eq=targets[:, column].numpy(), bounds=bounds)
        assert float(left[column]) == pytest.approx(best.fun, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("common", [False, True])
@pytest.mark.parametrize("name", ["dx", "dy+", "sharpen", "smooth", "jet2"])
def test_derivatives_are_those_of_differences(name, common):
    grid, count, eps, step = family_grid(name, (5, 7), "exact", common), 3, 0.1, 1e-5
    draw = torch.Generator().manual_seed(10)
    components = len(grid.family.components)
    parameters = torch.randn(3 + components, count, generator=draw).double()
    parameters[:2] = parameters[:2].abs() + 0.1
    targets = torch.randn(35, count, generator=draw).double()
    residuals = Residuals(grid.columns, targets, torch.ones(components, count).double())

    def value_and_derivatives(p):
        moving = grid.columns(p[:2])
        r = residuals(p, moving)
        tips = torch.sqrt(r.square() + eps**2)
        return tips.sum(0), *residuals.derivatives(p, moving, r / tips, eps**2 / tips**3, r / tips)

    _, gradient, hessian = value_and_derivatives(parameters)
    for i in range(len(parameters)):
        change = torch.zeros_like(parameters)
        change[i] = step
        high, up, _ = value_and_derivatives(parameters + change)
        low, down, _ = value_and_derivatives(parameters - change)
        np.testing.assert_allclose((high - low) / (2 * step), gradient[i], atol=1e-7)
        np.testing.assert_allclose((up - down) / (2 * step), hessian[i], atol=1e-6)


def test_families_in_one_search_have_their_own_templates():
    grids = [family_grid(name, (7, 7), "published") for name in ("dx+", "smooth", "dy")]
    joint = Columns.of([grid._plan for grid in grids], 49.0).for_counts([2, 0, 3])
    t = torch.tensor([[0.3, 2.0, 0.0, 49.0, 1.0], [1.0, 0.0, 5.0, 0.7, 49.0]], dtype=torch.float64)
    found = joint(t).values[0]
    for grid, some in ((grids[0], slice(0, 2)), (grids[2], slice(2, 5))):
        np.testing.assert_allclose(found[:, some], grid.plan(t.T[some])[:, 0, 0].flatten(1).T, atol=1e-12)
    some = torch.tensor([1, 3, 4])
    np.testing.assert_allclose(joint.select(some)(t[:, some]).values[0], found[:, some], atol=1e-14)
