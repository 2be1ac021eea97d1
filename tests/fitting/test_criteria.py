"""Every criterion with every normalization and window: the optimum is the global one of the stated objective."""

import itertools

import numpy as np
import pytest
import torch
from scipy import optimize

import scalekeys as sk
from independent import least_absolute
from scalekeys.fitting import CRITERIA
from scalekeys.scalespace import IDEAL8, WINDOWS, template

KEYS = sk.master_keys()
OWN = sk.MASTER_KEY_FAMILIES


def _noise(count, side, seed=0):
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _templates(name, first, second, side, window):
    if name == "sharpen":
        return template(name, torch.stack([first, first], -1), side, alpha=second, window=window)
    return template(name, torch.stack([first, second], -1), side, window=window)


def _dense(name, side, window, common, count=60):
    """Templates on a dense grid of sigmas (or sigma and alpha)."""
    sigma = torch.cat([torch.linspace(0, 2, count), torch.linspace(2, side, count // 3)[1:]]).double()
    if name == "sharpen":
        first, second = torch.cartesian_prod(sigma, torch.linspace(0, 3, count).double()).unbind(-1)
    elif common:
        first = second = torch.linspace(0, side, 4 * count).double()
    else:
        first, second = torch.cartesian_prod(sigma, sigma).unbind(-1)
    return _templates(name, first, second, side, window).flatten(1)


CHOICES = (CRITERIA, ("affine", "moment"), WINDOWS, ("per-axis", "common", "shared"))
NORMALIZATIONS = {name: ("affine",) if name == "response" else ("affine", "moment") for name in CRITERIA}


@pytest.mark.parametrize("scales", ["per-axis", "common"])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("criterion", "norm"), [("l1", 1), ("l2", 2)])
def test_no_point_of_a_dense_grid_is_closer_to_a_normalised_key(criterion, norm, window, scales):
    fit = sk.fit(KEYS, criterion=criterion, normalization="moment", window=window, scales=scales, families=OWN)
    residual = fit.residual_l1 if norm == 1 else fit.residual_l2
    for index, name in enumerate(OWN):
        normal = sk.moment_normalization(KEYS[index], name)
        grid = _dense(name, 7, window, scales == "common") - normal.filters.flatten()
        assert float(residual[index] / normal.amplitude.abs()) <= float(grid.norm(p=norm, dim=-1).min()) + 1e-9


@pytest.mark.parametrize("criterion", ["l1", "l2"])
def test_no_search_from_random_starts_comes_closer_to_a_normalised_key(criterion):
    rng = np.random.default_rng(0)
    options = {"normalization": "moment", "window": "published", "families": OWN}
    fit = sk.fit(KEYS, criterion=criterion, **options)
    for index, name in enumerate(OWN):
        normal = sk.moment_normalization(KEYS[index], name)
        power = 1 if criterion == "l1" else 2

        def loss(p, name=name, normal=normal, power=power):
            kernel = _templates(name, *(torch.tensor(abs(v), dtype=torch.float64) for v in p), 7, "published")
            return float((kernel - normal.filters).abs().pow(power).sum())

        found = fit.residual_l1[index] if power == 1 else fit.residual_l2[index] ** 2
        found = float(found / normal.amplitude.abs() ** power)
        for _ in range(2):
            best = optimize.minimize(loss, rng.exponential(0.8, 2), method="Nelder-Mead", options={"maxiter": 100})
            assert found <= best.fun * (1 + 1e-6)


@pytest.mark.parametrize("normalization", ["affine", "moment"])
@pytest.mark.parametrize(("name", "side"), [("dx+", 3), ("smooth", 5), ("sharpen", 5), ("dy", 7)])
def test_no_point_of_a_dense_grid_has_a_lower_l1_for_noise(name, side, normalization):
    filters = _noise(6, side)
    fit = sk.fit(filters, name, criterion="l1", normalization=normalization)
    templates = _dense(name, side, "exact", common=False, count=40)
    for index, filter_ in enumerate(filters):
        if normalization == "moment":
            normal = sk.moment_normalization(filter_, name)
            left = (filter_ - normal.offset).flatten() - normal.amplitude * templates
            lowest = float(left.abs().sum(-1).min())
        else:
            some = templates[:: 1 + len(templates) // 60].numpy()
            lowest = min(least_absolute(filter_.flatten().numpy(), kernel) for kernel in some)
        assert float(fit.residual_l1[index]) <= lowest * (1 + 1e-9)


def _linear_programme(target, kernel):
    """min over a, b of sum |h - a K - b|, as a linear programme."""
    target, columns = target.numpy(), np.stack([kernel.numpy(), np.ones(len(kernel))], 1)
    count = len(target)
    bounds = [(None, None)] * 2 + [(0, None)] * count
    upper = np.block([[columns, -np.eye(count)], [-columns, -np.eye(count)]])
    cost = np.r_[0, 0, np.ones(count)]
    return optimize.linprog(cost, A_ub=upper, b_ub=np.r_[target, -target], bounds=bounds).fun


def test_coefficients_of_l1_are_those_of_the_linear_programme():
    filters = _noise(5, 5, seed=4)
    fit = sk.fit(filters, "dx", criterion="l1")
    kernels = template("dx", fit.values.parameters.sqrt(), 5)  # a scale that is called infinite is very large
    for filter_, kernel, residual in zip(filters, kernels, fit.residual_l1, strict=True):
        assert float(residual) == pytest.approx(_linear_programme(filter_.flatten(), kernel.flatten()), rel=1e-8)
    infinite = fit.sigma.isinf().any(-1)
    assert infinite.any()
    for filter_, kernel, residual in zip(filters, template("dx", fit.sigma, 5), fit.residual_l1, strict=True):
        assert float(residual) == pytest.approx(_linear_programme(filter_.flatten(), kernel.flatten()), rel=1e-4)


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", ["dx-", "dy+", "dx", "smooth"])
def test_noise_free_filters_give_back_their_scales(criterion, name):
    sigma = 0.35 + 0.6 * torch.rand(6, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    kernels = 3.0 * template(name, sigma, 15)
    fit = sk.fit(kernels, name, criterion=criterion, normalization=NORMALIZATIONS[criterion][-1])
    if criterion == "variance-continuous":  # exact for continuous Gaussians only
        assert float((fit.sigma - sigma).abs().max()) < 0.5
    else:
        np.testing.assert_allclose(fit.sigma, sigma, atol=2e-4)
        np.testing.assert_allclose(fit.amplitude, np.full(6, 3.0), atol=2e-3)


@pytest.mark.parametrize("name", [name for name in IDEAL8 if name != "sharpen"])  # its scale is that of l2
def test_widths_are_those_of_the_template(name):
    key = KEYS[OWN.index(name)]
    fit = sk.fit(key, name, criterion="variance", normalization="moment", window="published")
    weight = template(name, torch.ones(2, dtype=torch.float64), 7, window="published").abs()
    normal = sk.moment_normalization(key, name).filters
    measured = sk.spread(normal, weight=weight).covariance.diagonal()
    for axis in (0, 1):
        sigma = torch.ones(2, dtype=torch.float64)
        sigma[axis] = fit.sigma[0, axis]
        reached = sk.spread(template(name, sigma, 7, window="published"), weight=weight).covariance[axis, axis]
        assert float(reached) == pytest.approx(float(measured[axis]), rel=1e-9)


@pytest.mark.parametrize(
    ("criterion", "normalization", "window", "scales"),
    [
        options
        for numbers, options in zip(
            itertools.product(*(range(len(choices)) for choices in CHOICES)), itertools.product(*CHOICES), strict=True
        )
        if sum(numbers) % 2 == 0  # half of all, in which every two choices meet
        and options[1] in NORMALIZATIONS[options[0]]
        and (options[0], options[3]) != ("response", "shared")
    ],
)
def test_every_two_choices_work_on_a_bank_of_several_sizes(criterion, normalization, window, scales):
    layers = [
        sk.LayerFilters("a", KEYS[::3].float()),
        sk.LayerFilters("b", _noise(2, 3).float()),
        sk.LayerFilters("c", torch.cat([_noise(1, 3), torch.zeros(1, 3, 3)]).float()),
        sk.LayerFilters("d", _noise(1, 5)[:, :1]),
    ]
    bank = sk.FilterBank(tuple(layers), model="net")
    options = {"criterion": criterion, "normalization": normalization, "window": window, "scales": scales}
    fit = sk.fit(bank, ("dx", "smooth", "sharpen"), **options)
    fitted = fit.family != ""
    assert fitted.tolist() == [True] * 6 + [False, True]
    assert fit.residual_l2.isfinite().all()
    assert (fit.r2[fitted] <= 1).all()
    if scales != "per-axis":
        np.testing.assert_allclose(fit.sigma[:6, 0], fit.sigma[:6, 1])
    model = torch.cat([layer.kernels.flatten(1).norm(dim=-1) for layer in fit.kernels()])
    assert model.isfinite().all()
    if normalization == "affine" and criterion not in ("l1", "response"):
        assert (fit.r2[fitted] >= -1e-12).all()


def test_an_amplitude_that_is_fixed_badly_explains_less_than_nothing():
    noise = _noise(50, 7)
    fit = sk.fit(noise, "dx", normalization="moment")
    left = (noise - fit.kernels()).square().sum((-2, -1))
    centred = (noise - noise.mean((-2, -1), keepdim=True)).square().sum((-2, -1))
    np.testing.assert_allclose(fit.r2, 1 - left / centred, atol=1e-9)
    assert fit.r2.min() < 0


@pytest.mark.parametrize("criterion", CRITERIA)
def test_scaling_a_filter_scales_amplitudes_and_nothing_else(criterion):
    filters = torch.cat([KEYS[::3], _noise(2, 7)])
    for normalization in NORMALIZATIONS[criterion]:
        options = {"model": ("dx", "dy-", "smooth"), "criterion": criterion, "normalization": normalization}
        plain, scaled = sk.fit(filters, **options), sk.fit(-1e5 * filters, **options)
        assert plain.family.tolist() == scaled.family.tolist()
        np.testing.assert_allclose(scaled.sigma, plain.sigma, atol=1e-4)
        np.testing.assert_allclose(scaled.amplitude, -1e5 * plain.amplitude, rtol=1e-3)


def test_given_families_are_kept():
    wrong = list(OWN[::-1])
    fit = sk.fit(KEYS, families=wrong)
    assert fit.family.tolist() == wrong
    again = sk.fit(KEYS, families=sk.fit(KEYS).family)
    np.testing.assert_allclose(again.r2, sk.fit(KEYS).r2, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "jet2", "normalization": "moment"}, "normalization 'moment' makes no sense for 'jet2'"),
        ({"model": ("dx", "jet1"), "criterion": "variance"}, "criterion 'variance' makes no sense for 'jet1'"),
        ({"families": ["dx"]}, "families must name one family for each of the 8 filters"),
        ({"families": ["dz"] * 8}, "families names 'dz', which is not in the model"),
        ({"families": [None] * 8}, "families names 'None', which is not in the model"),
        ({"families": [""] * 8}, "families has no name for filter 0; name one of the model"),
        ({"families": 3}, "families must name one family for each of the 8 filters, got 3"),
        ({"scales": "shared", "groups": 1}, "groups must have one label for each of the 8 filters, got 1"),
        ({"scales": "shared", "groups": [[1]] * 8}, "and a list cannot be one"),
        ({"groups": "all"}, "groups name which filters share a scale, so they need scales='shared', not 'per-axis'"),
        ({"scales": "shared", "groups": "rows"}, "groups must be one of 'paper', 'family', 'layer', 'all'"),
        ({"scales": "shared", "groups": [1, 2]}, "groups must have one label for each of the 8 filters, got 2"),
        ({"normalization": "unit"}, "normalization must be one of 'affine', 'moment', got 'unit'"),
    ],
)
def test_what_makes_no_sense_says_why(arguments, message):
    with pytest.raises(sk.ModelError, match=message):
        sk.fit(KEYS, **arguments)
