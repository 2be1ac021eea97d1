"""Infinite scales are ordinary ends of a search: no search without a bound finds more, and results say so."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, optimize

import independent
import scalekeys as sk
from scalekeys.scalespace import ideal, template

LARGEST = math.log(1e6)  # of a variance
STRENGTHS = (0.0, 10.0)  # of `sharpen`


def filters_of(size, seed=0):
    """Three filters of noise, three smooth ones, and two polynomials with a little noise."""
    draw, axes = np.random.default_rng(seed), len(size)
    noise, smooth = draw.standard_normal((2, 3, *size))
    smooth = ndimage.gaussian_filter(smooth, 1.5, axes=tuple(range(1, axes + 1)), mode="nearest")
    places = np.meshgrid(*[np.arange(side) - (side - 1) / 2 for side in size], indexing="ij")
    bowl = -sum(draw.uniform(0.5, 2.0) * place**2 for place in places)
    ramp = sum(draw.uniform(-1.0, 1.0) * place for place in places[:1]) + 0.05 * bowl
    polynomials = np.stack([field / field.std() + 0.05 * draw.standard_normal(size) for field in (bowl, ramp)])
    return np.concatenate([noise, smooth / smooth.std(), polynomials])


def best_share(name, target, draw, starts):
    """Largest r2 of a family by L-BFGS-B from random starts, in logarithms of variances up to 1e6."""
    size = target.shape
    target = target - target.mean()
    target = target / np.linalg.norm(target)
    scales = 1 if name == "sharpen" else len(size)

    def loss(p):
        t = np.exp(p[:scales])
        field = independent.receptive_field(name, size, (t[0], p[1]) if name == "sharpen" else t)
        field = field - field.mean()
        energy = (field * field).sum()
        return -((target * field).sum() ** 2) / energy if energy > 0 else 0.0

    bounds = [(-12.0, LARGEST)] * scales + ([STRENGTHS] if name == "sharpen" else [])
    best = 0.0
    for start in draw.uniform(0.0, 1.0, (starts, scales)):
        p = [*(np.log(10.0) * (-2 + 6 * start)), *([draw.exponential(0.5)] if name == "sharpen" else [])]
        best = max(best, -optimize.minimize(loss, p, method="L-BFGS-B", bounds=bounds).fun)
    return best


@pytest.mark.parametrize(
    "size",
    [(3,), (4,), (7,), (8,), (3, 3), (5, 5), (7, 7), (9, 9), (4, 6), (3, 3, 3)],
    ids=lambda size: "x".join(map(str, size)),
)
def test_no_scipy_search_without_a_bound_explains_more(size):
    draw, filters, starts = np.random.default_rng(1), filters_of(size), 2 if len(size) > 2 else 4
    fit = sk.fit(torch.from_numpy(filters), axes=len(size))
    for index, target in enumerate(filters):
        best = max(best_share(name, target, draw, starts) for name in ideal(len(size)))
        assert float(fit.r2[index]) >= best - 1e-6
    assert max(size) < 5 or (fit.status == "polynomial").any()


@pytest.mark.parametrize("name", ["smooth", "dx+", "dy", "dx-"])
def test_a_single_family_is_searched_to_infinity_as_well(name):
    draw, filters = np.random.default_rng(2), filters_of((5, 5), seed=3)
    fit = sk.fit(torch.from_numpy(filters), name)
    for index, target in enumerate(filters):
        assert float(fit.r2[index]) >= best_share(name, target, draw, 6) - 1e-6


@pytest.mark.parametrize("size", [(5,), (6,), (7, 7), (4, 5), (3, 4, 5)], ids=str)
def test_limits_come_back_as_what_they_are(size):
    axes = len(size)
    for name in ("smooth", "dx", f"d{'xyz'[axes - 1]}"):
        limit = template(name, torch.full((axes,), math.inf, dtype=torch.float64), size)
        fit = sk.fit(3 * limit[None] + 2, name, axes=axes)
        assert fit.r2[0] == pytest.approx(1.0, abs=1e-7)
        assert fit.sigma.isinf().all() or name != "smooth"
        assert fit.status[0] == "polynomial"
        np.testing.assert_allclose(fit.kernels()[0], 3 * limit + 2, atol=2e-3)


@pytest.mark.parametrize("size", [(7, 7), (6, 5)], ids=str)
def test_one_scale_is_infinite_and_the_other_comes_back(size):
    for name in ("smooth", "dx+", "dy", "dy-"):
        for place in (0, 1):
            sigma = torch.full((1, 2), 0.8, dtype=torch.float64)
            sigma[0, place] = math.inf
            fit = sk.fit(2 * template(name, sigma, size) - 1, name)
            assert fit.status[0] == "polynomial"
            assert fit.sigma[0, place].isinf()
            assert fit.sigma_status[0, place] == "infinite"
            assert fit.sigma_status[0, 1 - place] in ("ok", "flat")
            np.testing.assert_allclose(fit.sigma[0, 1 - place], 0.8, atol=1e-5)
            assert fit.r2[0] == pytest.approx(1.0, abs=1e-9)


def test_amplitude_and_offset_are_those_of_the_template_at_the_infinite_scale():
    filters = torch.from_numpy(filters_of((5, 5), seed=4))
    fit = sk.fit(filters)
    infinite = fit.sigma.isinf()
    assert (infinite.sum(-1) == 1).any()
    for row in (infinite.sum(-1) == 1).nonzero()[:, 0].tolist():  # where both are, their ratio counts as well
        kernel = template(str(fit.family[row]), fit.sigma[row], 5)
        assert float(kernel.norm()) == pytest.approx(1.0, abs=1e-12)
        assert fit.offset[row] == pytest.approx(float(filters[row].mean()), abs=1e-9)
        model = fit.amplitude[row] * kernel + fit.offset[row]
        np.testing.assert_allclose(model, fit.kernels()[row], atol=5e-3 * float(fit.amplitude[row].abs()))
    for row in infinite.any(-1).nonzero()[:, 0].tolist():
        assert float((fit.kernels()[row] - fit.offset[row]).norm()) == pytest.approx(float(fit.amplitude[row].abs()))


def test_large_finite_scales_stay_finite():
    # Eight sides of the kernel are the end of what a window can tell from infinity.
    for sigma, word in ((20.0, "ok"), (40.0, "ok"), (400.0, "polynomial")):
        fit = sk.fit(template("smooth", torch.tensor([[sigma, 0.9]], dtype=torch.float64), 7), "smooth")
        assert fit.status[0] == word
        assert bool(fit.sigma[0, 0].isinf()) == (word == "polynomial")
        if word == "ok":
            assert float(fit.sigma[0, 0]) == pytest.approx(sigma, rel=1e-2)
        assert float(fit.sigma[0, 1]) == pytest.approx(0.9, abs=1e-5)


def test_the_table_holds_infinity_and_survives_parquet(tmp_path):
    import pyarrow.parquet as pq

    bowl = template("smooth", torch.full((1, 2), math.inf, dtype=torch.float64), 5)
    fit = sk.fit(torch.cat([bowl, template("dx", torch.tensor([[0.7, 0.8]], dtype=torch.float64), 5)]))
    pq.write_table(fit.to_arrow(), tmp_path / "filters.parquet")
    table = pq.read_table(tmp_path / "filters.parquet").to_pandas()
    assert table.sigma_x.tolist()[0] == table.sigma_y.tolist()[0] == math.inf
    assert table.status.tolist() == ["polynomial", "ok"]
    assert table.sigma_x_status.tolist() == ["infinite", "ok"]
    assert table.sigma_x_error.isna().tolist() == [True, False]
    assert fit.to_pandas().sigma_x.tolist() == table.sigma_x.tolist()


@pytest.mark.parametrize("model", ["jet1", "jet2", "dog", "sharpen"])
def test_what_has_no_limit_ends_at_a_bound(model):
    filters = torch.from_numpy(filters_of((5, 5), seed=5))
    fit = sk.fit(filters, model)
    assert set(fit.status) <= {"ok", "at-bound"}
    assert fit.sigma.isfinite().all()
    assert (fit.sigma <= 5 * (1 + 1e-6)).all()
    assert not (fit.sigma_status == "infinite").any()


def test_moments_have_no_limit_either():
    fit = sk.fit(torch.from_numpy(filters_of((5, 5), seed=6)), normalization="moment")
    assert fit.sigma.isfinite().all()
    assert not (fit.status == "polynomial").any()


@pytest.mark.parametrize("scales", ["per-axis", "common"])
@pytest.mark.parametrize("criterion", ["l2", "l1", "response"])
def test_other_criteria_reach_infinite_scales_too(criterion, scales):
    filters = torch.from_numpy(filters_of((5, 5), seed=7))
    fit = sk.fit(filters, "smooth", criterion=criterion, scales=scales)
    assert (fit.status == "polynomial").any()
    infinite = fit.sigma.isinf()
    assert infinite.any()
    assert (infinite.any(-1).numpy() == (fit.status == "polynomial")).all()
    assert fit.kernels().isfinite().all()
    bowl = template("smooth", torch.full((2,), math.inf, dtype=torch.float64), 5)[None]
    exact = sk.fit(bowl, "smooth", criterion=criterion, scales=scales)
    assert exact.status[0] == "polynomial"
    assert float(exact.r2[0]) > 1 - 1e-6


def test_a_bowl_may_be_wider_along_one_axis_than_along_the_other():
    # Where both scales are infinite, their ratio counts: it gives the curvatures of the bowl.
    x = torch.arange(-3.0, 4.0, dtype=torch.float64)
    for ratio in (0.2, 1.0, 3.0, 10.0):
        bowl = -(x**2 + ratio * x[:, None] ** 2)
        fit = sk.fit(bowl[None], "smooth")
        assert float(fit.r2[0]) == pytest.approx(1.0, abs=1e-7)
        assert fit.status[0] == "polynomial"
        t = fit.values.parameters[0]
        assert float(t[0] / t[1]) == pytest.approx(ratio, rel=1e-2)
