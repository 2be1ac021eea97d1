"""Statistics taken anew: those of one batch of all images, whatever the batches; and outputs matched to a reference."""

import copy
import threading

import numpy as np
import pytest
import torch
from depthwise_network import random_filters as random
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import scalekeys as sk
from scalekeys.errors import CheckpointError, FilterError, ModelError
from tolerances import assert_close

IMAGES = random(12, 3, 10, 9) * torch.tensor([1.0, 2.0, 5.0])[:, None, None] + 3
SPLITS = [[12], [5, 7], [1] * 12]


class Normed(nn.Module):
    """Pointwise and depthwise layers, each with its batch norm; the second block is a residual one."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.depthwise = nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False)
        self.norm = nn.BatchNorm2d(6, eps=1e-3)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.BatchNorm1d(8))

    def forward(self, images):
        maps = self.stem(images)
        maps = maps + self.norm(self.depthwise(maps))
        return self.head(self.dropout(maps.mean((-2, -1))))


class Unnormed(nn.Module):
    """Depthwise layers with layer norm, as in ConvNeXt; the first has no bias, the last is used twice."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 1)
        self.first = nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False)
        self.second = nn.Conv2d(6, 12, 3, groups=6)
        self.norm = nn.GroupNorm(1, 12)
        self.twice = nn.Conv2d(12, 12, 3, padding=1, groups=12)

    def forward(self, images):
        maps = torch.relu(self.norm(self.second(torch.tanh(self.first(self.stem(images))))))
        return self.twice(torch.relu(self.twice(maps))).mean((-2, -1))


def made(kind):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = kind().double().eval()
        with torch.no_grad():
            network(IMAGES)
            for name, parameter in network.named_parameters():
                if "norm" in name or name.endswith("1.weight"):
                    parameter.copy_(1 + 0.3 * torch.randn_like(parameter))
    return network


@pytest.fixture
def normed():
    return made(Normed)


@pytest.fixture
def unnormed():
    return made(Unnormed)


def statistics(network):
    return {key: value for key, value in network.state_dict().items() if "running" in key}


def assert_same(one, other, *, absolute=None):
    assert list(one) == list(other)
    for key, value in one.items():
        if value.is_floating_point():
            assert_close(value, other[key], absolute=absolute)


@pytest.mark.parametrize("sizes", SPLITS, ids=len)
def test_the_statistics_are_the_mean_and_the_unbiased_variance_of_all_inputs(sizes):
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).double()
    found = sk.recalibrate(network, IMAGES.split(sizes))
    inputs = network[0](IMAGES).detach().transpose(0, 1).flatten(1).numpy()
    assert_close(found[1].running_mean, inputs.mean(1))
    assert_close(found[1].running_var, np.var(inputs, axis=1, ddof=1))


def inputs_of(network, name):
    """Return what a layer sees of all images in evaluation mode, shape (channels, values)."""
    seen = []
    handle = network.get_submodule(name).register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network.eval()(IMAGES)
    handle.remove()
    return seen[0].transpose(0, 1).flatten(1)


@pytest.mark.parametrize("sizes", SPLITS, ids=len)
def test_each_layer_sees_what_the_network_is_in_use(normed, sizes):
    """One pass over all images for each layer, after the layers before it have been set."""
    found = sk.recalibrate(normed, IMAGES.split(sizes))
    for name in ("stem.1", "norm", "head.2"):
        inputs, norm = inputs_of(normed, name), normed.get_submodule(name)
        norm.running_mean.copy_(inputs.mean(1))
        norm.running_var.copy_(inputs.var(1))
    assert_same(statistics(found), statistics(normed))


def test_the_order_of_the_images_does_not_matter(normed):
    expected = statistics(sk.recalibrate(normed, [IMAGES]))
    turned = IMAGES.flip(0)
    assert_same(statistics(sk.recalibrate(normed, [turned[:3], turned[3:]])), expected)


def test_what_fits_already_stays(normed):
    once = sk.recalibrate(normed, [IMAGES])
    again = sk.recalibrate(once, [IMAGES])
    assert_same(again.state_dict(), once.state_dict())
    with torch.no_grad():
        outputs = again(IMAGES)
    head = again.head[2]
    assert_close(outputs.mean(0), head.bias.detach())
    variance = outputs.var(0, correction=1)
    assert_close(variance, head.weight.detach().square() * head.running_var / (head.running_var + head.eps))


def test_images_of_two_sizes_go_together():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)).double()
    wide = random(2, 3, 4, 20, seed=1)
    found = sk.recalibrate(network, [IMAGES, wide])
    inputs = [network[0](images).detach().transpose(0, 1).flatten(1) for images in (IMAGES, wide)]
    first = torch.cat(inputs, 1)
    assert_close(found[1].running_mean, first.mean(1))
    normalised = (first - first.mean(1)[:, None]) / (first.var(1, correction=1)[:, None] + 1e-5).sqrt()
    assert_close(found[3].running_var, normalised.relu().var(1, correction=1))


@pytest.mark.parametrize(
    ("norm", "shape"),
    [
        (nn.BatchNorm1d(3), (7, 3)),
        (nn.BatchNorm1d(3), (7, 3, 5)),
        (nn.BatchNorm3d(3), (7, 3, 2, 3, 4)),
        (nn.SyncBatchNorm(3), (7, 3, 4, 4)),
    ],
    ids=str,
)
def test_batch_norms_of_any_kind(norm, shape):
    images = random(*shape)
    found = sk.recalibrate(norm.double(), [images[:2], images[2:]])
    assert_close(found.running_mean, images.transpose(0, 1).flatten(1).mean(1))
    assert_close(found.running_var, images.transpose(0, 1).flatten(1).var(1))


def test_a_batch_norm_that_is_called_twice_sees_both(normed):
    norm = nn.BatchNorm2d(3).double()
    found = sk.recalibrate(nn.Sequential(norm, nn.Tanh(), norm), [IMAGES[:4], IMAGES[4:]])[0]
    first = IMAGES.transpose(0, 1).flatten(1)
    second = torch.tanh((first - first.mean(1)[:, None]) / (first.var(1)[:, None] + norm.eps).sqrt())
    assert_close(found.running_mean, torch.cat([first, second], 1).mean(1))
    assert_close(found.running_var, torch.cat([first, second], 1).var(1))


def test_batch_norms_without_statistics_and_channels_that_do_not_vary_are_left_alone():
    network = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.BatchNorm2d(3)).double()
    images = IMAGES.clone()
    images[:, 1] = 0.1
    found = sk.recalibrate(network, [images[:5], images[5:]])
    assert found[0].running_var is None
    assert found[1].running_var[1] == 1
    assert abs(found[1].running_mean[1]) < 1e-12
    assert found[1].running_var[0] != 1


def test_half_precision_keeps_its_type():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).bfloat16()
    found = sk.recalibrate(network, [IMAGES])
    inputs = network[0](IMAGES.bfloat16()).detach().double().transpose(0, 1).flatten(1)
    assert found[1].running_var.dtype == torch.bfloat16
    assert torch.equal(found[1].running_mean, inputs.mean(1).bfloat16())


def test_a_large_mean_costs_no_digits():
    images = (12345.6781 + 0.05 * random(4, 3, 16, 16)).float()
    found = sk.recalibrate(nn.BatchNorm2d(3), images.split(1))
    exact = images.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(found.running_var.double(), exact.var(1), rtol=1e-5, atol=0)
    assert torch.equal(found.running_mean, exact.mean(1).float())


def changed(network, *, seed=5):
    """Scale and shift the outputs of all depthwise layers."""
    other = copy.deepcopy(network)
    with torch.no_grad():
        for layer in other.modules():
            if isinstance(layer, nn.Conv2d) and layer.groups > 1:
                layer.weight.mul_(random(layer.out_channels, 1, 1, 1, seed=seed).exp())
                if layer.bias is not None:
                    layer.bias.add_(random(layer.out_channels, seed=seed + 1))
    return other


@pytest.mark.parametrize("sizes", SPLITS, ids=len)
def test_scaled_and_shifted_depthwise_layers_become_those_of_the_reference(unnormed, sizes):
    other = changed(unnormed)
    assert not torch.allclose(other(IMAGES), unnormed(IMAGES), rtol=0.1)
    found = sk.recalibrate(other, IMAGES.split(sizes), unnormed)
    assert_close(found.first.bias.detach(), torch.zeros(6), absolute=1e-12)
    with torch.no_grad():
        found.first.bias = None
    assert_same(found.state_dict(), unnormed.state_dict(), absolute=1e-12)


def test_any_other_filters_get_the_mean_and_the_deviation_of_the_reference(unnormed):
    replaced = sk.replace(unnormed, sk.fit(sk.extract(unnormed)))
    found = sk.recalibrate(replaced, IMAGES.split(5), unnormed)
    for name in ("first", "second"):
        outputs = [[], []]
        for values, network in zip(outputs, (found, unnormed), strict=True):
            handle = network.get_submodule(name).register_forward_hook(
                lambda *args, values=values: values.append(args[2])
            )
            with torch.no_grad():
                network(IMAGES)
            handle.remove()
        mine, wanted = (torch.var_mean(values[0], (0, 2, 3)) for values in outputs)
        assert_close(mine[0], wanted[0], absolute=1e-12)
        assert_close(mine[1], wanted[1], absolute=1e-12)
    assert found.first.bias.requires_grad


def test_a_network_is_the_best_reference_of_itself(normed, unnormed):
    for network in (normed, unnormed):
        found = sk.recalibrate(network, IMAGES.split(5), network)
        assert_close(found(IMAGES).detach(), network(IMAGES).detach(), absolute=1e-12)


def test_batch_norms_get_the_normalised_values_of_the_reference(normed):
    """The scale of a layer before a batch norm is undone there, and the layer stays as it is."""
    other = changed(normed)
    with torch.no_grad():
        other.stem[0].weight.mul_(3)
    found = sk.recalibrate(other, IMAGES.split(5), normed)
    assert_close(found(IMAGES).detach(), normed(IMAGES).detach(), absolute=1e-12)
    assert torch.equal(found.depthwise.weight, other.depthwise.weight)
    assert found.depthwise.bias is None
    assert_close(found.stem[1].running_var + 1e-5, 9 * (normed.stem[1].running_var + 1e-5))


def test_filters_that_give_nothing_are_only_shifted(unnormed):
    other = changed(unnormed)
    with torch.no_grad():
        other.second.weight[3] = 0
        unnormed.second.weight[5] = 0
    found = sk.recalibrate(other, [IMAGES], unnormed)
    assert (found.second.weight[3] == 0).all()
    assert torch.equal(found.second.weight[5], other.second.weight[5])
    maps = torch.tanh(unnormed.first(unnormed.stem(IMAGES)))
    mine, wanted = (network.second(maps).detach().mean((0, 2, 3)) for network in (found, unnormed))
    assert_close(mine[[3, 5]], wanted[[3, 5]], absolute=1e-10)


@pytest.mark.parametrize("learn", ["scales", "amplitudes", "scales+coefficients"])
def test_constrained_layers_stay_constrained(unnormed, learn):
    fit = sk.fit(sk.extract(unnormed))
    constrained = sk.constrain(unnormed, fit, learn, min_r2=float(fit.r2.median()))
    expected = sk.recalibrate(sk.bake(constrained), [IMAGES], unnormed)
    found = sk.recalibrate(constrained, [IMAGES], unnormed)
    kernel = found.second.parametrizations.weight[0]
    assert torch.equal(kernel.scales.theta, constrained.second.parametrizations.weight[0].scales.theta)
    assert 0 < len(found.second.parametrizations.weight.original) < 12
    assert_same(sk.bake(found).state_dict(), expected.state_dict(), absolute=1e-12)
    frozen = {name for name, parameter in found.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, parameter in constrained.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize(
    "compute",
    [
        parametrizations.weight_norm,
        lambda layer: prune.l1_unstructured(layer, "weight", 0.1),
        lambda layer: [parametrize.register_parametrization(layer, "weight", nn.Identity()) for _ in range(2)],
    ],
)
def test_other_computed_weights_become_plain(unnormed, compute):
    other = changed(unnormed)
    with torch.no_grad():
        compute(other.second)
    found = sk.recalibrate(other, [IMAGES], unnormed)
    assert not parametrize.is_parametrized(found.second)
    assert isinstance(found.second.weight, nn.Parameter)
    assert "weight" not in other.second._parameters


def test_a_computed_bias_is_refused_by_name(unnormed):
    other = copy.deepcopy(unnormed)
    parametrize.register_parametrization(other.second, "bias", nn.Identity())
    with pytest.raises(ModelError, match="layer 'second': its bias is not a parameter but computed"):
        sk.recalibrate(other, [IMAGES], unnormed)


def test_frozen_layers_stay_frozen(unnormed):
    found = sk.recalibrate(changed(unnormed).requires_grad_(False), [IMAGES], unnormed)
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_the_networks_stay_as_they_were(normed, unnormed):
    for network in (normed, unnormed):
        other = changed(network).train()
        other.stem.eval()
        modes = [module.training for module in other.modules()]
        before = {key: value.clone() for key, value in (other.state_dict() | network.state_dict()).items()}
        generator, threads = torch.get_rng_state(), set(threading.enumerate())
        found = sk.recalibrate(other, [IMAGES], network)
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
        assert (
            [module.training for module in other.modules()] == [module.training for module in found.modules()] == modes
        )
        assert torch.equal(torch.get_rng_state(), generator)
        assert torch.is_grad_enabled()
        for module in (*other.modules(), *found.modules(), *network.modules()):
            assert not module._forward_pre_hooks
            assert not module._forward_hooks
        assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda network: torch.compile(network, backend="eager")])
def test_wrappers_are_looked_through(normed, wrap):
    expected = sk.recalibrate(normed, [IMAGES])
    found = sk.recalibrate(wrap(normed), [IMAGES], None)
    assert_same(found.state_dict(), expected.state_dict())


def test_batches_come_in_every_form_of_data_loaders(normed):
    expected = statistics(sk.recalibrate(normed, [IMAGES]))
    for batches in (
        IMAGES,
        [(IMAGES, torch.arange(12))],
        {"pixel_values": IMAGES},
        (images for images in IMAGES.split(7)),
    ):
        assert_same(statistics(sk.recalibrate(normed, batches)), expected)


class Undecided(nn.Module):
    """Goes where its input points to."""

    def __init__(self):
        super().__init__()
        self.one, self.other = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images):
        return self.one(images) if images.mean() > 0 else self.other(images)


class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images):
        maps = self.norm(images)
        if len(images) == 2:
            raise ZeroDivisionError("somewhere inside")
        return maps


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images):
        return images


FEW = torch.ones(4, 3, 2, 2)


@pytest.mark.parametrize(
    ("network", "batches", "error", "match"),
    [
        (
            nn.Conv2d(3, 3, 3, groups=3),
            [FEW],
            ModelError,
            "the module Conv2d: has no batch norm .* as the reference, and",
        ),
        (nn.BatchNorm2d(3), [], ModelError, "batches is empty"),
        (nn.BatchNorm2d(3), [FEW[:0]], ModelError, "the batches hold no inputs; give a few hundred"),
        (nn.BatchNorm2d(3), [FEW[:1, :, :1, :1]], ModelError, "layer '': one value a channel has no variance"),
        (nn.Sequential(nn.BatchNorm2d(3)), [FEW / 0], FilterError, "layer '0': its input is not finite; look at the"),
        (Undecided(), [FEW, -FEW], ModelError, "batches go different ways at layer 'one'.* give all inputs in one"),
        (
            Broken(),
            [FEW, FEW[:2], FEW],
            ModelError,
            r"Broken does not run on an input of .*\(2, 3, 2, 2\) \(Zero.*: somewhere",
        ),
        (Idle(), [FEW], ModelError, "the module Idle: no input reached a layer to recalibrate"),
    ],
)
def test_bad_input_is_told_and_leaves_no_thread(network, batches, error, match):
    threads = set(threading.enumerate())
    with pytest.raises(error, match=match):
        sk.recalibrate(network, batches)
    assert set(threading.enumerate()) <= threads


def test_a_reference_of_another_kind_is_refused(normed, unnormed):
    narrow = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, groups=3))
    wide = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3, groups=3))
    with pytest.raises(ModelError, match=r"the reference does not have layer 'stem\.1'; give the network before its"):
        sk.recalibrate(normed, [IMAGES], unnormed)
    with pytest.raises(ModelError, match="layer '1' has 6 channels in the reference and 3 in the network; give the"):
        sk.recalibrate(narrow, [FEW], wide)
    with pytest.raises(ModelError, match="the module Conv2d: has neither batch norms nor depthwise layers"):
        sk.recalibrate(nn.Conv2d(3, 3, 1), [FEW], nn.Conv2d(3, 3, 1))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_network_that_hides_its_layers_is_refused():
    with pytest.raises(CheckpointError, match="is a TorchScript module, which hides its layers"):
        sk.recalibrate(torch.jit.trace(nn.ReLU(), FEW), [FEW])


def test_layers_that_share_a_weight_are_matched_one_by_one():
    network = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1, groups=3) for _ in range(2))).double()
    network[1].weight, network[1].bias = network[0].weight, network[0].bias
    other = copy.deepcopy(network)
    with torch.no_grad():
        other[0].weight.add_(random(3, 1, 3, 3))
    found = sk.recalibrate(other, IMAGES, network)
    for depth in (1, 2):
        mine, its = found[:depth](IMAGES), network[:depth](IMAGES)
        assert_close(mine.std((0, 2, 3)), its.std((0, 2, 3)))
        assert_close(mine.mean((0, 2, 3)), its.mean((0, 2, 3)))


def test_an_input_without_a_batch_is_refused(unnormed):
    with pytest.raises(ModelError, match=r"layer 'first': sees a single input, of shape \(6, 10, 9\); give batches"):
        sk.recalibrate(unnormed, IMAGES[0], unnormed)
