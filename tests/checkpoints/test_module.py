"""Networks in memory."""

import pytest
import torch
from torch import nn

from scalekeys import fit, replace
from scalekeys.checkpoints import extract, open_source
from scalekeys.errors import CheckpointError


def test_the_small_network(net, assert_filters_of):
    bank = extract(net)
    assert_filters_of(bank, net, graph=True)
    assert (bank.model, bank.notes) == ("Net", ())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types(net, dtype, assert_filters_of):
    assert_filters_of(extract(net.to(dtype)), net, graph=True, dtype=dtype)


def test_the_bank_is_a_copy(net):
    bank = extract(net)
    kept = bank.layers[0].kernels.clone()
    with torch.no_grad():
        net.blocks[0].weight.zero_()
    assert torch.equal(bank.layers[0].kernels, kept)
    bank.layers[1].kernels.zero_()
    assert net.blocks[1].weight.abs().sum() > 0


def compiled(net):
    return torch.compile(net, backend="eager")


@pytest.mark.parametrize("wrap", [nn.DataParallel, compiled, lambda net: compiled(nn.DataParallel(net))])
def test_wrappers_are_looked_through(net, wrap, assert_filters_of):
    bank = extract(wrap(net))
    assert_filters_of(bank, net, graph=True)
    assert bank.model == "Net"


def test_wrappers_inside_leave_no_trace_in_names(net, tmp_path):
    names = [layer.name for layer in extract(net).layers]
    net.blocks = compiled(net.blocks)
    assert [layer.name for layer in extract(net).layers] == names
    torch.save(net.state_dict(), tmp_path / "net.pth")
    bank = extract(tmp_path / "net.pth")
    assert replace(net, fit(bank)).state_dict().keys() == net.state_dict().keys()


def test_a_shared_layer_counts_once(net):
    shared = net.blocks[0]
    bank = extract(nn.ModuleDict({"first": shared, "again": nn.Sequential(shared)}))
    assert [layer.name for layer in bank.layers] == ["first"]


class Scaled(nn.Conv2d):
    """A convolution of its own kind."""


def test_subclasses_count():
    assert [layer.name for layer in extract(nn.Sequential(Scaled(4, 4, 3, groups=4))).layers] == ["0"]


def test_a_single_layer():
    (layer,) = extract(nn.Conv2d(4, 8, (2, 4), groups=4)).layers
    assert (layer.name, layer.kernels.shape) == ("weight", (8, 2, 4))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 4, 3),
        nn.Conv2d(4, 4, 1, groups=4),
        nn.Conv2d(8, 8, 3, groups=4),
        nn.ConvTranspose2d(4, 4, 3, groups=4),
        nn.Conv1d(8, 8, 3, groups=4),
    ],
)
def test_what_is_not_depthwise(layer):
    other = nn.Conv2d(4, 4, 5, groups=4)
    assert [found.name for found in extract(nn.Sequential(layer, other)).layers] == ["1"]


def test_two_strides_are_noted():
    module = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, stride=(2, 1), dilation=(1, 3)))
    bank = extract(module)
    assert (bank.layers[0].stride, bank.layers[0].dilation) == (2, 3)
    assert bank.notes == (
        "layer '0' has stride 2x1; the larger is recorded",
        "layer '0' has dilation 1x3; the larger is recorded",
    )


def test_grouped_convolutions_are_named(net):
    bank = extract(nn.ModuleDict({"net": net, "up": nn.ConvTranspose1d(4, 4, 3, groups=4)}))
    assert [(one.name, one.shape, one.reason) for one in bank.left_out] == [
        ("net.blocks.5", (16, 4, 3, 3), 'it is a convolution of 4 groups and not depthwise; kinds="grouped" reads it'),
        ("up", (4, 1, 3), 'it is a transposed convolution of 4 groups; kinds="grouped" reads it'),
    ]


def test_computed_weights_are_read_as_they_are_used(net):
    layer = nn.utils.parametrizations.weight_norm(net.blocks[0])
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(3)
    bank = extract(net)
    assert torch.equal(bank.layers[0].kernels, layer.weight[:, 0].detach())
    assert not bank.layers[0].kernels.requires_grad


def test_pruned_weights_are_read_as_they_are_used(net):
    from torch.nn.utils import prune

    prune.l1_unstructured(net.blocks[0], "weight", amount=0.5)
    filters = extract(net).layers[0].kernels
    assert (filters == 0).sum() == filters.numel() // 2


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_a_lazy_layer_is_named():
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyConv2d(4, 3, groups=4))
    with pytest.raises(CheckpointError, match="layer '1' is lazy and has no weights yet; run the network once"):
        extract(lazy)
    lazy(torch.zeros(1, 3, 9, 9))
    assert [layer.name for layer in extract(lazy).layers] == ["1"]


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")
def test_a_lazy_layer_that_cannot_be_depthwise_does_not_matter(net, assert_filters_of):
    net.head = nn.LazyLinear(5)
    assert_filters_of(extract(net), net, graph=True)


def test_a_layer_without_values_is_named():
    with torch.device("meta"):
        module = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4))
    with pytest.raises(
        CheckpointError, match=r"layer '0' has no values \(it is on the meta device\); load its weights"
    ):
        extract(module)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_a_script_is_refused_with_the_way_out(net, assert_filters_of):
    script = torch.jit.trace(net, torch.zeros(1, 3, 64, 64))
    with pytest.raises(
        CheckpointError, match=r"is a TorchScript module, which hides its layers; give its state_dict\(\)"
    ):
        extract(script)
    assert_filters_of(extract(script.state_dict()), net, graph=False)


def test_each_layer_leads_back_to_its_weight(net):
    opened = open_source(net)
    for layer in opened.layers:
        assert torch.equal(opened.load(layer.key), net.get_parameter(layer.key))


def test_reading_changes_nothing(net):
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net.train()
    extract(net)
    assert net.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
