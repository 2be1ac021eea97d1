"""Sparse jets: the few derivatives, of all up to order 6, that explain a filter best."""

from itertools import combinations

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.errors import ModelError
from scalekeys.scalespace import WIDE_JET, template_plan


def noise(count, side, seed=0):
    return torch.randn(count, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def atoms_at(t, side):
    components = template_plan(WIDE_JET, (side, side))(t[None])[0]
    return torch.cat([components, torch.ones(1, side, side, dtype=torch.float64)]).flatten(1).numpy()


def test_a_sum_of_few_derivatives_comes_back_with_its_scales():
    t = torch.tensor([[0.6, 1.1], [1.4, 0.3], [0.9, 0.9]], dtype=torch.float64)
    weights = torch.zeros(3, 28, dtype=torch.float64)
    weights[0, [1, 4, 8]] = torch.tensor([1.0, -2.0, 1.5], dtype=torch.float64)
    weights[1, [0, 2, 3]] = torch.tensor([1.0, 3.0, -2.0], dtype=torch.float64)
    weights[2, [0, 5, 12]] = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    filters = (weights[..., None, None] * template_plan(WIDE_JET, (9, 9))(t)).sum(1)
    fit = sk.fit(filters, "sparse3")
    found = fit.r2 > 1 - 2e-3
    assert found.sum() >= 2  # scales are moved along the axes, which stops short of one of these
    assert fit.r2.min() > 0.95
    np.testing.assert_allclose(fit.sigma.square()[found], t[found], atol=0.1)
    assert ((fit.coefficients != 0) == (weights != 0))[found].all()


def test_the_number_of_terms_and_of_numbers_is_what_was_asked_for():
    fit = sk.fit(noise(5, 6), "sparse6")
    assert ((fit.coefficients != 0).sum(-1) == 6).all()
    assert (fit.numbers == 10).all()
    assert set(fit.family) == set(fit.to_pandas().family) == {"sparse6"}
    assert fit.amplitude.isnan().all()
    assert fit.evidence.isnan().all()


@pytest.mark.parametrize("weighted", [False, True])
def test_the_terms_are_nearly_those_of_an_exhaustive_search(weighted):
    filters, generator = noise(6, 5, 1), torch.Generator().manual_seed(2)
    root = torch.randn(6, 25, 25, generator=generator, dtype=torch.float64)
    metric = root @ root.mT if weighted else torch.eye(25, dtype=torch.float64).expand(6, 25, 25)
    fit = sk.fit(filters, "sparse2", criterion="response", covariance=metric)
    gaps = []
    for filter_, s, t, found in zip(filters, metric.numpy(), fit.values.parameters, fit.r2_response, strict=True):
        target, atoms = filter_.flatten().numpy(), atoms_at(t, 5)
        half = np.linalg.cholesky(s).T
        whole = np.square(half @ target).sum()
        best = max(
            1
            - np.square(half @ (target - pair.T @ np.linalg.lstsq(half @ pair.T, half @ target, rcond=None)[0])).sum()
            / whole
            for pair in (atoms[[*two, 28]] for two in combinations(range(28), 2))
        )
        assert found <= best + 1e-9
        gaps.append(best - float(found))
    assert max(gaps) < 0.1
    assert np.median(gaps) < 0.01


def test_another_term_never_explains_less():
    filters = noise(10, 6, 3)
    shares = [float(sk.fit(filters, f"sparse{terms}").r2.mean()) for terms in (1, 3, 10)]
    assert shares == sorted(shares)
    assert float(sk.fit(noise(10, 3), "sparse9").r2.min()) > 1 - 1e-6  # nine derivatives span the nine taps


def test_six_terms_of_any_order_explain_more_than_the_six_up_to_order_two():
    filters = noise(20, 6, 4)
    assert (sk.fit(filters, "sparse6").r2 > sk.fit(filters, "jet2").r2 - 1e-3).all()


def test_scales_signs_and_sizes_of_filters_do_not_matter():
    filters = noise(10, 5, 5)
    one, other = sk.fit(filters, "sparse3"), sk.fit(-1e-20 * filters, "sparse3")
    torch.testing.assert_close(one.r2, other.r2)
    torch.testing.assert_close(one.coefficients, -1e20 * other.coefficients)


def test_models_are_their_terms_at_their_scales():
    filters = noise(5, 7, 6)
    fit = sk.fit(filters, "sparse4")
    components = template_plan(WIDE_JET, (7, 7))(fit.values.parameters)
    model = (fit.coefficients[..., None, None] * components).sum(1) + fit.offset[:, None, None]
    torch.testing.assert_close(fit.kernels(), model)
    left = (filters - model).flatten(1).square().sum(-1)
    centred = (filters - filters.mean((1, 2), keepdim=True)).flatten(1).square().sum(-1)
    torch.testing.assert_close(fit.r2, 1 - left / centred)


def test_bad_filters_get_a_status_and_stop_nothing():
    filters = noise(4, 5, 7)
    filters[0], filters[1], filters[2] = 0.0, 2.0, torch.nan
    fit = sk.fit(filters, "sparse3")
    assert fit.status.tolist() == ["zero-filter", "constant-filter", "non-finite", "ok"]
    assert fit.kernels()[1].eq(2.0).all()


@pytest.mark.parametrize("name", ["sparse0", "sparse29"])
def test_a_number_of_terms_out_of_range_is_refused(name):
    with pytest.raises(ModelError, match=f"a sparse model has 1 to 28 terms, got '{name}'"):
        sk.fit(noise(1, 5), name)


def test_criteria_that_do_not_leave_squares_are_refused():
    with pytest.raises(ModelError, match="'sparse6' chooses terms by the squares that they leave"):
        sk.fit(noise(1, 5), "sparse6", criterion="l1")
    with pytest.raises(ModelError, match="use it with criterion 'l2' or 'response' and scales='per-axis'"):
        sk.fit(noise(1, 5), "sparse6", scales="common")


@pytest.mark.parametrize("size", [(9,), (5, 5), pytest.param((3, 3, 3), marks=pytest.mark.slow)], ids=str)
def test_constants_signs_and_mirrors_change_no_sparse_model(size):
    axes = len(size)
    filters = torch.randn(3, *size, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    mirrored = [filters.flip(axis) for axis in range(1, axes + 1)]
    turned = [filters.transpose(1, axis) for axis in range(2, axes + 1)]
    fit = sk.fit(torch.stack([filters, -filters + 3, *mirrored, *turned]).flatten(0, 1), "sparse3", axes=axes)
    r2, sigma, coefficients, offset = (
        values.unflatten(0, (-1, 3)) for values in (fit.r2, fit.sigma, fit.coefficients, fit.offset)
    )
    torch.testing.assert_close(r2, r2[:1].expand_as(r2), rtol=0, atol=1e-8)
    torch.testing.assert_close(coefficients[1], -coefficients[0], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(offset[1], 3 - offset[0], rtol=1e-6, atol=1e-9)
    if axes < 3:  # on three taps some derivatives are the same
        same = coefficients[: 2 + axes].abs()
        torch.testing.assert_close(same, same[:1].expand_as(same), rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(sigma[2 + axes :], sigma[: axes - 1].flip(-1), rtol=1e-6, atol=1e-9)


def test_the_offset_is_free_in_the_error_of_responses_too():
    filters, root = noise(4, 5, 9), torch.randn(25, 25, generator=torch.Generator().manual_seed(9)).double()
    options = {"criterion": "response", "covariance": root @ root.mT}
    plain, moved = (sk.fit(one, "sparse2", **options) for one in (filters, filters + 3))
    torch.testing.assert_close(moved.coefficients, plain.coefficients, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(moved.offset, plain.offset + 3, rtol=1e-6, atol=1e-9)
