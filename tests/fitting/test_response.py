"""Least squares in what filters answer to the patches that they see."""

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import nn

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.fitting import PatchCovariance
from scalekeys.scalespace import template, template_plan


def _random_metric(count, taps, seed=0):
    root = torch.randn(count, taps, 2 * taps, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return root @ root.mT / taps


def _noise(count, side, seed=0):
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _best_share(filter_, metric, name):
    """Least error of response by numpy and scipy from many starts, in units of that of the best constant."""
    root = np.linalg.cholesky(metric.numpy()).T
    target, ones = root @ filter_.numpy().ravel(), root.sum(1)
    side = filter_.shape[-1]

    def left(columns):
        return ((target - columns @ np.linalg.lstsq(columns, target, rcond=None)[0]) ** 2).sum()

    whole = left(ones[:, None])

    def loss(sigma):
        basis = template_plan(name, (side, side))(torch.tensor(np.abs(sigma))[None] ** 2)[0].flatten(1).numpy()
        return left(np.column_stack([root @ basis.T, ones])) / whole

    rng = np.random.default_rng(0)
    return min(
        optimize.minimize(loss, rng.exponential(0.8, 2), method="Nelder-Mead", bounds=[(0, side)] * 2).fun
        for _ in range(6)
    )


@pytest.mark.parametrize("name", ["dx+", "smooth", "laplacian", "jet2"])
def test_no_search_with_numpy_finds_a_smaller_error_of_response(name):
    filters, metric = _noise(4, 5), _random_metric(4, 25)
    fit = sk.fit(filters, name, criterion="response", covariance=metric)
    error = (filters - fit.kernels()).flatten(1)
    lost = torch.einsum("ni,nij,nj->n", error, metric, error)
    for i in range(4):
        ones = torch.ones(25, dtype=torch.float64)
        h = filters[i].flatten()
        constant = h - (ones @ metric[i] @ h) / (ones @ metric[i] @ ones)
        share = float(lost[i] / (constant @ metric[i] @ constant))
        assert share <= _best_share(filters[i], metric[i], name) * (1 + 1e-6)


def test_white_patches_make_response_least_squares_in_the_weights():
    filters = torch.cat([sk.master_keys(), _noise(10, 7)])
    white = torch.eye(49, dtype=torch.float64)
    response, plain = sk.fit(filters, criterion="response", covariance=white), sk.fit(filters)
    assert list(response.family) == list(plain.family)
    finite = plain.status != "polynomial"
    assert 0 < finite.sum() < len(finite)
    np.testing.assert_allclose(response.sigma[finite], plain.sigma[finite], atol=1e-6)
    np.testing.assert_allclose(response.coefficients[finite], plain.coefficients[finite], atol=1e-6)
    np.testing.assert_allclose(response.offset[finite], plain.offset[finite], atol=1e-8)
    np.testing.assert_allclose(response.r2[finite], plain.r2[finite], atol=1e-10)
    # Weighted errors are those of whole templates, whose digits end a search a little before infinity.
    np.testing.assert_allclose(response.sigma, plain.sigma, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(response.r2, plain.r2, atol=1e-5)


def test_the_share_of_response_is_that_of_a_network_that_runs():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 5, groups=8, padding=2, bias=False)).double()
    images = torch.randn(6, 3, 24, 24, dtype=torch.float64).cumsum(-1).cumsum(-2)
    seen = sk.patch_covariance(network, [images], shrink=False)
    fit = sk.fit(sk.extract(network), "jet1", criterion="response", covariance=seen)
    with torch.no_grad():
        before = network(images)
        network[1].weight.copy_(fit.kernels().layers[0].kernels[:, None])
        change = before - network(images)
    centred = [values - values.mean((0, 2, 3), keepdim=True) for values in (before, change)]
    whole, lost = (values.square().mean((0, 2, 3)) for values in centred)
    np.testing.assert_allclose(fit.r2_response, 1 - lost / whole, rtol=1e-6)


def test_a_fit_to_responses_answers_better_and_a_fit_to_weights_looks_better():
    bank = FilterBank((LayerFilters("dw", _noise(30, 5), dilation=2),), model="net")
    response, plain = sk.fit(bank, criterion="response"), sk.fit(bank)
    metric = sk.natural_image_covariance(5, dilation=2)
    answers = []
    for fit in (response, plain):
        error = (bank.layers[0].kernels - fit.kernels().layers[0].kernels).flatten(1)
        answers.append(torch.einsum("ni,ij,nj->n", error, metric, error))
    assert (answers[0] <= answers[1] * (1 + 1e-9)).all()
    assert (response.r2 <= plain.r2 + 1e-9).all()
    assert (answers[0] < 0.9 * answers[1]).any()


def test_an_exact_receptive_field_comes_back_whatever_the_patches():
    sigma = torch.tensor([[0.6, 1.1], [0.9, 0.5]], dtype=torch.float64)
    filters = 2 * template("dx", sigma, 7) + 0.5
    fit = sk.fit(filters, criterion="response")
    assert list(fit.family) == ["dx", "dx"]
    np.testing.assert_allclose(fit.sigma, sigma, atol=1e-4)
    np.testing.assert_allclose(fit.offset, [0.5, 0.5], atol=1e-4)
    np.testing.assert_allclose(fit.r2_response, [1.0, 1.0], atol=1e-9)


def test_the_result_does_not_depend_on_the_batch_or_the_unit_of_the_covariance():
    filters, metric = _noise(12, 3), _random_metric(12, 9)
    together = sk.fit(filters, criterion="response", covariance=metric)
    alone = sk.fit(filters[3:5], criterion="response", covariance=1e6 * metric[3:5])
    assert list(alone.family) == list(together.family[3:5])
    np.testing.assert_allclose(alone.sigma, together.sigma[3:5], atol=1e-6)


def test_each_layer_is_weighed_by_its_own_covariance():
    small, large = _noise(2, 3), _noise(3, 5)
    bank = FilterBank((LayerFilters("a", small), LayerFilters("b", large, depth=1)), model="net")
    layers = {"a": _random_metric(2, 9), "b": _random_metric(3, 25)}
    zero = {name: torch.zeros(values.shape[:2], dtype=torch.float64) for name, values in layers.items()}
    seen = PatchCovariance(layers, zero, {"a": 1, "b": 1}, {name: values[:, 0] for name, values in zero.items()})
    fit = sk.fit(bank, "smooth", criterion="response", covariance=seen)
    single = sk.fit(large, "smooth", criterion="response", covariance=layers["b"])
    np.testing.assert_allclose(fit.sigma[2:], single.sigma, atol=1e-8)
    assert fit.sigma_error.isnan().all()
    assert fit.to_arrow()["r2_response"].null_count == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"criterion": "l2", "covariance": torch.eye(49)}, "covariance is what filters see, for criterion='response'"),
        ({"criterion": "response", "covariance": torch.eye(9)}, r"covariance must have shape \(taps, taps\) or"),
        ({"criterion": "response", "normalization": "moment"}, "criterion 'response' goes with normalization='affine'"),
        ({"criterion": "response", "scales": "shared"}, "criterion 'response' goes with normalization='affine'"),
        ({"criterion": "response", "covariance": torch.full((49, 49), torch.nan)}, "entries that are not finite"),
    ],
)
def test_what_a_covariance_must_be_is_said(options, words):
    with pytest.raises(sk.ScaleKeysError, match=words):
        sk.fit(sk.master_keys(), **options)


def test_a_layer_that_was_not_measured_is_named():
    bank = FilterBank((LayerFilters("stem.dw", _noise(2, 3)),), model="net")
    with pytest.raises(sk.FilterError, match=r"layer 'stem\.dw': the covariance says nothing of it"):
        sk.fit(bank, criterion="response", covariance=PatchCovariance({}, {}, {}, {}))
