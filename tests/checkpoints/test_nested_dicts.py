"""Which weights of a nested dict are read, and what is said about it."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalekeys.checkpoints import extract, open_source
from scalekeys.checkpoints.core.nesting import AVERAGED, CUSTOMARY
from scalekeys.errors import CheckpointError


def weights(value):
    return {"dw.weight": torch.full((4, 1, 3, 3), float(value)), "fc.weight": torch.ones(2, 4)}


def value_of(bank):
    return float(bank.layers[0].kernels[0, 0, 0])


MOMENTS = {"state": {"dw": {"exp_avg.weight": torch.ones(4, 1, 3, 3)}}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize("name", AVERAGED + CUSTOMARY)
def test_every_known_name_is_read(name):
    bank = extract({"epoch": 5, name: weights(7), "optimizer": MOMENTS})
    assert value_of(bank) == 7
    assert [layer.name for layer in bank.layers] == ["dw"]
    assert bank.notes == (f"weights are read from the entry {name!r}",)


@pytest.mark.parametrize("averaged", AVERAGED)
@pytest.mark.parametrize("trained", ["params", "state_dict", "model"])
def test_averaged_weights_come_first(averaged, trained):
    bank = extract({trained: weights(1), averaged: weights(2)})
    assert value_of(bank) == 2
    assert bank.notes == (
        f"weights are read from the entry {averaged!r}; the dict also holds {trained!r} (choose with --weights)",
    )
    assert value_of(extract({trained: weights(1), averaged: weights(2)}, weights=trained)) == 1


def test_weights_in_a_list_with_something_else(tmp_path):
    torch.save((3, {"dw.weight": torch.rand(8, 1, 3, 3)}, "name"), tmp_path / "net.pth")
    bank = extract(tmp_path / "net.pth")
    assert (len(bank), bank.notes) == (8, ("weights are read from the entry '1'",))


def test_the_file_is_called_a_file(tmp_path):
    torch.save({"params": weights(1), "params_ema": weights(2)}, tmp_path / "net.pth")
    expected = "weights are read from the entry 'params_ema'; the file also holds 'params' (choose with --weights)"
    assert extract(tmp_path / "net.pth").notes == (expected,)
    bank = extract(tmp_path / "net.pth", weights="params")
    assert value_of(bank) == 1
    assert bank.notes == (
        "weights are read from the entry 'params'; the file also holds 'params_ema' (choose with --weights)",
    )


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"model": {"state_dict": weights(3)}}, ("model", "state_dict")),
        ({"state_dict": {"model": {"net": weights(3)}}}, ("state_dict", "model", "net")),
        ({"ema": {"module": weights(3), "updates": 9}, "model": weights(1)}, ("ema", "module")),
        ({"model": {"ema": weights(3), "net": weights(1)}}, ("model", "ema")),
        ({"checkpoint": weights(3)}, ("checkpoint",)),
        ({"checkpoint": {"model": weights(1), "model_ema": weights(3)}}, ("checkpoint", "model_ema")),
        ({"G_EMA": weights(3), "g": weights(1)}, ("G_EMA",)),
        ({"model_ema": {}, "model": weights(3)}, ("model",)),
        ({"model_ema": None, "model": weights(3)}, ("model",)),
        ({"ema": {"decay": torch.tensor(0.9)}, "model": weights(3)}, ("model",)),
        ({"model": weights(3), "rng_state": torch.zeros(9, dtype=torch.uint8)}, ("model",)),
        ({"params": {"fc.weight": torch.ones(2, 4)}, "generator": weights(3)}, ("generator",)),
        ({"model": weights(3), "optimizer": MOMENTS, "lr_scheduler": {"x": torch.ones(4, 1, 3, 3)}}, ("model",)),
        ({"model": weights(3), "adam": MOMENTS}, ("model",)),
    ],
)
def test_where_the_weights_are_found(tree, path):
    opened = open_source(tree)
    assert opened.entry == path
    assert value_of(opened.bank()) == 3


@pytest.mark.parametrize("name", ["optimizer", "optim_state", "lr_schedulers"])
def test_the_state_of_training_is_no_network(name):
    with pytest.raises(CheckpointError, match="holds no tensors by name"):
        extract({name: {"dw.weight": torch.ones(4, 1, 3, 3)}, "epoch": 3})
    with pytest.raises(CheckpointError, match="holds no tensors by name"):
        extract({"anything": MOMENTS})


def test_a_layer_may_be_called_like_the_state_of_training():
    assert extract({"optimised.weight": torch.ones(4, 1, 3, 3)}).layers[0].name == "optimised"


def test_parts_of_unknown_names_are_one_network():
    bank = extract({"encoder": weights(1), "decoder": weights(2), "epoch": 3})
    assert [layer.name for layer in bank.layers] == ["encoder.dw", "decoder.dw"]
    assert bank.notes == ("joined the parts 'encoder' and 'decoder' (choose one with --weights)",)
    chosen = extract({"encoder": weights(1), "decoder": weights(2)}, weights="decoder")
    assert [layer.name for layer in chosen.layers] == ["dw"]
    assert value_of(chosen) == 2


def test_a_tree_of_modules_is_flattened():
    tree = {
        "stem": {"conv": {"weight": torch.ones(8, 3, 4, 4)}},
        "stage": {"0": {"dw": {"weight": torch.ones(8, 1, 7, 7)}}},
    }
    assert [layer.name for layer in extract(tree).layers] == ["stage.0.dw"]


def test_a_choice_deep_inside():
    tree = {"model": {"generator": weights(1), "generator_ema": weights(2)}, "state.dict": weights(3)}
    assert value_of(extract(tree, weights="model.generator")) == 1
    assert value_of(extract(tree, weights="generator")) == 1
    assert value_of(extract(tree, weights="model.generator_ema")) == 2
    assert value_of(extract(tree, weights="state.dict")) == 3


def test_a_wrong_choice_lists_the_right_ones():
    tree = {"params": weights(1), "params_ema": weights(2), "epoch": 5, "optimizer": MOMENTS}
    message = "the state dict: holds no weights 'model'; the dict has 'params_ema' and 'params'$"
    for wrong in ("model", "epoch", "params.x", ""):
        with pytest.raises(CheckpointError, match=message.replace("'model'", repr(wrong))):
            extract(tree, weights=wrong)


def test_a_dict_that_holds_itself():
    tree = {"model": weights(3)}
    tree["state_dict"] = tree
    tree["more"] = {"again": tree}
    assert value_of(extract(tree)) == 3


class Counted(dict):
    """A dict that counts how often it is looked through."""

    looks = 0

    def items(self):
        self.looks += 1
        return super().items()


def test_a_dict_that_holds_itself_many_times_is_not_looked_through_again_and_again():
    tree = Counted(extra=weights(3))
    tree |= dict.fromkeys(CUSTOMARY[:3], tree)
    assert value_of(extract(tree)) == 3
    assert tree.looks < 20


def test_a_very_deep_dict():
    tree = weights(3)
    for _ in range(5000):
        tree = {"x": tree}
    with pytest.raises(CheckpointError, match="holds no tensors by name"):
        extract(tree)


def test_tensors_that_are_no_weights_stay_out():
    state = {"dw.weight": torch.ones(4, 1, 3, 3), "blur.filt": torch.ones(4, 1, 3, 3), "mask": torch.ones(4, 1, 3, 3)}
    assert [layer.name for layer in extract(state).layers] == ["dw"]
    assert [layer.name for layer in extract({"mine": torch.ones(4, 1, 3, 3)}).layers] == ["mine"]


@pytest.mark.parametrize("shape", [(1, 1, 3, 3), (4, 1, 1, 1), (4, 2, 3, 3), (4, 3, 3), (4, 1, 1), (4, 1, 3, 3, 3, 3)])
def test_shapes_that_are_not_depthwise(shape):
    with pytest.raises(CheckpointError, match="has no depthwise layers to read"):
        extract({"conv.weight": torch.ones(shape)})


@pytest.mark.parametrize("shape", [(4, 1, 1, 5), (4, 1, 5, 1), (2, 1, 2, 2), (6, 1, 4, 6)])
def test_shapes_that_are(shape):
    (layer,) = extract({"conv.weight": torch.ones(shape)}).layers
    assert layer.kernels.shape == (shape[0], *shape[2:])


def test_parts_that_are_not_enough_are_left_out_and_said_so():
    module = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, groups=4), torch.nn.Conv2d(4, 4, 5, groups=4))
    torch.nn.utils.parametrizations.weight_norm(module[1])
    state = module.state_dict()
    del state["1.parametrizations.weight.original0"]
    bank = extract(state)
    assert [layer.name for layer in bank.layers] == ["0"]
    part = "'1.parametrizations.weight.original1' (it is a part of a computed weight; give the module itself)"
    assert [f"{one.name!r} ({one.reason})" for one in bank.left_out] == [part]
    with pytest.raises(CheckpointError, match=f"has no depthwise layers to read; left out: {re.escape(part)}"):
        extract({key: value for key, value in state.items() if key.startswith("1")})


NAMES = st.sampled_from([*AVERAGED[:4], *CUSTOMARY[:6], "extra", "stage", "optimizer", "lr_scheduler"])
FLAT = st.integers(1, 10**6).map(weights)
OTHER = st.sampled_from([None, 3, "text", [1, 2], {}])
TREES = st.recursive(FLAT | OTHER, lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=4), max_leaves=12)


def planted(tree, path=()):
    """Yield the path and value of every state dict that is not of training."""
    if isinstance(tree, dict):
        if "dw.weight" in tree:
            yield path, float(tree["dw.weight"][0, 0, 0, 0])
        for name, value in tree.items():
            if isinstance(value, dict) and name not in ("optimizer", "lr_scheduler"):
                yield from planted(value, (*path, name))


@given(st.dictionaries(NAMES, TREES, min_size=1, max_size=4))
def test_what_is_read_was_planted_and_is_averaged_if_anything_known_is(tree):
    expected = dict(planted(tree))
    if not expected:
        with pytest.raises(CheckpointError, match="holds no tensors by name"):
            extract(tree)
        return
    opened = open_source(tree)
    bank = opened.bank()
    read = {layer.name: float(layer.kernels[0, 0, 0]) for layer in bank.layers}
    for name, value in read.items():
        path = (*opened.entry, *name.split(".")[:-1])
        assert expected[path] == value
    known = [path for path in expected if all(name in AVERAGED + CUSTOMARY for name in path)]
    if any(set(path) & set(AVERAGED) for path in known):
        assert set(opened.entry) & set(AVERAGED)
    if opened.entry:
        assert any(
            note.startswith(f"weights are read from the entry '{'.'.join(opened.entry)}'") for note in bank.notes
        )
