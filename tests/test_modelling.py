"""Models by name: each is what the function behind it gives."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.checkpoints import write_filters
from scalekeys.errors import CheckpointError, FilterError, ModelError
from scalekeys.filters import Modelled
from scalekeys.paper import TEMPLATE_METHODS, method_templates, study


@pytest.fixture(scope="module")
def bank():
    generator = torch.Generator().manual_seed(0)
    layers = [
        sk.LayerFilters(name, torch.randn(12, side, side, generator=generator), depth=depth)
        for depth, (name, side) in enumerate((("stem.dw", 3), ("blocks.0.dw", 7), ("head.dw", 5)))
    ]
    return sk.FilterBank(tuple(layers))


def same(one, other):
    assert type(one) is type(other)
    assert list(one.family) == list(other.family)
    for layer, expected in zip(one.kernels(), other.kernels(), strict=True):
        assert torch.equal(layer.kernels, expected.kernels)


@pytest.mark.parametrize("model", ["ideal8", "second-order", "jet1", "dx"])
def test_what_is_fitted(bank, model):
    same(sk.model_filters(bank, model), sk.fit(bank, model))


def test_the_default_and_families_with_commas(bank):
    same(sk.model_filters(bank), sk.fit(bank, "jet2"))
    same(sk.model_filters(bank, "dx, smooth"), sk.fit(bank, ("dx", "smooth")))


def test_criteria_and_scales(bank):
    modelled = sk.model_filters(bank, "ideal8", criterion="l1", scales="common")
    same(modelled, sk.fit(bank, criterion="l1", scales="common"))


def test_keys_by_the_rule_of_the_paper(bank):
    same(sk.model_filters(bank, "keys"), sk.assign_keys(bank))


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_files_of_keys(bank, suffix, tmp_path):
    keys = torch.randn(3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    path = tmp_path / f"keys{suffix}"
    np.save(path, keys.numpy()) if suffix == ".npy" else write_filters(keys, path)
    modelled = sk.model_filters(bank, str(path))
    same(modelled, sk.assign_keys(bank, keys, names=["key 0", "key 1", "key 2"]))  # numbered as they are written
    with pytest.raises(CheckpointError, match="cannot be read"):
        sk.model_filters(bank, str(tmp_path / f"missing{suffix}"))


@pytest.mark.parametrize("method", TEMPLATE_METHODS)
def test_templates_of_the_methods_of_the_paper(bank, method):
    modelled = sk.model_filters(bank, f"method:{method}")
    same(modelled, sk.assign_keys(bank, method_templates(method), names=sk.MASTER_KEY_FAMILIES))


def test_templates_have_the_scales_of_the_study():
    """For A, B and the common ones these are the published ones; see the tests of the study."""
    found = study()
    for method in TEMPLATE_METHODS:
        name = {"A": "A1", "B": "B1"}.get(method, method)
        assert torch.equal(method_templates(method), found.fits["published", name].kernels())


def test_noise(bank):
    modelled = sk.model_filters(bank, "noise", seed=3)
    for layer, noise, original in zip(modelled.kernels(), sk.white_noise_like(bank, seed=3), bank, strict=True):
        assert layer.name == original.name
        assert torch.equal(layer.kernels, noise.kernels)
    assert modelled.kernels().model == bank.model


@pytest.mark.parametrize("model", ["keys", "copies", "noise", "method:C1", "keys.npy"])
def test_options_of_a_fit_make_no_sense_without_one(bank, model):
    with pytest.raises(ModelError, match=f"nothing is fitted with model '{model}', so that it takes no criterion"):
        sk.model_filters(bank, model, criterion="l1")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "jet9",
            "no model is called 'jet9'; use keys, copies, noise, a .npy or .csv file of keys, method: with A, .*jet3",
        ),
        ("", "no model is called ''"),
        ("dx,jet9", "jet9"),
        ("method:A2", "the paper has no method 'A2' with scales for each filter; use A, B, .* or D2"),
    ],
)
def test_unknown_models(bank, model, message):
    with pytest.raises(ModelError, match=message):
        sk.model_filters(bank, model)


@pytest.mark.parametrize("model", ["jet1", "keys", "noise"])
def test_every_model_can_replace(bank, model):
    modelled = sk.model_filters(bank, model)
    assert isinstance(modelled, Modelled)
    chosen = sk.replacement(modelled, layers=["*.dw"], keep=["stem*"])
    assert chosen.replaced.tolist() == [False] * 12 + [True] * 24
    assert torch.equal(chosen.filters.layers[0].kernels, bank.layers[0].kernels)


def test_noise_explains_nothing(bank):
    modelled = sk.model_filters(bank, "noise")
    assert set(modelled.numbers.tolist()) == {2}
    expected = torch.cat(
        [
            1 - (layer.kernels - noise.kernels).square().sum((-2, -1)) / _energy(layer.kernels)
            for layer, noise in zip(bank, modelled.kernels(), strict=True)
        ]
    )
    torch.testing.assert_close(modelled.r2.float(), expected, rtol=1e-4, atol=1e-4)
    assert modelled.r2.mean() < -0.5


def _energy(filters):
    return (filters - filters.mean((-2, -1), keepdim=True)).square().sum((-2, -1))


def test_noise_leaves_filters_without_a_norm():
    filters = torch.stack([torch.ones(3, 3), torch.full((3, 3), torch.nan), torch.rand(3, 3)])
    modelled = sk.model_filters(sk.FilterBank.from_tensor(filters), "noise")
    assert modelled.family.tolist() == ["", "", "noise"]
    assert sk.replacement(modelled).model.tolist() == ["constant", "keep", "noise"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": ["tail*"]}, r"no layer is called 'tail\*'; the layers are stem\.dw, blocks\.0\.dw, head\.dw"),
        ({"keep": ["*"]}, r"every layer in question is kept \('\*'\); nothing is left to replace"),
        ({"layers": ["stem*"], "keep": ["stem.dw", "head*"]}, r"is kept \('stem\.dw' or 'head\*'\)"),
    ],
)
def test_layers_that_are_kept(bank, options, message):
    with pytest.raises(FilterError, match=message):
        sk.replacement(sk.assign_keys(bank), **options)
