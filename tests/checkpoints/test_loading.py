"""Weights into a network: all of them, from any format, and no others."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from scalekeys.checkpoints import load_into
from scalekeys.errors import CheckpointError


def made(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=4))
    network[1].running_mean.normal_(generator=torch.Generator().manual_seed(seed))
    return network


SOURCE = made(1).state_dict()


def assert_loaded(network):
    assert all(torch.equal(value, SOURCE[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_every_format_and_every_wrapper(prefix, tmp_path):
    state = {prefix + key: value for key, value in SOURCE.items()}
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {"param_groups": []}}, tmp_path / "net.pth")
    save_file(state, tmp_path / "net.safetensors")
    for source in (tmp_path / "net.pth", tmp_path / "net.safetensors", state):
        network = nn.DataParallel(made(2))
        load_into(network, source)
        assert_loaded(network.module)


@pytest.mark.parametrize("prefix", ["model.", "backbone.", "model.module.net."])
def test_a_prefix_that_all_names_share_is_taken_off(prefix):
    network = made(2)
    load_into(network, {prefix + key: value for key, value in SOURCE.items()} | {"n_averaged": torch.tensor(3)})
    assert_loaded(network)


def test_a_network_that_has_the_prefix_itself():
    network = nn.ModuleDict({"model": made(2)})
    load_into(network, {f"model.{key}": value for key, value in SOURCE.items()})
    assert_loaded(network["model"])


def test_a_prefix_that_not_all_names_share_is_refused():
    state = {f"model.{key}": value for key, value in SOURCE.items()} | {"head.weight": torch.ones(2)}
    with pytest.raises(CheckpointError, match=r"it has .*'model\.0\.weight'.*which the network does not have"):
        load_into(made(2), state)


def test_nested_weights_are_chosen_and_told():
    tree = {"params": made(3).state_dict(), "params_ema": SOURCE}
    network = made(2)
    assert load_into(network, tree) == (
        "weights are read from the entry 'params_ema'; the dict also holds 'params' (choose with --weights)",
    )
    assert_loaded(network)
    load_into(network, tree, weights="params")
    assert torch.equal(network[0].weight, tree["params"]["0.weight"])


def test_values_take_the_type_of_the_network():
    network = made(2).double()
    load_into(network, {key: value.half() if value.is_floating_point() else value for key, value in SOURCE.items()})
    assert network[0].weight.dtype == torch.float64
    assert torch.equal(network[0].weight, SOURCE["0.weight"].half().double())


def test_counters_of_batches_may_be_missing():
    network = made(2)
    load_into(network, {key: value for key, value in SOURCE.items() if "num_batches" not in key})
    assert_loaded(network)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"1.running_var": None}, r"the network Sequential \(it lacks '1\.running_var'\); give the checkpoint of this"),
        ({"3.weight": torch.ones(2)}, r"\(it has '3\.weight', which the network does not have\)"),
        ({"0.bias": None, "x": torch.ones(2)}, r"\(it lacks '0\.bias'; it has 'x', which the network does not have\)"),
        ({"0.bias": torch.ones(5)}, r"'0\.bias' has shape \(5,\) there and \(4,\) in the network"),
    ],
)
def test_other_weights_are_refused_and_nothing_changes(change, match):
    network, before = made(2), made(2).state_dict()
    state = {key: value for key, value in (SOURCE | change).items() if value is not None}
    with pytest.raises(CheckpointError, match=match):
        load_into(network, state)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
