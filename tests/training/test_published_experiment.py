"""The published experiments: filters that another network chooses, templates of methods, and what is learned."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.parametrize import register_parametrization
from training_cases import Interrupted, StopAfter, filters, learned

import scalekeys as sk
from scalekeys.errors import CheckpointError, RecipeError
from scalekeys.paper import method_templates
from scalekeys.training import train
from scalekeys.training.cifar_convnext import CifarConvNeXt
from scalekeys.training.depthwise import prepared
from scalekeys.training.optimization import parameter_groups
from scalekeys.training.recipe import Depthwise, Optimizer

KINDS = ("keys", "method:B", "method:D1")


def networks():
    """Return a network to change and another one that chooses, of the same layers."""
    made = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made.append(CifarConvNeXt(10, widths=(8, 16), depths=(1, 1)))
    return made


@pytest.fixture
def network():
    return networks()[0]


@pytest.fixture
def chooser(tmp_path):
    """A file of the network that chooses, with keys of random factors and offsets, and noise, in its filters."""
    network, numbers = networks()[1], torch.Generator().manual_seed(2)
    with torch.no_grad():
        for stage in network.stages:
            weight = stage[-1].depthwise.weight
            factor, offset = torch.randn(2, len(weight), 1, 1, generator=numbers)
            keys = sk.master_keys().float().repeat(len(weight) // 8, 1, 1)
            weight[:, 0] = factor * (keys + 0.05 * torch.randn(keys.shape, generator=numbers)) + 0.1 * offset
    save_file(dict(network.state_dict()), tmp_path / "chooser.safetensors")
    return tmp_path / "chooser.safetensors"


def by_hand(given, candidates):
    """The paper's rule, filter by filter: the candidate u whose <y, u> u + mean(y) is nearest to y."""
    written = []
    for y in given.double():
        best = None
        for candidate in candidates:
            u = (candidate - candidate.mean()) / (candidate - candidate.mean()).norm()
            estimate = (y * u).sum() * u + y.mean()
            distance = (y - estimate).norm()
            if best is None or distance < best[0]:
                best = (distance, estimate)
        written.append(best[1])
    return torch.stack(written).to(given)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_filters_of_another_network_choose_is_what_a_loop_finds(network, chooser, kind):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    made = prepared(network, Depthwise(kind, "nearest", "none", chosen_from=str(chooser)), seed=0)
    candidates = sk.master_keys() if kind == "keys" else method_templates(kind.removeprefix("method:"))
    expected = by_hand(torch.cat([layer.kernels for layer in sk.extract(chooser)]), candidates)
    torch.testing.assert_close(filters(made), expected, rtol=1e-5, atol=1e-6)
    assert learned(made) == {"bias"}
    others = [name for name in before if not name.endswith("depthwise.weight")]
    assert all(torch.equal(made.state_dict()[name], before[name]) for name in others)


@pytest.mark.parametrize("kind", ["ideal8", "jet2"])
def test_models_are_chosen_by_another_network_too(network, chooser, kind):
    made = prepared(network, Depthwise(kind, "nearest", chosen_from=str(chooser)), seed=0)
    bank = sk.fit(sk.extract(chooser), kind).kernels()
    torch.testing.assert_close(filters(made), torch.cat([layer.kernels for layer in bank]), rtol=1e-5, atol=1e-6)


def test_the_folder_of_a_training_can_choose(network, chooser, tmp_path):
    chooser.rename(tmp_path / "network.safetensors")
    made = prepared(network, Depthwise("keys", "nearest", "none", chosen_from=str(tmp_path)), seed=0)
    assert float(sk.assign_keys(sk.extract(made)).r2.min()) > 0.999


def test_templates_of_a_method_are_drawn_at_random_too(network):
    made = filters(prepared(network, Depthwise("method:B", learn="none", norm=2.0), seed=0))
    torch.testing.assert_close(made.flatten(1).norm(dim=1), torch.full((24,), 2.0))
    assigned = sk.assign_keys(made, method_templates("B"))
    assert [(assigned.index == one).sum().item() for one in range(8)] == [3] * 8
    assert float(assigned.r2.min()) > 0.99999


@pytest.mark.parametrize("kind", KINDS)
def test_learned_scales_have_the_families_that_were_chosen(network, chooser, kind):
    unit = {"learn": "scales", "scale": "softplus-sigma", "start": 1.5, "norm": "unit", "alpha": 0.5}
    made = prepared(network, Depthwise(kind, "nearest", chosen_from=str(chooser), **unit), seed=0)
    frozen = prepared(network, Depthwise(kind, "nearest", "none", chosen_from=str(chooser)), seed=0)
    candidates = sk.master_keys() if kind == "keys" else method_templates(kind.removeprefix("method:"))
    chosen = sk.assign_keys(sk.extract(frozen), candidates).index
    kernels = filters(made).double()
    torch.testing.assert_close(kernels.flatten(1).norm(dim=1), torch.ones(24).double())
    sigma = torch.full((2,), 1.5, dtype=torch.float64)
    for kernel, number in zip(kernels, chosen.tolist(), strict=True):
        family = sk.MASTER_KEY_FAMILIES[number]
        alpha = {"alpha": 0.5} if family == "sharpen" else {}
        template = sk.scalespace.template(family, sigma, 7, **alpha)
        torch.testing.assert_close(kernel, template / template.norm(), rtol=0, atol=1e-6)
    assert learned(made) == {"bias", "parametrizations.weight.0.scales.theta"}


def test_offsets_alone_are_learned(network, chooser):
    made = prepared(network, Depthwise("method:B", "nearest", "offsets", chosen_from=str(chooser)), seed=0)
    frozen = prepared(network, Depthwise("method:B", "nearest", "none", chosen_from=str(chooser)), seed=0)
    assert torch.equal(filters(made), filters(frozen))
    assert learned(made) == {"bias", "parametrizations.weight.0.offset"}


def test_functions_of_depthwise_weights_have_a_weight_decay_of_their_own(network):
    wanted = Depthwise("ideal8", learn="scales", parameter_decay=0.25, weight_decay=0.5)
    made = prepared(network, wanted, seed=0)
    register_parametrization(made.head, "weight", nn.Linear(16, 16))  # of an ordinary layer
    groups = parameter_groups(made, Optimizer(weight_decay=0.125), wanted)
    decays = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    for name, parameter in made.named_parameters():
        if parameter.requires_grad:
            scale = name.endswith("scales.theta")
            assert decays[id(parameter)] == (0.25 if scale else 0.125 if parameter.ndim > 1 else 0.0)


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        (Depthwise("method:C", learn="none"), "depthwise.filters: the paper has no 'method:C'; take one of method:A, "),
        (Depthwise("keys", chosen_from="x"), "depthwise.chosen_from: is for filters that are chosen by what they are"),
        (Depthwise("noise", "nearest", chosen_from="x"), "depthwise.chosen_from: is for filters that are chosen"),
        (Depthwise("as-is", "nearest", chosen_from="x"), "depthwise.chosen_from: is for filters that are chosen"),
        (Depthwise("keys", learn="none", norm="unit"), "depthwise.norm: unit leaves out amplitudes and is for learned"),
        (Depthwise("keys", learn="none", alpha=0.5), "depthwise.alpha: is for scales that are learned; set"),
        (Depthwise("noise", learn="scales"), "depthwise.learn: scales needs filters with a model"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(network, wanted, match):
    with pytest.raises(RecipeError, match=match):
        prepared(network, wanted, seed=0)


def test_another_network_must_have_the_same_layers(network, tmp_path):
    torch.save(CifarConvNeXt(10, widths=(8, 8), depths=(1, 1)).state_dict(), tmp_path / "other.pt")
    wanted = Depthwise("keys", "nearest", chosen_from=str(tmp_path / "other.pt"))
    message = (
        r"depthwise\.chosen_from: other: has no depthwise layer 'stages\.1\.2\.depthwise' of 16 filters of 7x7, as"
    )
    with pytest.raises(RecipeError, match=message):
        prepared(network, wanted, seed=0)
    with pytest.raises(CheckpointError, match=r"gone\.pt: no such file"):
        prepared(network, Depthwise("keys", "nearest", chosen_from=str(tmp_path / "gone.pt")), seed=0)


def test_a_word_or_a_number_is_a_norm(recipe):
    assert recipe("depthwise.norm=unit").depthwise.norm == "unit"
    assert recipe("depthwise.norm=2").depthwise.norm == 2.0
    with pytest.raises(RecipeError, match="norm must be a number, got 'one'; unit is allowed too"):
        recipe("depthwise.norm=one")
    with pytest.raises(RecipeError, match="norm must be at least 0, got -1"):
        recipe("depthwise.norm=-1")


EXPERIMENTS = [
    ("depthwise.filters=method:B", "depthwise.learn=offsets", "depthwise.parameter_decay=0.05"),
    (
        *("depthwise.filters=keys", "depthwise.learn=scales", "depthwise.scale=softplus-sigma", "depthwise.start=1.5"),
        *("depthwise.norm=unit", "depthwise.alpha=0.5"),
    ),
]


@pytest.mark.parametrize("settings", EXPERIMENTS, ids=["offsets", "unit scales"])
def test_an_interrupted_training_comes_to_the_same_end(recipe, chooser, tmp_path, settings):
    wanted = recipe(*settings, "depthwise.assignment=nearest", f"depthwise.chosen_from={chooser}", "loop.epochs=2")

    train(wanted, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(wanted, tmp_path / "parts", watcher=StopAfter(200))
    train(wanted, tmp_path / "parts")
    one, other = (sk.extract(tmp_path / name / "network.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(a.kernels, b.kernels) for a, b in zip(one, other, strict=True))
    start = filters(prepared(networks()[0], wanted.depthwise, seed=0))
    end = torch.cat([layer.kernels for layer in one])
    if "depthwise.norm=unit" in settings:
        torch.testing.assert_close(end.flatten(1).norm(dim=1), torch.ones(24))
        assert not torch.allclose(end, start, atol=1e-3)
    else:
        added = (end - start).flatten(1)
        torch.testing.assert_close(added, added.mean(1, keepdim=True).expand_as(added), rtol=0, atol=1e-5)
        assert float(added.abs().max()) > 1e-3
