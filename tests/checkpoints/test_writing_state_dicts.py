"""State dicts with other filters, of what is no file."""

import pytest
import torch
from replaced_weights import assert_same, names_in, replaced_state
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrize

import scalekeys as sk
from scalekeys.errors import CheckpointError, OutputError

SUFFIXES = [".safetensors", ".pth", ".pt"]


def load(path):
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["network", "wrapped", "dict", "nested"])
def test_networks_and_dicts(suffix, kind, net, tmp_path):
    state = {key: value.clone() for key, value in net.state_dict().items()}
    sources = {"network": net, "wrapped": nn.DataParallel(net), "dict": state, "nested": {"model": state, "epoch": 3}}
    chosen = sk.replacement(sk.assign_keys(sk.extract(sources[kind])))
    assert sk.write_replaced(sources[kind], chosen, tmp_path / f"new{suffix}") == ()
    found, expected = load(tmp_path / f"new{suffix}"), replaced_state(state, chosen)
    assert_same({key: found[key] for key in expected}, expected)
    assert len(found) == len(expected)
    assert_same(net.state_dict(), state)


def test_safetensors_says_what_wrote_it(net, tmp_path):
    sk.write_replaced(net, sk.assign_keys(sk.extract(net)), tmp_path / "new.safetensors")
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_the_published_filters(tmp_path):
    fit = sk.fit(sk.master_keys().float())
    bank = sk.extract("builtin:master-keys")
    sk.write_replaced("builtin:master-keys", sk.fit(bank), tmp_path / "keys.safetensors")
    (layer,) = sk.extract(tmp_path / "keys.safetensors")
    torch.testing.assert_close(layer.kernels.float(), fit.kernels(), rtol=0, atol=1e-5)


class Distilled(nn.Module):
    """A network with two parts whose names are those of copies of one network."""

    def __init__(self):
        super().__init__()
        self.student, self.teacher = (nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 1)) for _ in range(2))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_parts_that_are_called_like_copies_change_both(suffix, tmp_path):
    network = Distilled()
    chosen = sk.replacement(sk.assign_keys(sk.extract(network)))
    assert len(chosen.bank.layers) == 2
    sk.write_replaced(network, chosen, tmp_path / f"new{suffix}")
    found, expected = load(tmp_path / f"new{suffix}"), replaced_state(network.state_dict(), chosen)
    assert_same({key: found[key] for key in expected}, expected)


def test_a_dict_with_copies_keeps_the_others(tmp_path):
    state = Distilled().state_dict()
    chosen = sk.replacement(sk.assign_keys(sk.extract(state)))
    assert len(chosen.bank.layers) == 1
    sk.write_replaced(state, chosen, tmp_path / "new.pth")
    assert_same(load(tmp_path / "new.pth"), replaced_state(state, chosen))


def test_an_expanded_weight_gets_filters_of_its_own(tmp_path):
    state = {"dw.weight": torch.randn(1, 1, 5, 5).expand(8, 1, 5, 5), "pw.weight": torch.randn(8, 8, 1, 1)}
    noise = sk.white_noise_like(sk.extract(state))
    sk.write_replaced(state, sk.replacement(sk.fit(sk.extract(state))), tmp_path / "new.pth")
    assert load(tmp_path / "new.pth")["dw.weight"].shape == noise.layers[0].kernels[:, None].shape


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        (torch.zeros(3, dtype=torch.complex128), "has the type complex128"),
        (torch.eye(3).to_sparse(), "is sparse"),
    ],
)
def test_what_safetensors_cannot_hold_is_refused(tensor, what, tmp_path):
    state = {"dw.weight": torch.randn(8, 1, 3, 3), "pw.weight": torch.randn(8, 8, 1, 1), "more": tensor}
    chosen = sk.replacement(sk.assign_keys(sk.extract(state)))
    with pytest.raises(OutputError, match=f"its tensor 'more' {what}, which .safetensors cannot hold; write a .pth"):
        sk.write_replaced(state, chosen, tmp_path / "new.safetensors")
    assert not list(tmp_path.iterdir())


def tied():
    network = nn.ModuleDict({"a": nn.Conv2d(4, 4, 3, groups=4), "b": nn.Conv2d(4, 4, 3, groups=4)})
    network["b"].weight = network["a"].weight
    return network


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tied_layers_change_together(suffix, tmp_path):
    network = tied()
    chosen = sk.replacement(sk.assign_keys(sk.extract(network.state_dict())))
    sk.write_replaced(network.state_dict(), chosen, tmp_path / f"new{suffix}")
    found = load(tmp_path / f"new{suffix}")
    assert_same({key: found[key] for key in network.state_dict()}, replaced_state(network.state_dict(), chosen))


def test_of_tied_layers_none_can_be_kept(tmp_path):
    state = tied().state_dict()
    chosen = sk.replacement(sk.assign_keys(sk.extract(state)), layers=["a"])
    with pytest.raises(CheckpointError, match="layer 'b' shares its memory with weights"):
        sk.write_replaced(state, chosen, tmp_path / "new.pth")
    assert names_in(tmp_path) == []


def test_a_computed_weight_is_not_in_the_state_dict(net, tmp_path):
    parametrize.register_parametrization(net.blocks[0], "weight", nn.Identity())
    with pytest.raises(CheckpointError, match=r"layer 'blocks\.0' is computed, and not in the state dict; .*sk\.bake"):
        sk.write_replaced(net, sk.assign_keys(sk.extract(net)), tmp_path / "new.pth")
    assert names_in(tmp_path) == []


def test_what_is_no_tensor(tmp_path):
    class Net(nn.Conv2d):
        def get_extra_state(self):
            return {"version": 2}

    network = Net(4, 4, 3, groups=4)
    fit = sk.assign_keys(sk.extract(network))
    with pytest.raises(OutputError, match=r"entry '_extra_state' is no tensor, which \.safetensors cannot hold; write"):
        sk.write_replaced(network, fit, tmp_path / "new.safetensors")
    sk.write_replaced(network, fit, tmp_path / "new.pth")
    assert load(tmp_path / "new.pth")["_extra_state"] == {"version": 2}


@pytest.mark.parametrize(("name", "said"), [("new.onnx", r"ends in '\.onnx'"), ("new", "has no suffix")])
def test_other_formats_are_refused_by_name(name, said, net, tmp_path):
    with pytest.raises(OutputError, match=f"{said}; the weights of Net are written to .* or .pt"):
        sk.write_replaced(net, sk.assign_keys(sk.extract(net)), tmp_path / name)
