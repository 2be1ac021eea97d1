"""What depthwise layers see: covariances predict the variance of every response, and the network stays as it was."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from depthwise_network import random_filters as random
from torch import nn
from torch.nn import functional as F

from scalekeys import networks
from scalekeys.checkpoints import extract
from scalekeys.errors import CheckpointError, FilterError, ModelError
from scalekeys.fitting.patch_covariance import shrunk
from scalekeys.networks import patch_covariance
from scalekeys.networks.running import running_moments
from tolerances import DEVICES, assert_close


def uneven(*shape, seed=0):
    """Inputs that differ from place to place and from channel to channel, far from mean 0."""
    rows, cols = torch.arange(shape[-2])[:, None] / shape[-2], torch.arange(shape[-1]) / shape[-1]
    strength = 1 + torch.arange(shape[-3])[:, None, None]
    return strength * (random(*shape, seed=seed).cumsum(-1) + 3 * rows - 2 * cols + 5)


def seen_by(module, images):
    return patch_covariance(module, [images], shrink=False)


def quadratic(errors, covariance):
    return torch.einsum("ci,cij,cj->c", errors.flatten(1), covariance, errors.flatten(1))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("kernel", [3, (3, 5), (1, 7), (4, 2)], ids=str)
def test_the_variance_of_the_response_of_any_filter_is_its_quadratic_form(kernel, mode):
    images = uneven(3, 2, 17, 15)
    multipliers = itertools.cycle((1, 3))
    for stride, padding, dilation in itertools.product((1, 2, (2, 1)), (0, 1, (2, 3), "same", "valid"), (1, 2, (1, 2))):
        if padding == "same" and stride != 1:
            continue
        options = {"stride": stride, "padding": padding, "dilation": dilation, "padding_mode": mode, "groups": 2}
        layer = nn.Conv2d(2, 2 * next(multipliers), kernel, **options, bias=False, dtype=torch.float64)
        found = seen_by(layer, images)
        with torch.no_grad():
            layer.weight.copy_(random(*layer.weight.shape, seed=1))
            responses = layer(images)
        variance, mean = torch.var_mean(responses, (0, 2, 3), correction=0)
        error = layer.weight.detach()[:, 0]
        assert_close(quadratic(error, found.layers["weight"]), variance)
        assert_close((error.flatten(1) * found.means["weight"]).sum(-1), mean)
        assert found.samples["weight"] == responses[:, 0].numel()


@pytest.mark.parametrize("device", DEVICES)
def test_it_is_the_covariance_of_the_unfolded_patches_in_row_major_order(device):
    layer = nn.Conv2d(3, 3, (3, 4), stride=(2, 1), padding=1, dilation=(1, 2), groups=3)
    images = uneven(4, 3, 9, 11)
    found = seen_by(layer.double().to(device), images)
    patches = F.unfold(images, (3, 4), dilation=(1, 2), padding=1, stride=(2, 1)).unflatten(1, (3, 12))
    for channel in range(3):
        table = patches[:, channel].transpose(0, 1).flatten(1).numpy()
        assert_close(found.layers["weight"][channel], np.cov(table, bias=True))
        assert_close(found.means["weight"][channel], table.mean(1))
    assert found.layers["weight"].device.type == found.means["weight"].device.type == "cpu"


class SamePadding(nn.Conv2d):
    """Pads in its own forward, as the layers of networks that come from TensorFlow do."""

    def forward(self, maps):
        padded = F.pad(maps, (0, 3, 1, 2))
        return F.conv2d(padded, self.weight, self.bias, self.stride, (0, 0), self.dilation, self.groups)


def test_layers_that_pad_by_themselves_are_seen_as_they_are():
    layer = SamePadding(2, 2, 3, stride=2, groups=2, bias=False).double()
    images = uneven(2, 2, 8, 8)
    found = seen_by(layer, images)
    variance = layer(images).detach().var((0, 2, 3), correction=0)
    assert_close(quadratic(layer.weight.detach()[:, 0], found.layers["weight"]), variance)


def test_computed_weights_do_not_matter():
    plain = nn.Conv2d(2, 2, 3, groups=2).double()
    images = uneven(2, 2, 8, 8)
    before = seen_by(plain, images)
    assert_close(
        seen_by(nn.utils.parametrizations.weight_norm(plain), images).layers["weight"], before.layers["weight"]
    )


class Blurred(nn.Module):
    """Blurs what its filters give, with a convolution of the same shape that is no layer."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Conv2d(3, 3, 3, groups=3)

    def forward(self, images):
        return F.conv2d(self.filters(images), torch.ones(3, 1, 3, 3, dtype=images.dtype), groups=3)


def test_convolutions_outside_of_layers_are_not_seen():
    module = Blurred().double()
    assert_close(seen_by(module, IMAGES).layers["filters"], seen_by(module.filters, IMAGES).layers["weight"])


class Net(nn.Module):
    """Two depthwise layers in use, one called twice, one never; with dropout and batch norm."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.first = nn.Conv2d(4, 8, 5, padding=2, groups=4, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.dropout = nn.Dropout(0.5)
        self.twice = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.never = nn.Conv2d(8, 8, 3, groups=8)

    def forward(self, images):
        maps = self.dropout(self.norm(self.first(self.stem(images))))
        return self.twice(self.twice(maps)).mean((-2, -1))


@pytest.fixture
def net():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Net().double()


IMAGES = uneven(6, 3, 12, 10)


def assert_same(one, other, *, absolute=None):
    assert list(one.layers) == list(other.layers)
    assert (one.samples, one.unseen) == (other.samples, other.unseen)
    for name, covariance in one.layers.items():
        assert_close(covariance, other.layers[name], absolute=absolute)
        assert_close(one.means[name], other.means[name])
        assert_close(one.shrinkage[name], other.shrinkage[name], absolute=absolute)


def test_layers_have_the_names_and_channels_of_the_bank(net):
    found, bank = patch_covariance(net, [IMAGES]), extract(net)
    assert [*found.layers, *found.unseen] == [layer.name for layer in bank]
    for layer in bank.layers[:2]:
        taps = math.prod(layer.size)
        assert found.layers[layer.name].shape == (len(layer), taps, taps)
        assert found.means[layer.name].shape == (len(layer), taps)
        assert found.shrinkage[layer.name].shape == (len(layer),)
    assert found.unseen == ("never",)


def test_outputs_of_one_input_share_its_covariance(net):
    first = patch_covariance(net, [IMAGES]).layers["first"]
    assert torch.equal(first[0::2], first[1::2])
    assert not torch.isclose(first[0], first[2]).any()


def test_a_layer_that_is_called_twice_sees_the_patches_of_both_calls(net):
    found = seen_by(net, IMAGES)
    with torch.no_grad():
        net.eval()
        maps = net.norm(net.first(net.stem(IMAGES)))
        both = torch.cat([maps, net.twice(maps)])
    assert_close(found.layers["twice"], seen_by(net.twice, both).layers["weight"])
    assert found.samples == {"first": 720, "twice": 1440}


@pytest.mark.parametrize("sizes", [[1] * 6, [2, 4], [5, 1]], ids=str)
def test_it_does_not_matter_how_the_images_come_in_batches(net, sizes):
    whole = patch_covariance(net, [IMAGES])
    assert_same(patch_covariance(net, IMAGES.split(sizes)), whole)


def test_images_of_two_sizes_are_joined(net):
    small, wide = uneven(2, 3, 8, 8), uneven(1, 3, 9, 16, seed=1)
    layer = nn.Conv2d(3, 3, 3, groups=3).double()
    found = seen_by(layer, small)
    joined = patch_covariance(layer, [small, wide], shrink=False)
    other = seen_by(layer, wide)
    few, many = found.samples["weight"], other.samples["weight"]
    assert joined.samples["weight"] == few + many
    second = few * found.second_moments().layers["weight"] + many * other.second_moments().layers["weight"]
    assert_close(joined.second_moments().layers["weight"], second / (few + many))


def test_memory_for_one_channel_is_enough(net, monkeypatch):
    whole = patch_covariance(net, [IMAGES])
    monkeypatch.setattr(running_moments, "_BYTES", 1)
    assert_same(patch_covariance(net, [IMAGES]), whole)


def test_a_large_mean_costs_no_digits():
    layer, images = nn.Conv2d(2, 2, 3, groups=2).double(), random(4, 2, 9, 9).round(decimals=3)
    moved = (images * 1024 + 2.0**30) / 1024
    found = patch_covariance(layer, moved.split(1), shrink=False).layers["weight"]
    assert_close(found, seen_by(layer, moved - 2.0**20).layers["weight"], absolute=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, -1e9])
@pytest.mark.parametrize("padding", [0, 1])
def test_a_constant_channel_is_harmless_and_leaves_the_others_alone(value, padding):
    layer, images = nn.Conv2d(3, 3, 3, groups=3, padding=padding).double(), uneven(4, 3, 9, 9)
    images[:, 1] = value
    plain = patch_covariance(layer, images.split([1, 3]), shrink=False).layers["weight"]
    found = patch_covariance(layer, images.split([1, 3]))
    others = patch_covariance(nn.Conv2d(2, 2, 3, groups=2, padding=padding).double(), images[:, ::2].split([1, 3]))
    if padding == 0 or value == 0:
        assert (plain[1] == 0).all()
        assert found.shrinkage["weight"][1] == 1
        assert_close(found.layers["weight"][::2], others.layers["weight"])
    scale = found.layers["weight"].diagonal(dim1=-2, dim2=-1).mean(-1)
    assert torch.linalg.eigvalsh(found.layers["weight"] / scale[:, None, None]).min() > 1e-6


def test_shrinkage_is_that_of_the_layer(net):
    plain, found = seen_by(net, IMAGES), patch_covariance(net, [IMAGES])
    expected, intensity = shrunk(plain.layers["twice"], plain.samples["twice"])
    assert_close(found.layers["twice"], expected)
    assert_close(found.shrinkage["twice"], intensity)
    assert (plain.shrinkage["twice"] == 0).all()
    assert (intensity > 0).all()


def state_of(net):
    return {key: value.clone() for key, value in net.state_dict().items()}


def assert_untouched(net, before, training):
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == training
    assert all(not module._forward_pre_hooks and not module._forward_hooks for module in net.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in net.parameters())


def test_the_network_runs_in_evaluation_mode_and_comes_back_as_it_was(net):
    net.train()
    net.norm.eval()
    training, before = [module.training for module in net.modules()], state_of(net)
    generator = torch.get_rng_state()
    during = []
    handle = net.dropout.register_forward_hook(lambda layer, inputs, output: during.append((layer.training, output)))
    found = patch_covariance(net, [IMAGES])
    handle.remove()
    assert [(training, output.requires_grad) for training, output in during] == [(False, False)]
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.is_grad_enabled()
    assert_untouched(net, before, training)
    assert_same(found, patch_covariance(copy.deepcopy(net).eval(), [IMAGES]))


def broken_loader():
    yield IMAGES
    raise OSError("the disk is gone")


@pytest.mark.parametrize(
    ("batches", "error", "match"),
    [
        ([IMAGES, IMAGES[:, :2]], ModelError, r"does not run .*expected input"),
        (broken_loader(), OSError, "the disk is gone"),
        ([IMAGES, None], ModelError, "batch 2: expected a tensor of inputs"),
        ([IMAGES, IMAGES / 0], FilterError, "layer 'first': its input is not finite; look at the inputs"),
    ],
)
def test_the_network_comes_back_as_it_was_after_an_error(net, batches, error, match):
    net.train()
    net.norm.eval()
    training, before = [module.training for module in net.modules()], state_of(net)
    with pytest.raises(error, match=match):
        patch_covariance(net, batches)
    assert_untouched(net, before, training)


LABELS = torch.arange(6)


@pytest.mark.parametrize(
    "batches",
    [
        IMAGES,
        IMAGES.numpy(),
        {"image": IMAGES, "label": LABELS},
        [(IMAGES, LABELS)],
        [[IMAGES, LABELS]],
        [{"label": LABELS, "pixel_values": IMAGES}],
        [{"label": LABELS, "image": IMAGES.numpy()}],
        (images for images in IMAGES.split(6)),
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(IMAGES, LABELS), batch_size=6),
    ],
    ids=lambda batches: type(batches).__name__,
)
def test_batches_come_in_every_form_of_data_loaders(net, batches):
    assert_same(patch_covariance(net, batches), patch_covariance(net, [IMAGES]))


def test_images_are_brought_to_the_type_of_the_network(net):
    found = patch_covariance(net, [IMAGES.float()])
    assert_same(found, patch_covariance(net, [IMAGES.float().double()]))


class FromBytes(nn.Module):
    """Takes bytes, as networks with their own normalisation do."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Conv2d(3, 3, 3, groups=3)

    def forward(self, images):
        assert images.dtype == torch.uint8
        return self.filters(images / 255)


def test_bytes_stay_bytes():
    images = torch.randint(256, (2, 3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    module = FromBytes()
    assert_close(seen_by(module, images).layers["filters"], seen_by(module.filters, images / 255).layers["weight"])


def test_an_image_without_a_batch_is_one_image():
    layer = nn.Conv2d(3, 3, 3, groups=3).double()
    assert_same(seen_by(layer, IMAGES[0]), seen_by(layer, IMAGES[:1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_networks_of_lower_precision_are_measured_in_double(dtype):
    layer, images = nn.Conv2d(3, 3, 3, padding=1, groups=3).to(dtype), IMAGES.to(dtype)
    found = seen_by(layer, images)
    assert found.layers["weight"].dtype == torch.float64
    assert_same(found, seen_by(copy.deepcopy(layer).double(), images.double()))


def test_an_overflow_of_half_precision_is_told_by_the_layer(net):
    with pytest.raises(FilterError, match="and run a network of half precision in float32"):
        patch_covariance(net.half(), [IMAGES * 1e4])


def compiled_in_place(net):
    net.compile(backend="eager")
    return net


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda net: torch.compile(net, backend="eager"), compiled_in_place])
def test_wrappers_are_looked_through(net, wrap):
    expected = patch_covariance(copy.deepcopy(net), [IMAGES])
    wrapped = wrap(net)
    with torch.no_grad():
        wrapped.eval()(IMAGES)
    assert_same(patch_covariance(wrapped, [IMAGES]), expected)


def test_compiled_parts_run_as_they_are_written(net):
    compilations = []

    def backend(graph, _):
        compilations.append(graph)
        return graph.forward

    expected = patch_covariance(copy.deepcopy(net), [IMAGES])
    net.twice = torch.compile(net.twice, backend=backend)
    with torch.no_grad():
        net.eval()(IMAGES)
    compilations.clear()
    found = patch_covariance(net, [IMAGES])
    assert not compilations
    assert list(found.layers) == [layer.name for layer in extract(net).layers[:2]]
    assert_close(list(found.layers.values())[1], expected.layers["twice"])


def test_a_network_without_depthwise_layers_is_refused():
    with pytest.raises(CheckpointError, match="the module Conv2d: has no depthwise layers to read"):
        patch_covariance(nn.Conv2d(3, 8, 3), [IMAGES])


@pytest.mark.parametrize("batches", [[], iter(())])
def test_no_batches_are_refused(net, batches):
    with pytest.raises(ModelError, match="batches is empty, or a generator that was used before; give at"):
        patch_covariance(net, batches)


class Idle(nn.Module):
    """Does not use its filters."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Conv2d(3, 3, 3, groups=3)

    def forward(self, images):
        return images


@pytest.mark.parametrize(("module", "images"), [(Idle(), IMAGES), (nn.Conv2d(3, 3, 3, groups=3), IMAGES[:0])])
def test_a_network_that_shows_its_layers_nothing_is_refused(module, images):
    with pytest.raises(ModelError, match="no input reached a depthwise layer; give batches that are not empty"):
        patch_covariance(module, [images])


@pytest.mark.parametrize(
    ("batch", "what"),
    [
        ("image.png", "str"),
        ({"pixels": IMAGES, "label": LABELS}, "a dict of 'pixels', 'label'"),
        ([], "list"),
        (3, "int"),
    ],
)
def test_a_batch_of_something_else_is_refused_with_what_it_is(net, batch, what):
    with pytest.raises(ModelError, match=f"batch 1: expected a tensor of inputs, .* or 'input_ids', got {what}$"):
        patch_covariance(net, [batch])


def test_no_public_name_of_the_networks_vanishes():
    assert set(networks.__all__) == {
        *(
            "Compression",
            "Cropping",
            "Diagnosis",
            "AccuracyDifference",
            "Evaluation",
            "KeyCurve",
            "KeyElimination",
            "LayerError",
            "OutputError",
            "Pruning",
            "ReceptiveField",
            "bake",
            "compress",
            "constrain",
        ),
        *("crop", "eliminate_keys", "key_curve", "load_pruned", "output_error", "prune_dead", "receptive_field"),
        *("replaced_by_keys", "Separation", "load_separated", "separate"),
        *("diagnose", "evaluate", "fit_in_network", "patch_covariance", "recalibrate", "replace", "sensitivity"),
    }
    assert [name for name in networks.__all__ if not hasattr(networks, name)] == []


def test_a_lattice_of_patches_sees_nearly_the_same_and_all_of_them_exactly_the_same():
    layer = nn.Conv2d(3, 6, 5, padding=2, stride=(1, 2), groups=3)
    images = uneven(200, 3, 24, 30).float()
    whole, every, some = (patch_covariance(layer, images, shrink=False, patches=most) for most in (None, 10**6, 60))
    (name,) = whole.layers
    covariance = whole.layers[name]
    largest = float(covariance.abs().max())
    torch.testing.assert_close(every.layers[name], covariance, rtol=1e-4, atol=1e-5 * largest)
    torch.testing.assert_close(every.means[name], whole.means[name], rtol=1e-4, atol=1e-4)
    assert every.samples == whole.samples
    assert 30 * 200 <= some.samples[name] <= 60 * 200
    assert (some.layers[name] - covariance).abs().max() < 0.05 * largest
