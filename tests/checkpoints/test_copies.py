"""Copies of one network in one source: one is read and the others are named; branches of one network are all read."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from scalekeys.checkpoints import extract, load_into, write_replaced
from scalekeys.filters import replacement
from scalekeys.fitting import fit


def network(value):
    return {
        "stem.weight": torch.ones(8, 3, 4, 4),
        "0.dw.weight": torch.full((8, 1, 3, 3), float(value)),
        "0.norm.weight": torch.ones(8),
        "1.dw.weight": torch.full((8, 1, 5, 5), float(value)),
    }


def under(prefix, value):
    return {f"{prefix}.{key}": tensor for key, tensor in network(value).items()}


def value_of(bank):
    assert len(bank.layers) == 2
    return float(bank.layers[0].kernels[0, 0, 0])


PAIRS = [
    ("ema_model", "online_model"),
    ("model_ema", "model"),
    ("teacher", "student"),
    ("best_model", "last_model"),
    ("best_model", "model"),
    ("online_network", "target_network"),
    ("encoder_q", "encoder_k"),
    ("base_encoder", "momentum_encoder"),
    ("backbone", "momentum_backbone"),
    ("encoder", "encoder_m"),
    ("epoch_10", "epoch_9"),
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
@pytest.mark.parametrize("above", ["", "module.", "state.model."])
def test_one_of_two_copies_under_two_prefixes_is_read(first, second, above, tmp_path):
    state = under(above + second, 2) | under(above + first, 1) | {f"{above}queue": torch.ones(4, 4)}
    save_file(state, tmp_path / "net.safetensors")
    for source in (state, tmp_path / "net.safetensors"):
        bank = extract(source)
        assert value_of(bank) == 1
        (note,) = bank.notes
        assert note.startswith(f"weights are read from the entry '{above}{first}'; the ")
        assert note.endswith(f"also holds '{above}{second}' (choose with --weights)")
        assert value_of(extract(source, weights=second)) == 2


@pytest.mark.parametrize(("first", "second"), [pair for pair in PAIRS if "ema" not in pair[0]])
def test_one_of_two_nested_copies_is_read(first, second):
    bank = extract({second: network(2), first: network(1), "epoch": 3, "optimizer": {"state": {}, "param_groups": []}})
    known = {"model"} & {first, second}
    assert value_of(bank) == (2 if known == {second} else 1)
    assert [layer.name for layer in bank.layers] == ["0.dw", "1.dw"]
    assert f"also holds '{first if known == {second} else second}'" in bank.notes[0]


@pytest.mark.parametrize(
    "names",
    [
        ("rgb", "flow"),
        ("left_encoder", "right_encoder"),
        ("encoder1", "encoder2"),
        ("netG_A", "netG_B"),
        ("conv_proj_q", "conv_proj_k"),
        ("query", "key"),
        ("iter1", "iter2"),
    ],
)
def test_branches_are_all_read(names):
    flat = under(names[0], 1) | under(names[1], 2)
    assert [layer.name for layer in extract(flat).layers] == [f"{name}.{at}.dw" for name in names for at in (0, 1)]


def test_branches_of_unknown_names_are_noted():
    (note,) = extract(under("rgb", 1) | under("flow", 2)).notes
    assert note.startswith("'rgb' and 'flow' hold kernels of the same names and shapes and all of them are read")


@pytest.mark.parametrize("epochs", [{1: network(1), 2: network(2)}, [network(1), network(2)], {"2": network(2)}])
def test_the_last_of_several_epochs_is_read(epochs):
    bank = extract({"epochs": epochs})
    assert value_of(bank) == 2
    assert "also holds" in bank.notes[0] or len(epochs) == 1


def test_blocks_of_a_tree_are_no_epochs():
    tree = {"stage": {str(block): {"dw": {"weight": torch.rand(8, 1, 3, 3)}} for block in range(3)}}
    assert len(extract(tree).layers) == 3


def test_files_of_mmengine_hold_the_averages_in_state_dict():
    tree = {"meta": {"mmengine_version": "0.10"}, "state_dict": network(1), "ema_state_dict": network(2)}
    for made_by in (tree, {**tree, "meta": {}, "message_hub": {}}):
        bank = extract(made_by)
        assert value_of(bank) == 1
        assert bank.notes == (
            "weights are read from the entry 'state_dict', which holds the averages in files of mmengine; the dict "
            "also holds 'ema_state_dict' (choose with --weights)",
        )
    assert value_of(extract({**tree, "meta": {}})) == 2


def test_files_of_mmengine_are_known_below_the_top_and_without_their_meta_data():
    counted = {**under("module", 2), "steps": torch.tensor(3)}
    tree = {"state_dict": network(1), "ema_state_dict": counted}
    for source in ({"checkpoint": {**tree, "message_hub": {}}}, tree, {"a": {"b": tree}}):
        bank = extract({"more": source})
        assert value_of(bank) == 1
        assert "which holds the averages in files of mmengine" in bank.notes[0]
    assert value_of(extract({**tree, "ema_state_dict": under("module", 2)})) == 2


@pytest.mark.parametrize(("prefix", "dot"), [("model_ema.", ""), ("ema_", "_")])
def test_averages_called_as_others_without_dots_are_not_read(prefix, dot):
    averages = {prefix + key.replace(".", dot): tensor for key, tensor in network(2).items()}
    bank = extract(under("model", 1) | averages if prefix == "model_ema." else network(1) | averages)
    assert value_of(bank) == 1
    assert bank.notes[0].startswith("4 averages are called as other tensors, without dots")
    assert bank.left_out == ()


def test_the_chosen_copy_alone_is_written(tmp_path):
    values = torch.randn(8, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    state = {f"{name}.dw.weight": values.clone() for name in ("model", "ema_model")}
    save_file(state, tmp_path / "net.safetensors")
    chosen = replacement(fit(extract(tmp_path / "net.safetensors"), "jet1"))
    write_replaced(tmp_path / "net.safetensors", chosen, tmp_path / "new.safetensors")
    written = load_file(tmp_path / "new.safetensors")
    assert torch.equal(written["model.dw.weight"], values)
    assert not torch.equal(written["ema_model.dw.weight"], values)


def test_one_copy_is_loaded_into_a_network(tmp_path):
    net = torch.nn.Sequential()
    net.dw = torch.nn.Conv2d(8, 8, 3, groups=8, bias=False)
    state = {
        f"module.{name}.dw.weight": torch.full((8, 1, 3, 3), float(at))
        for at, name in enumerate(("student", "teacher"))
    }
    save_file(state, tmp_path / "net.safetensors")
    for source in (state, {"state_dict": state | {"module.queue": torch.ones(3, 3)}}, tmp_path / "net.safetensors"):
        load_into(net, source, weights="student")
        assert net.dw.weight.eq(0).all()
        load_into(net, source)
        assert net.dw.weight.eq(1).all()
