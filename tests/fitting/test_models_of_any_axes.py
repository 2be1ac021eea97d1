"""Sparse models and models selected by evidence, on kernels of one and three axes and of even sides."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.scalespace import WIDE_JET, ideal, template, template_plan


def noise(count, *size, seed=0):
    return torch.randn(count, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flat(filters):
    return filters.flatten(1).numpy()


def atoms_at(variances, size):
    components = template_plan(WIDE_JET, size)(variances[None])[0]
    return torch.cat([components, torch.ones_like(components[:1])]).flatten(1).numpy()


@pytest.mark.parametrize(
    ("size", "terms", "derivatives"),
    [((11,), 3, 7), ((10,), 3, 7), pytest.param((3, 3, 3), 1, 84, marks=pytest.mark.slow)],
    ids=str,
)
def test_sparse_models_mix_the_derivatives_of_their_axes(size, terms, derivatives):
    axes, filters = len(size), noise(2, *size, seed=9)
    fit = sk.fit(filters, f"sparse{terms}", axes=axes)
    assert fit.coefficients.shape == (2, derivatives)
    assert ((fit.coefficients != 0).sum(-1) == terms).all()
    assert (fit.numbers == terms + axes + 2).all()
    for filter_, model, t, coefficients, offset in zip(
        flat(filters), flat(fit.kernels()), fit.values.parameters, fit.coefficients, fit.offset, strict=True
    ):
        atoms = atoms_at(t, size)
        weights = np.append(coefficients.numpy(), float(offset))
        np.testing.assert_allclose(weights @ atoms, model, atol=1e-9)
        chosen = atoms[weights != 0]
        best = np.linalg.lstsq(chosen.T, filter_, rcond=None)[0] @ chosen
        np.testing.assert_allclose(best, model, atol=1e-7)


def test_a_sparse_mixture_of_an_even_kernel_comes_back():
    t = torch.tensor([[0.7]], dtype=torch.float64)
    weights = torch.zeros(1, 7, dtype=torch.float64)
    weights[0, [1, 2]] = torch.tensor([1.0, -1.5], dtype=torch.float64)
    filters = (weights[..., None] * template_plan(WIDE_JET, (12,))(t)).sum(1)
    fit = sk.fit(filters, "sparse2", axes=1)
    assert float(fit.r2[0]) > 1 - 1e-3
    np.testing.assert_allclose(fit.sigma.square(), t, atol=0.1)
    assert ((fit.coefficients != 0) == (weights != 0)).all()


@pytest.mark.parametrize("size", [(15,), (16,), (3, 3, 3)], ids=str)
def test_models_are_selected_by_evidence(size):
    axes, draw = len(size), noise(1, *size, seed=10)
    kinds = ("smooth", "dx", "dxx", "dog") if axes == 1 else ("dz+", "dyz", "laplacian")
    for seed, name in enumerate(kinds):
        sigma = torch.tensor([0.6, 1.6]) if name == "dog" else torch.tensor([0.6, 1.1, 0.8])[:axes]
        kernel = template(name, sigma.double(), size)
        fit = sk.fit(kernel / kernel.norm() + 1e-3 * (1 + seed) * draw, "auto", axes=axes)
        assert fit.family[0] == name
        assert fit.status[0] == "ok"


@pytest.mark.parametrize("size", [(15,), (16,)], ids=str)
def test_a_mixture_is_a_jet_and_not_a_single_derivative(size):
    components = template_plan("jet2", size)(torch.full((1, 1), 0.8, dtype=torch.float64))[0]
    weights = torch.tensor([1.0, 0.8, -0.9], dtype=torch.float64)
    fit = sk.fit((weights @ components + 1e-4 * noise(1, *size, seed=10)[0])[None], "auto", axes=1)
    assert fit.family[0] == "jet2"
    np.testing.assert_allclose(fit.coefficients[0, :3], weights, atol=0.05)


@pytest.mark.parametrize("size", [(15,), (16,), (3, 3, 3)], ids=str)
def test_one_in_twenty_filters_of_noise_is_taken_for_something(size):
    status = sk.fit(noise(1200, *size, seed=11), "auto", axes=len(size)).status
    assert (status != "unexplained").mean() == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_evidence_is_a_difference_of_information_criteria(axes):
    # BIC = n log(RSS / n) + p log n, of a constant (p = 1) and of a model.
    filters = noise(4, *(5,) * axes, seed=12)
    fit = sk.fit(filters, "jet1", axes=axes)
    taps, numbers = 5**axes, axes + (1 + axes) + 1  # scales, coefficients and the offset
    assert (fit.numbers == numbers).all()
    values = filters.flatten(1)
    centred = (values - values.mean(-1, keepdim=True)).square().sum(-1)
    constant = taps * torch.log(centred / taps) + np.log(taps)
    model = taps * torch.log(fit.residual_l2.square() / taps) + numbers * np.log(taps)
    np.testing.assert_allclose(fit.evidence, constant - model, rtol=1e-8)


def test_a_name_that_one_number_of_axes_lacks_is_left_to_the_others():
    bank = sk.FilterBank(
        (sk.LayerFilters("line", noise(2, 7, seed=13)), sk.LayerFilters("plane", noise(2, 7, 7, seed=14), depth=1)),
        model="net",
    )
    fit = sk.fit(bank, ("dy", "smooth"))
    assert set(fit.family[:2]) == {"smooth"}
    only = sk.fit(bank, "dy")
    assert list(only.family) == ["", "", "dy", "dy"]
    assert list(only.status[:2]) == ["unsupported-size"] * 2
    assert set(sk.fit(bank).spec.families) == {*ideal(1), *ideal(2)}
