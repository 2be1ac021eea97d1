"""Replaced filters: the models stand where they belong, and nothing else changes."""

import copy

import pytest
import torch
from depthwise_network import CONSTANT, DEPTHWISE, ZERO, images
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

import scalekeys as sk
from scalekeys.errors import CheckpointError, FilterError, ModelError


def test_models_stand_in_the_place_of_filters(network, fit):
    replaced = sk.replace(network, fit)
    for layer in fit.kernels():
        weight = replaced.get_submodule(layer.name).weight
        assert isinstance(weight, nn.Parameter)
        assert torch.equal(weight[:, 0], layer.kernels)


def test_nothing_else_changes(network, fit):
    before = copy.deepcopy(network)
    replaced = sk.replace(network, fit)
    assert str(replaced) == str(network) == str(before)
    assert list(replaced.state_dict()) == list(before.state_dict())
    for name, value in replaced.state_dict().items():
        assert torch.equal(network.state_dict()[name], before.state_dict()[name])
        assert torch.equal(value, network.state_dict()[name]) == (name not in {f"{one}.weight" for one in DEPTHWISE})
    assert not {id(value) for value in network.parameters()} & {id(value) for value in replaced.parameters()}


def test_it_is_what_extract_and_replacement_say(network, fit):
    replaced = sk.extract(sk.replace(network, fit, min_r2=0.7, keep=["row"]))
    wanted = sk.replacement(fit, min_r2=0.7, keep=["row"]).filters
    assert [layer.name for layer in replaced] == [layer.name for layer in wanted]
    assert all(torch.equal(mine.kernels, its.kernels) for mine, its in zip(replaced, wanted, strict=True))


@pytest.mark.parametrize("kind", ["keys", "replacement", "noise"])
def test_models_of_every_kind_are_taken(network, fit, kind):
    bank = sk.extract(network)
    if kind == "keys":
        network = nn.Sequential(network.stem, network.wide)
        models = sk.assign_keys(sk.extract(network))
    else:
        models = sk.replacement(fit, layers=["wide"]) if kind == "replacement" else sk.model_filters(bank, "noise")
    replaced = sk.extract(sk.replace(network, models))
    for mine, its in zip(replaced, sk.replacement(models).filters, strict=True):
        assert torch.equal(mine.kernels, its.kernels)


def test_filters_without_a_model_stay(network):
    with torch.no_grad():
        network.down.weight[3] = torch.nan
    replaced = sk.replace(network, sk.fit(sk.extract(network)))
    assert torch.equal(replaced.wide.weight[[ZERO, CONSTANT]], network.wide.weight[[ZERO, CONSTANT]])
    assert replaced.down.weight[3].isnan().all()
    assert replaced.down.weight[4].isfinite().all()


def test_filters_below_a_threshold_stay(network, fit):
    replaced = sk.replace(network, fit, min_r2=0.8)
    changed = torch.cat(
        [
            (replaced.get_submodule(name).weight != network.get_submodule(name).weight).flatten(1).any(1)
            for name in DEPTHWISE
        ]
    )
    assert torch.equal(changed, fit.r2 >= 0.8)


def test_layers_are_chosen_by_name(network, fit):
    for options, names in (
        ({"layers": ["wide", "s*"]}, {"wide", "small"}),
        ({"layers": "s*"}, {"small"}),
        ({"keep": "s*"}, {"wide", "down", "row"}),
    ):
        replaced = sk.replace(network, fit, **options)
        changed = {
            name
            for name in DEPTHWISE
            if not torch.equal(replaced.get_submodule(name).weight, network.get_submodule(name).weight)
        }
        assert changed == names


def test_a_network_of_one_layer(network, fit):
    layer = nn.Conv2d(4, 4, 5, groups=4)
    replaced = sk.replace(layer, sk.fit(sk.extract(layer), "jet2"))
    assert type(replaced) is nn.Conv2d
    assert not torch.equal(replaced.weight, layer.weight)


def test_types_modes_and_what_is_frozen_stay(network, fit):
    network.half().wide.requires_grad_(False)
    network.down.train()
    replaced = sk.replace(network, fit)
    assert replaced.wide.weight.dtype == torch.float16
    assert not replaced.wide.weight.requires_grad
    assert replaced.down.weight.requires_grad
    assert [layer.training for layer in replaced.modules()] == [layer.training for layer in network.modules()]


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda network: torch.compile(network, backend="eager")])
def test_wrappers_are_left_off(network, fit, wrap):
    replaced = sk.replace(wrap(network), fit)
    assert type(replaced) is type(network)
    assert torch.equal(replaced(images()), sk.replace(network, fit)(images()))


@pytest.mark.parametrize("computed", ["pruned", "normalised", "constrained"])
def test_computed_weights_become_parameters(network, fit, computed):
    if computed == "pruned":
        prune.l1_unstructured(network.down, "weight", amount=0.3)
    elif computed == "normalised":
        parametrizations.weight_norm(network.down)
    else:
        network = sk.constrain(network, fit)
    fit = sk.fit(sk.extract(network))
    replaced = sk.replace(network, fit, layers="down")
    assert type(replaced.down) is nn.Conv2d
    assert list(replaced.down.state_dict()) == ["weight"]
    assert torch.equal(replaced.down.weight[:, 0], fit.kernels().layers[1].kernels)
    replaced.down(torch.zeros(1, 12, 9, 9))
    assert "down.weight" not in network.state_dict()  # that of the network is computed as before


def test_weights_that_two_layers_share_are_replaced_in_both(network):
    network.small = nn.Conv2d(24, 24, (1, 7), padding=(0, 3), groups=24)
    network.small.weight = network.row.weight
    fit = sk.fit(sk.extract(network))
    replaced = sk.replace(network, fit, layers=["row"])
    assert torch.equal(replaced.row.weight[:, 0], fit.kernels().layers[2].kernels)
    assert torch.equal(replaced.small.weight, network.small.weight)
    replaced = sk.replace(network, fit)
    assert replaced.small.weight is replaced.row.weight
    assert torch.equal(replaced.row.weight[:, 0], fit.kernels().layers[2].kernels)


def test_of_three_layers_that_share_a_weight_two_are_replaced_and_still_share_one():
    network = nn.Sequential(*(nn.Conv2d(4, 4, 5, groups=4) for _ in range(3)))
    network[1].weight = network[2].weight = network[0].weight
    replaced = sk.replace(network, sk.fit(sk.extract(network), "dx"), layers=["1", "2"])
    assert replaced[2].weight is replaced[1].weight is not replaced[0].weight
    assert torch.equal(replaced[0].weight, network[0].weight)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_spectral_norm_is_taken_off_beside_a_pruned_bias():
    layer = spectral_norm(nn.Conv2d(4, 4, 5, groups=4))
    prune.l1_unstructured(layer, "bias", amount=0.5)
    fit = sk.fit(sk.extract(layer), "dx")
    assert torch.equal(sk.replace(layer, fit).weight[:, 0], fit.kernels().layers[0].kernels)


@pytest.mark.usefixtures("without_shape_checks")
def test_models_of_another_network_are_refused(network, fit):
    with pytest.raises(ModelError, match=r"layer 'wide' has filters of 12 x 5 x 5, and 12 x 7 x 7 were modelled"):
        network.wide = nn.Conv2d(12, 12, 5, padding=2, groups=12)
        sk.replace(network, fit)
    with pytest.raises(ModelError, match="it has no depthwise layer"):
        sk.replace(network, sk.fit(sk.master_keys()))
    with pytest.raises(ModelError, match=r"replace needs models of the filters, such as .*, got Tensor"):
        sk.replace(network, sk.master_keys())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"layers": ["stem"]}, "no layer is called 'stem'; the layers are wide, down, row, small"),
        ({"min_r2": 2}, "min_r2 is a share of energy and at most 1, got 2"),
        ({"layers": "row", "keep": "row"}, r"every layer in question is kept \('row'\); nothing is left to replace"),
    ],
)
def test_bad_options_are_refused(network, fit, options, match):
    with pytest.raises(FilterError, match=match):
        sk.replace(network, fit, **options)


def test_layers_without_weights_are_refused(network, fit):
    network.wide = nn.LazyConv2d(12, 7, padding=3, groups=12)
    with pytest.raises(CheckpointError, match="layer 'wide' is lazy and has no weights yet; run the network once"):
        sk.replace(network, fit)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize(
    "compute", [weight_norm, spectral_norm, parametrizations.weight_norm, parametrizations.spectral_norm]
)
def test_a_filter_that_is_kept_is_the_one_of_the_next_pass(network, compute, learned):
    compute(network.down)
    network(images())
    with torch.no_grad():
        for number in network.down.parameters():
            number.mul_(1.5)  # which a weight that was computed in the last pass does not know
    network.train().requires_grad_(learned)
    network.down.eval()
    known, fit = sk.extract(network).layers[1].kernels, sk.fit(sk.extract(network), "dx")
    options = {"layers": "down", "min_r2": float(fit.r2[12:36].mean())}
    kept = torch.from_numpy(sk.replacement(fit, **options).model[12:36] == "keep")
    replaced = sk.replace(network.train(), fit, **options)
    assert 0 < int(kept.sum()) < len(kept)
    assert torch.equal(replaced.down.weight[kept, 0], known[kept])
    assert replaced.down.weight.requires_grad == learned
