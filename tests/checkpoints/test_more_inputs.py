"""Names and arrangements that other training code uses: copies, lists, odd shapes, names that are no text, parts."""

import os

import joblib
import numpy as np
import pytest
import torch
from torch import nn

from scalekeys.checkpoints import extract
from scalekeys.errors import CheckpointError


def network(value, prefix=""):
    return {
        f"{prefix}stem.weight": torch.ones(8, 3, 4, 4),
        f"{prefix}dw.weight": torch.full((8, 1, 3, 3), float(value)),
        f"{prefix}norm.weight": torch.ones(8),
    }


def value_of(bank):
    (layer,) = bank.layers
    return float(layer.kernels[0, 0, 0])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("swa_model", "model"),
        ("net_ema", "net"),
        ("shadow_params", "state_dict"),
        ("model_averaged", "model"),
        ("best_ema", "model"),
    ],
)
def test_an_average_of_any_name_is_read_before_a_customary_name(first, second):
    bank = extract({second: network(2), first: network(1)})
    assert value_of(bank) == 1
    assert bank.notes == (
        f"weights are read from the entry {first!r}; the dict also holds {second!r} (choose with --weights)",
    )


def test_another_teacher_is_not_read_in_place_of_a_network():
    assert value_of(extract({"model": network(2), "teacher_model": network(1)})) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("best_acc_model", "last_model"),
        ("best_model_wts", "model_wts"),
        ("visual_encoder", "visual_encoder_m"),
        ("policy_net", "target_net"),
        ("ep20", "ep9"),
    ],
)
def test_more_names_of_copies(first, second):
    assert value_of(extract({second: network(2), first: network(1)})) == 1
    assert value_of(extract(network(2, f"{second}.") | network(1, f"{first}."))) == 1


def test_steps_that_are_layers_are_all_read():
    assert len(extract(network(1, "step1.") | network(2, "step20.")).layers) == 2


def test_of_a_list_of_epochs_the_last_is_read():
    history = [{"epoch": epoch, "weights": network(epoch)} for epoch in (1, 2, 3)]
    bank = extract({"history": history})
    assert value_of(bank) == 3
    assert "'history.0.weights'" in bank.notes[0]


def test_a_list_of_tensors_in_a_file_is_read(tmp_path):
    torch.save({"shadow_params": list(network(5).values())}, tmp_path / "list.pth")
    assert value_of(extract(tmp_path / "list.pth")) == 5


def test_every_tensor_of_many_lists_is_read():
    def lists(count):
        return {"net": {name: [torch.rand(8, 1, 3, 3)] * count for name in "abcdefgh"}}

    assert len(extract({"wrap": lists(2), "more": lists(1)}).layers) == 24


BLOCK = [torch.rand(8, 1, 3, 3), torch.ones(8)]
PAIRS = [("conv.weight", torch.rand(8, 1, 3, 3)), ("conv.bias", torch.ones(8))]


@pytest.mark.parametrize("in_file", [True, False])
def test_lists_of_lists_and_of_pairs_are_looked_into(in_file, tmp_path):
    def opened(state):
        torch.save(state, tmp_path / "net.pth")
        return extract(tmp_path / "net.pth" if in_file else state)

    bank = opened({"blocks": [BLOCK, [*BLOCK]]})
    assert [layer.name for layer in bank.layers] == ["0.0", "1.0"]
    bank = opened(network(1) | {"blocks": [BLOCK, [*BLOCK]]})
    assert [one.name for one in bank.left_out] == ["blocks.0.0", "blocks.1.0"]
    bank = opened(network(1) | {"pairs": PAIRS, "deeper": [[{"conv": PAIRS[:1]}]]})
    assert [layer.name for layer in bank.layers] == ["dw", "pairs.conv", "deeper.0.0.conv.conv"]


@pytest.mark.parametrize("in_file", [True, False])
def test_lists_that_share_or_hold_themselves_are_walked_once(in_file, tmp_path):
    shared = [torch.rand(8, 1, 3, 3)]
    for _ in range(10):
        shared = [shared] * 50
    itself = [torch.rand(8, 1, 5, 5)]
    itself.append(itself)
    state = network(1) | {"shared": shared, "itself": itself}
    torch.save(state, tmp_path / "net.pth")
    assert len(extract(tmp_path / "net.pth" if in_file else state).left_out) == 2


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ((7, 7, 1, 32), "its channels stand last"),
        ((7, 7, 32, 1), "its channels stand last"),
        ((32, 7, 7), "its name is that of a depthwise layer"),
        ((32, 49), "its name is that of a depthwise layer"),
        ((5, 40 * 25), "its name is that of a depthwise layer"),
        ((32, 2, 3, 3), "its name is that of a depthwise layer"),
    ],
)
@pytest.mark.parametrize("name", ["block.dwconv.kernel", "params/dwconv/kernel"])
def test_depthwise_weights_of_other_shapes_are_left_out_with_a_reason(name, shape, reason):
    (left_out,) = extract(network(1) | {name: torch.ones(shape)}).left_out
    assert left_out.reason.startswith(reason)


@pytest.mark.parametrize("shape", [(32, 16, 1, 1), (32,), (1, 32)])
def test_pointwise_weights_and_norms_inside_depthwise_layers_are_no_kernels(shape):
    assert extract(network(1) | {"block.dwconv.weight": torch.ones(shape)}).left_out == ()


class Mixed(nn.Module):
    """A convolution whose filters are mixed from those of four experts."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 40 * 25))


def test_filters_of_several_experts_are_listed_whether_a_state_dict_or_a_module_is_given():
    dense = nn.ModuleDict({"fc": nn.Linear(16, 32), "gate": Mixed()})
    net = nn.ModuleDict({"dw": nn.Conv2d(8, 8, 3, groups=8), "conv_dw": Mixed(), "depthwise_block": dense})
    for source in (net, net.state_dict()):
        (one,) = extract(source).left_out
        assert (one.name.removesuffix(".weight"), one.shape) == ("conv_dw", (4, 1000))
        assert one.reason == "its name is that of a depthwise layer, and its shape is not (channels, 1, rows, columns)"


def test_names_that_are_no_text_are_escaped(tmp_path):
    file = os.fsencode(tmp_path) + b"/net\xff.pth"
    torch.save(network(1), tmp_path / "net.pth")
    (tmp_path / "net.pth").rename(os.fsdecode(file))
    assert extract(os.fsdecode(file)).model == "net\\udcff"
    assert extract(network(1, "a\udcff.")).layers[0].name == "a\\udcff.dw"


def test_parts_of_distributed_checkpoints_and_files_of_joblib_are_named_for_what_they_are(tmp_path):
    torch.save(torch.ones(8, 1, 3, 3), tmp_path / "__0_0.distcp")
    with pytest.raises(CheckpointError, match="a part of a distributed checkpoint; give the folder"):
        extract(tmp_path / "__0_0.distcp")
    joblib.dump({"dw.weight": np.ones((8, 1, 3, 3))}, tmp_path / "net.joblib")
    with pytest.raises(CheckpointError, match="is a file of joblib"):
        extract(tmp_path / "net.joblib")
