"""Networks that convolve with the weight of a layer without calling the layer, as Mamba does, or call it by keyword."""

import copy

import pytest
import torch
from small_classifier import images
from torch import nn
from torch.nn import functional as F

import scalekeys as sk
from scalekeys.networks.running.functional_calls import FunctionalCalls, functional_calls
from tolerances import assert_close


class Called(nn.Module):
    """Calls its depthwise layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 6, 1)
        self.first = nn.Conv2d(6, 6, 5, padding=4, groups=6)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 6, 3, stride=2, groups=6, bias=False)
        self.head = nn.Linear(6, 5)

    def forward(self, inputs):
        maps = self.depthwise(self.first, self.stem(inputs))[..., :12, :12]
        return self.head(self.depthwise(self.second, self.normalised(maps).relu()).relu().mean((2, 3)))

    def depthwise(self, layer, maps):
        return layer(maps)

    def normalised(self, maps):
        return self.norm(maps)


class Borrowed(Called):
    """Takes their weights, through views and by position."""

    def depthwise(self, layer, maps):
        weight = layer.weight.squeeze(1).unsqueeze(1)
        return F.conv2d(maps, weight, layer.bias, layer.stride, layer.padding, groups=layer.groups)


class Named(Called):
    """Takes their weights, all arguments by name."""

    def depthwise(self, layer, maps):
        options = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
        return F.conv2d(input=maps, weight=layer.weight, bias=layer.bias, **options)


class Keyword(Called):
    """Calls its depthwise layers and its batch norm by keyword."""

    def depthwise(self, layer, maps):
        return layer(input=maps)

    def normalised(self, maps):
        return self.norm(input=maps)


@pytest.fixture(params=[Borrowed, Named, Keyword])
def pair(request):
    return Called().eval(), request.param().eval()


def changed(network):
    other = copy.deepcopy(network)
    with torch.no_grad():
        for layer in (other.first, other.second):
            layer.weight.mul_(1.3).add_(0.05 * torch.arange(layer.weight[0].numel()).view_as(layer.weight[0]))
    return other


def test_what_layers_see_does_not_depend_on_who_calls(pair):
    called, borrowed = (sk.patch_covariance(network, images()) for network in pair)
    assert list(borrowed.layers) == ["first", "second"]
    assert borrowed.samples == called.samples
    for name, covariance in called.layers.items():
        assert torch.equal(borrowed.layers[name], covariance)


def test_neither_does_what_depends_on_them(pair):
    called, borrowed = (sk.sensitivity(network, images()) for network in pair)
    assert (called["first"] > 0).all()
    for name, values in called.items():
        assert_close(borrowed[name], values)


def test_nor_how_far_two_networks_are_apart(pair):
    called, borrowed = (sk.diagnose(network, changed(network), images()) for network in pair)
    assert called.layers[1].local > 0
    assert borrowed == called


@pytest.mark.parametrize("count", [1, 3])
def test_nor_what_is_recalibrated(pair, count):
    batches = images().chunk(count)
    called, borrowed = (sk.recalibrate(changed(network), batches, reference=network) for network in pair)
    assert borrowed.second.bias is not None
    for one, other in zip(called.state_dict().values(), borrowed.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_nor_fits_inside_the_network(pair):
    called, borrowed = (sk.fit_in_network(network, images(), "sparse3") for network in pair)
    assert torch.equal(borrowed.coefficients, called.coefficients)
    plain = sk.fit(
        sk.extract(pair[0]), "sparse3", criterion="response", covariance=sk.patch_covariance(pair[0], images())
    )
    assert not torch.equal(called.coefficients[:6], plain.coefficients[:6])


def test_hooks_see_each_convolution_once_and_may_change_it():
    seen = []
    for network in (Called(), Borrowed()):
        before = network.first.register_forward_pre_hook(lambda layer, given: (seen.append(given[0]), given[0] + 1)[1])
        behind = network.first.register_forward_hook(lambda layer, given, output: seen.append(given[0]) or 2 * output)
        with functional_calls([network.first, network.second]), torch.no_grad():
            seen.append(network.eval()(images()))
        before.remove()
        behind.remove()
        assert not network.first._forward_hooks
        assert not network.first._forward_pre_hooks
    assert len(seen) == 6
    for one, other in zip(seen[:3], seen[3:], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(seen[0] + 1, seen[1])
    with torch.no_grad():
        assert not torch.equal(Called().eval()(images()), seen[2])


def test_other_convolutions_belong_to_no_layer():
    layer, maps = nn.Conv2d(4, 4, 3, groups=4), torch.ones(1, 4, 5, 5)
    seen = []
    layer.register_forward_hook(lambda *_: seen.append(1))
    with functional_calls([layer]):
        F.conv2d(maps, layer.weight.detach().clone(), groups=4)
        F.conv2d(maps[:, :2], layer.weight[:2], groups=2)
        nn.Conv2d(4, 4, 3, groups=4)(maps)
        assert not seen
        F.conv2d(maps, layer.weight, groups=4)
    assert seen == [1]


def test_an_error_inside_a_layer_leaves_it_as_it_was():
    layer = nn.Conv2d(4, 4, 3, groups=4)
    calls = FunctionalCalls([layer])
    with calls.hooked(), calls:
        with pytest.raises(RuntimeError, match="expected input"):
            layer(torch.ones(1, 3, 5, 5))
        seen = []
        layer.register_forward_hook(lambda *_: seen.append(1))
        F.conv2d(torch.ones(1, 4, 5, 5), layer.weight, groups=4)
    assert seen == [1]
