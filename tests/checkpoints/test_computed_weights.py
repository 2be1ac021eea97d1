"""Weights that a module computes: from the parts in a state dict, and in a module whose attribute is stale."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from scalekeys.checkpoints import extract, open_source, write_replaced
from scalekeys.errors import CheckpointError
from scalekeys.filters import replacement
from scalekeys.fitting import fit


def pruned(layer):
    prune.l1_unstructured(layer, "weight", amount=0.3)
    prune.random_unstructured(layer, "weight", amount=0.3)
    return layer


def pruned_direction(layer):
    prune.l1_unstructured(nn.utils.weight_norm(layer), "weight_v", amount=0.5)
    layer._forward_pre_hooks.move_to_end(next(iter(layer._forward_pre_hooks)))
    return layer


WAYS = {
    "weight_norm": nn.utils.weight_norm,
    "spectral_norm": nn.utils.spectral_norm,
    "pruned": pruned,
    "parametrized weight_norm": parametrizations.weight_norm,
    "parametrized spectral_norm": parametrizations.spectral_norm,
}


@pytest.fixture(params=WAYS)
def stale(request):
    """A network in training whose parameters have just changed, and what it computes in evaluation."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 8, 1), WAYS[request.param](nn.Conv2d(8, 8, 3, groups=8)))
        net(torch.randn(2, 3, 9, 9)).square().sum().backward()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter += 0.1 * torch.randn(parameter.shape)
    return net


def used(net):
    net = copy.deepcopy(net).eval() if not any(map(torch.is_tensor, vars(net[1]).values())) else net.eval()
    net(torch.zeros(1, 3, 9, 9))
    return net[1].weight[:, 0].detach().clone()


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.nn.utils.(weight|spectral)_norm.* is deprecated:FutureWarning")


def test_a_module_is_read_as_it_will_be_used_and_nothing_changes(stale):
    before, random = {key: value.clone() for key, value in stale.state_dict().items()}, torch.get_rng_state()
    bank = extract(stale)
    assert stale[1].training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[key]) for key, value in stale.state_dict().items())
    assert torch.equal(bank.layers[0].kernels, used(stale))


def test_a_state_dict_holds_all_that_is_needed(stale):
    state = {key: value.clone() for key, value in stale.state_dict().items()}
    bank = extract({f"module.{key}": value for key, value in state.items()})
    assert [layer.name for layer in bank.layers] == ["1"]
    assert bank.left_out == ()
    torch.testing.assert_close(bank.layers[0].kernels, used(stale))
    main = next(key for key, value in state.items() if value.shape == (8, 1, 3, 3))
    part = next(key for key in state if key.startswith("1.") and key not in (main, "1.bias"))
    with pytest.raises(CheckpointError, match="it is a part of a computed weight; give the module itself"):
        extract({key: value for key, value in state.items() if key != part})


def test_a_pruned_direction_is_computed_in_the_order_of_the_hooks():
    layer = pruned_direction(nn.Conv2d(4, 4, 3, groups=4))
    filters = extract(nn.Sequential(layer)).layers[0].kernels
    assert (filters == 0).sum() == filters.numel() // 2


def test_spectral_norms_of_others_are_computed():
    weight = torch.randn(8, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(weight.flatten(1))
    state = {"dw.module.weight_bar": weight, "dw.module.weight_u": u[:, 0], "dw.module.weight_v": v[0]}
    (layer,) = extract(state).layers
    assert layer.name == "dw"
    torch.testing.assert_close(torch.linalg.matrix_norm(layer.kernels.flatten(1), 2), torch.tensor(1.0))


def test_a_computed_weight_is_not_replaced_in_its_parts(tmp_path):
    layers = [nn.utils.weight_norm(nn.Conv2d(4, 4, 3, groups=4)), nn.Conv2d(4, 4, 3, groups=4)]
    torch.save(nn.Sequential(*layers).state_dict(), tmp_path / "net.pth")
    found = fit(extract(tmp_path / "net.pth"), "jet1")
    with pytest.raises(CheckpointError, match="layer '0' is computed from several tensors, and cannot be replaced"):
        write_replaced(tmp_path / "net.pth", found, tmp_path / "new.pth")
    write_replaced(tmp_path / "net.pth", replacement(found, layers=["1"]), tmp_path / "new.pth")


@pytest.mark.parametrize(
    ("name", "shape"),
    [("weight_scale", (8, 1, 1, 1)), ("weight_scale", (8,)), ("weight_scale_inv", ()), ("scale_weight", (1,))],
)
def test_weights_of_float8_are_multiplied_by_the_scale_beside_them(name, shape):
    weight, scale = (100 * torch.randn(8, 1, 3, 3)).to(torch.float8_e4m3fn), torch.rand(shape)
    opened = open_source({"dw.weight": weight, f"dw.{name}": scale, "pw.weight": torch.rand(8, 8, 1, 1)})
    (layer,) = opened.bank().layers
    assert torch.equal(layer.kernels, weight.float()[:, 0] * scale.reshape(-1, 1, 1))
    assert not opened.can_change(opened.layers[0])


def test_weights_of_float8_with_a_scale_of_another_shape_are_left_out():
    state = {"dw.weight": torch.zeros(8, 1, 3, 3).to(torch.float8_e4m3fn), "dw.weight_scale": torch.rand(2)}
    (left_out,) = extract(state | {"other.weight": torch.rand(8, 1, 3, 3)}).left_out
    assert left_out.reason.startswith("a scale beside it multiplies its float8 numbers")


def test_a_parameter_of_no_convolution_is_listed():
    module = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
    module.kernel = nn.Parameter(torch.ones(4, 1, 3, 3))
    (one,) = extract(module).left_out
    assert (one.name, one.shape) == ("kernel", (4, 1, 3, 3))
    assert one.reason.startswith("it belongs to no convolution of torch")
