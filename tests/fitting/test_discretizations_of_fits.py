"""Fits and constrained layers in discretizations other than the discrete analogue of the Gaussian."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, special, stats
from torch import nn

import scalekeys as sk
from scalekeys.errors import ModelError
from scalekeys.fitting.templates.axis_profiles import AxisProfiles
from scalekeys.networks.constrained.differentiable_profiles import constants_of, profiles
from scalekeys.scalespace import DIFFERENCES, DISCRETIZATIONS, IMPULSE, smallest_variance, template, template_plan
from tolerances import assert_close

OTHERS = [name for name in DISCRETIZATIONS if name != "discrete"]
others = pytest.mark.parametrize("name", OTHERS)
SIGMA = torch.tensor([[0.6, 1.1], [1.3, 0.5]], dtype=torch.float64)


def filters_of(name, size=(5, 5)):
    """Return a smoothing and a one-sided difference at known scales, with amplitude and offset."""
    known = zip(("smooth", "dx+"), SIGMA, strict=True)
    return torch.stack([2 * template(family, sigma, size, discretization=name) - 0.3 for family, sigma in known])


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, (5, 5)) for name in OTHERS),
        ("integrated", (4, 6)),
        ("normalized-sampled", (4, 5)),
        ("normalized-sampled", (5, 4)),
    ],
    ids=str,
)
def test_known_scales_are_recovered(name, size):
    fit = sk.fit(filters_of(name, size), ("smooth", "dx+"), discretization=name)
    assert fit.family.tolist() == ["smooth", "dx+"]
    assert_close(fit.sigma, SIGMA, absolute=1e-6)
    assert_close(fit.kernels(), filters_of(name, size), absolute=1e-7)
    assert str(fit.spec).endswith(f"discretization {name}")


def test_a_fit_of_samples_is_the_optimum_of_an_independent_search():
    """Templates of scipy's normal density, and its bounded search, from many starts."""
    filters = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    taps = np.arange(-2.0, 3)

    def unexplained(sigma, target):
        field = np.outer(*(stats.norm.pdf(taps, scale=one) for one in sigma[::-1]))
        field = field - field.mean()
        return 1 - (field.ravel() @ target.ravel()) ** 2 / (field**2).sum() / (target**2).sum()

    found = sk.fit(filters, "smooth", discretization="sampled")
    for r2, target in zip(found.r2.tolist(), (filters - filters.mean((1, 2), keepdim=True)).numpy(), strict=True):
        starts = [(a, b) for a in (0.3, 0.7, 2.0, 6.0) for b in (0.3, 0.7, 2.0, 6.0)]
        runs = [optimize.minimize(unexplained, start, (target,), bounds=[(0.2, 40)] * 2).fun for start in starts]
        assert r2 > 1 - min(runs) - 1e-6


@others
@pytest.mark.parametrize("side", [4, 5])
def test_tabulated_profiles_are_those_of_templates(name, side):
    operators = (*DIFFERENCES, IMPULSE) if side % 2 else ("identity", "central", "forward", "backward", "second")
    bend = float(side)
    along = AxisProfiles(operators, side, 0, "exact", bend, name, plain=True)
    u = torch.linspace(along.start, along.end, 7, dtype=torch.float64)
    t = bend * u / (1 - u)
    for number, values in enumerate(along(u)):
        found = along.folds[number].T @ values[0, :-1]
        if operators[number] in ("identity", "central", "forward", "second"):
            family = {"identity": "smooth", "central": "dx", "forward": "dx+", "second": "dxx"}[operators[number]]
            wanted = template_plan(family, (side,), discretization=name)(t[:, None])[:, 0].T
            assert_close(found, wanted, absolute=1e-9 * float(wanted.abs().max()))


@others
def test_a_wide_template_is_the_limit_at_infinity(name):
    scales = torch.tensor([[3e3, 3e3], [math.inf, math.inf]], dtype=torch.float64)
    far, limit = (template("smooth", sigma, (5, 5), discretization=name) for sigma in scales)
    far = far - far.mean()
    assert_close(far / far.norm(), limit, absolute=1e-5)


@pytest.mark.parametrize(("model", "explained"), [("jet2", 0.9), ("sparse4", 0.9), ("sharpen", 0.1), ("dog", 0.1)])
def test_every_model_takes_a_discretization(model, explained):
    fit = sk.fit(filters_of("sampled"), model, discretization="hybrid-integrated")
    assert bool((fit.r2 > explained).all())
    assert bool((fit.sigma >= math.sqrt(smallest_variance("sampled")) - 1e-9).all())
    rest = (filters_of("sampled") - fit.kernels()).square().sum((1, 2))
    whole = filters_of("sampled").var((1, 2), correction=0) * 25
    assert_close(1 - rest / whole, fit.r2, absolute=1e-9)


@pytest.mark.parametrize("criterion", ["l1", "response"])
def test_other_criteria_recover_known_scales(criterion):
    fit = sk.fit(filters_of("sampled")[:1], "smooth", criterion=criterion, discretization="sampled")
    assert_close(fit.sigma, SIGMA[:1], absolute=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"discretization": "nearest"}, "discretization must be one of"),
        ({"discretization": "sampled", "window": "published"}, "goes with window='exact'"),
        ({"discretization": "sampled", "criterion": "variance"}, "goes with window='exact' and the criteria"),
        ({"discretization": "sampled", "model": "oriented"}, "has a form for discretization='discrete' only"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ModelError, match=message):
        sk.fit(filters_of("sampled"), **options)


def layer_of(filters):
    layer = nn.Conv2d(len(filters), len(filters), filters.shape[1:], groups=len(filters)).double()
    layer.weight.data = filters[:, None].clone()
    return layer


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("normalized-sampled", (5, 5)),
        ("normalized-sampled", (4, 5)),
        ("normalized-sampled", (5, 4)),
        ("hybrid-integrated", (5, 5)),
    ],
    ids=str,
)
def test_a_constrained_layer_has_the_discretization_of_its_fit(name, size):
    layer = layer_of(filters_of(name, size))
    fit = sk.fit(sk.extract(layer), ("smooth", "dx+"), discretization=name)
    constrained = sk.constrain(layer, fit)
    assert_close(constrained.weight, layer.weight, absolute=1e-7)
    assert_close(constrained.parametrizations.weight[0].sigma, SIGMA, absolute=1e-6)


def test_a_constrained_layer_in_another_discretization_is_the_nearest_at_its_scales():
    layer = layer_of(filters_of("discrete"))
    fit = sk.fit(sk.extract(layer), ("smooth", "dx+"))
    found = sk.constrain(layer, fit, discretization="sampled").weight.detach()[:, 0]
    for kernel, wanted, sampled in zip(found, layer.weight.detach()[:, 0], filters_of("sampled"), strict=True):
        basis = torch.stack([sampled.flatten(), torch.ones(25).double()], dim=1)
        assert_close(kernel.flatten(), basis @ torch.linalg.lstsq(basis, wanted.flatten()).solution, absolute=1e-7)
    with pytest.raises(ModelError, match="discretization must be one of"):
        sk.constrain(layer, fit, discretization="nearest")


@others
def test_profiles_that_are_learned_are_those_of_templates_with_their_derivatives(name):
    constants = constants_of(("identity", "central"), (5,), "exact", name)
    t = torch.tensor([smallest_variance(name), 0.1, 0.9, 7.0, 300.0], dtype=torch.float64)
    for number, family in enumerate(("smooth", "dx")):
        plan = template_plan(family, (5,), discretization=name)
        wanted = plan(t[:, None])[:, 0]
        slope = torch.autograd.functional.jacobian(lambda t: plan(t[:, None])[:, 0].sum(0), t).T  # noqa: B023
        found = profiles(t[None], constants)[0, number].T
        own = torch.autograd.functional.jacobian(
            lambda t: profiles(t[None], constants)[0, number].sum(1),  # noqa: B023
            t,
        ).T
        assert_close(found, wanted, absolute=1e-11)
        torch.testing.assert_close(own, slope, rtol=1e-8, atol=1e-7)  # largest at the smallest variance, about 25


@pytest.mark.parametrize("size", [(4, 5), (5, 4), (3, 2, 3), (2, 3, 4)], ids=str)
def test_normalized_samples_are_divided_by_the_sum_over_the_lattice_of_their_side(size):
    sigma = torch.tensor([0.4, 0.3, 0.35][: len(size)], dtype=torch.float64)
    expected = np.ones(())
    for side, scale in zip(size, reversed(sigma.tolist()), strict=True):
        taps, lattice = (np.arange(reach) - (reach - 1) / 2 for reach in (side, side + 100))
        profile = stats.norm.pdf(taps, scale=scale) / stats.norm.pdf(lattice, scale=scale).sum()
        expected = np.multiply.outer(expected, profile)
    assert_close(template("smooth", sigma, size, discretization="normalized-sampled"), expected, absolute=1e-14)


def test_samples_are_those_of_scipy():
    sigma, taps = torch.tensor([0.8], dtype=torch.float64), np.arange(-2, 3)
    assert_close(template("smooth", sigma, (5,), discretization="sampled"), stats.norm.pdf(taps, scale=0.8))
    assert_close(template("smooth", sigma, (5,)), special.ive(np.abs(taps), 0.64))
    with pytest.raises(ModelError, match="has no template at sigma = 0"):
        template("smooth", torch.zeros(1), (5,), discretization="sampled")
