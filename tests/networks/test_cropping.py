"""Kernels cut around their central taps: the network then computes what it did with its outer taps set to zero."""

import copy

import numpy as np
import pytest
import torch
from depthwise_network import SamePad
from torch import nn
from torch.nn.utils import prune, weight_norm

import scalekeys as sk
from scalekeys.filters.extent import outer_share, refitted, smallest_window
from scalekeys.filters.window import in_window

CHANNELS = 4


def filled(layer, inner):
    """Give a depthwise layer kernels whose taps outside a window are a thousandth of those inside."""
    draw = torch.Generator().manual_seed(1)
    sides = layer.weight.shape[2:]
    core = torch.randn(CHANNELS, *inner, generator=draw)
    outer = 1e-3 * torch.randn(CHANNELS, *sides, generator=draw)
    with torch.no_grad():
        layer.weight.copy_((in_window(core, sides) + outer)[:, None])
    return layer


def without_outer(network, inner):
    """Return a network whose depthwise kernels are zero outside a window: what a cropped one should compute."""
    network = copy.deepcopy(network)
    for layer in network.modules():
        if isinstance(layer, nn.modules.conv._ConvNd) and layer.groups > 1:
            sides = layer.weight.shape[2:]
            with torch.no_grad():
                layer.weight.copy_(in_window(in_window(layer.weight, inner), sides))
    return network


def random_inputs(axes, side=17):
    return torch.randn(2, CHANNELS, *(side + axis for axis in range(axes)), generator=torch.Generator().manual_seed(2))


def assert_cropped(network, inner, inputs):
    found = sk.crop(network, refit=False)
    assert [one.kernel_size for one in found.layers] == [inner]
    assert not found.left
    expected = without_outer(network, inner)(inputs)
    torch.testing.assert_close(found.module(inputs), expected)
    return found


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 9, "padding": 4},
        {"kernel_size": 7, "padding": 3, "stride": 2},
        {"kernel_size": 7, "padding": 5},
        {"kernel_size": 5, "padding": "same"},
        {"kernel_size": 7, "padding": 6, "dilation": 2},
        {"kernel_size": 7, "padding": "same", "dilation": 3},
        {"kernel_size": 7, "padding": 3, "padding_mode": "reflect"},
        {"kernel_size": 7, "padding": "same", "padding_mode": "circular"},
        {"kernel_size": (7, 5), "padding": (3, 2)},
    ],
    ids=str,
)
def test_outputs_are_those_of_kernels_without_their_outer_taps(options):
    layer = filled(nn.Conv2d(CHANNELS, CHANNELS, groups=CHANNELS, **options), (3, 3))
    found = assert_cropped(nn.Sequential(layer), (3, 3), random_inputs(2))
    assert found.module[0].kernel_size == (3, 3)
    assert found.module[0].weight.shape == (CHANNELS, 1, 3, 3)
    assert found.layers[0].padding == found.module[0].padding


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("padding", ["same", 4])
def test_kernels_of_even_sides_keep_their_centre(padding):
    layer = filled(nn.Conv2d(CHANNELS, CHANNELS, 8, padding=padding, groups=CHANNELS), (4, 4))
    assert_cropped(nn.Sequential(layer), (4, 4), random_inputs(2))


@pytest.mark.parametrize(("kind", "axes"), [(nn.Conv1d, 1), (nn.Conv3d, 3)])
def test_kernels_of_one_and_three_axes(kind, axes):
    layer = filled(kind(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS), (3,) * axes)
    assert_cropped(nn.Sequential(layer), (3,) * axes, random_inputs(axes, side=9))


def test_pads_in_front_shrink_and_stay_asymmetric():
    layer = filled(nn.Conv2d(CHANNELS, CHANNELS, 7, stride=2, groups=CHANNELS), (3, 3))
    network = nn.Sequential(nn.ZeroPad2d((2, 3, 2, 3)), layer)
    found = assert_cropped(network, (3, 3), random_inputs(2))
    assert found.module[0].padding == (0, 1, 0, 1)
    assert network[0].padding == (2, 3, 2, 3)


def test_a_class_that_pads_by_itself():
    layer = filled(SamePad(CHANNELS, CHANNELS, 5, stride=2, groups=CHANNELS), (3, 3))
    for side in (16, 17):
        assert_cropped(nn.Sequential(layer), (3, 3), random_inputs(2, side))


class Shifted(nn.Conv2d):
    """Depends on its kernel size in a way that cropping changes."""

    def forward(self, inputs):
        return super().forward(inputs) + self.kernel_size[0]


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Conv2d(CHANNELS, CHANNELS, 7, groups=CHANNELS), "its padding is less than what its kernels lose"),
        (nn.Conv2d(CHANNELS, CHANNELS, 7, padding=1, groups=CHANNELS), "its padding is less"),
        (Shifted(CHANNELS, CHANNELS, 7, padding=3, groups=CHANNELS), "it pads its input in a way that is not known"),
    ],
    ids=["valid", "short", "own class"],
)
def test_what_is_not_understood_is_left_with_a_reason(layer, reason):
    network = nn.Sequential(filled(layer, (3, 3)))
    found = sk.crop(network)
    assert not found.layers
    assert found.left["0"].startswith(reason)
    inputs = random_inputs(2)
    assert torch.equal(found.module(inputs), network(inputs))
    assert found.numbers[0] == found.numbers[1]


def test_pads_in_a_compiled_part_lose_what_the_kernels_lose():
    layer = filled(nn.Conv2d(CHANNELS, CHANNELS, 7, groups=CHANNELS), (3, 3))
    network = nn.Sequential(torch.compile(nn.Sequential(nn.ZeroPad2d(3), layer), backend="eager"))
    found = sk.crop(network)
    assert not found.left
    assert found.module[0]._orig_mod[0].padding == (1, 1, 1, 1)


def test_pads_that_two_layers_share_are_left():
    pads = nn.ZeroPad2d(3)
    layers = [filled(nn.Conv2d(CHANNELS, CHANNELS, 7, groups=CHANNELS), (3, 3)) for _ in range(2)]
    network = nn.Sequential(pads, layers[0], pads, layers[1])
    assert set(sk.crop(network).left) == {"1", "3"}


def test_computed_weights_become_plain():
    layer = filled(nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS), (3, 3))
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(layer), nn.Conv2d(CHANNELS, CHANNELS, 1))
    inputs = random_inputs(2)
    found = sk.crop(network)
    assert "0.weight" in found.module.state_dict()
    torch.testing.assert_close(found.module(inputs), network(inputs), rtol=0, atol=0.02)
    assert type(network[0]).__name__ == "ParametrizedConv2d"


def test_the_tolerance_is_the_share_of_energy_that_may_be_cut_off():
    kernels = torch.zeros(10, 5, 5)
    kernels[:, 2, 2], kernels[:, 0, 0] = 1.0, 0.15  # 0.15^2 / (1 + 0.15^2) = 0.0220
    assert smallest_window(kernels) is None
    window, share = smallest_window(kernels, 0.03)
    assert (window, round(share, 4)) == ((3, 3), 0.022)
    layer = nn.Conv2d(10, 10, 5, padding=2, groups=10)
    with torch.no_grad():
        layer.weight.copy_(kernels[:, None])
    network = nn.Sequential(layer)
    assert not sk.crop(network).layers
    one = sk.crop(network, tolerance=0.03).layers[0]
    assert (one.before, one.kernel_size, one.saved, one.padding_less) == ((5, 5), (3, 3), 160, (1, 1))
    assert one.energy == pytest.approx(share)


def test_energy_outside_is_that_of_a_direct_sum():
    kernels = torch.randn(6, 5, 8, generator=torch.Generator().manual_seed(0)).double()
    inner = kernels[:, 1:4, 2:6].square().sum()
    assert outer_share(kernels, (3, 4)) == pytest.approx(float(1 - inner / kernels.square().sum()))


def test_layers_by_name_are_cropped_whatever_they_hold():
    network = nn.Sequential(nn.Conv2d(4, 4, 7, padding=3, groups=4), nn.Conv2d(4, 4, 5, padding=2, groups=4))
    found = sk.crop(network, layers={"0": np.array([5, 3]), "1": 3})
    assert [one.kernel_size for one in found.layers] == [(5, 3), (3, 3)]
    assert found.layers[0].padding == (2, 1)
    assert found.numbers == (4 * (49 + 25), 4 * (15 + 9))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 1.0}, "the tolerance is a share of energy, at least 0 and below 1, got 1.0"),
        ({"layers": {"stem": 3}}, "no layer is called 'stem'; the layers are 0"),
        ({"layers": {"0": 7}}, "layer '0': 7x7 is not smaller than its kernels of 7x7"),
        ({"layers": {"0": 9}}, "layer '0': 9x9 is not smaller than its kernels of 7x7"),
        ({"layers": {"0": 0}}, "layer '0': 0x0 is not smaller"),
        ({"layers": {"0": (3, 3, 3)}}, "layer '0' has kernels of 7x7; give 2 sides"),
        ({"layers": {"0": 3.0}}, "layer '0': give its new sides as whole numbers, such as 5, got 3.0"),
        ({"layers": ["0"]}, "layers gives the new sides by the names of layers, such as"),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_what_makes_no_sense_is_refused(options, message):
    network = nn.Sequential(nn.Conv2d(4, 4, 7, padding=3, groups=4))
    with pytest.raises(sk.ScaleKeysError, match=message):
        sk.crop(network, **options)


def test_filters_that_are_not_finite_or_zero_do_not_decide():
    layer = filled(nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS), (3, 3))
    with torch.no_grad():
        layer.weight[0], layer.weight[1] = torch.nan, 0
    assert sk.crop(nn.Sequential(layer)).layers[0].kernel_size == (3, 3)
    assert smallest_window(torch.zeros(4, 5, 5)) is None


def test_statistics_are_matched_where_batches_are_given():
    layer = filled(nn.Conv2d(CHANNELS, CHANNELS, 7, padding=3, groups=CHANNELS, bias=False), (3, 3))
    network = nn.Sequential(layer, nn.BatchNorm2d(CHANNELS)).eval()
    inputs = random_inputs(2) + 3
    network = sk.recalibrate(network, inputs)
    cropped = sk.crop(network, inputs, layers={"0": 3})
    statistics = [network(inputs).mean((0, 2, 3)), cropped.module(inputs).mean((0, 2, 3))]
    torch.testing.assert_close(*statistics, rtol=0, atol=1e-5)
    assert not torch.equal(cropped.module[1].running_mean, network[1].running_mean)
    untouched = sk.crop(network, layers={"0": 3}).module
    assert torch.equal(untouched[1].running_mean, network[1].running_mean)


def test_weights_are_loaded_into_a_network_of_cropped_sides():
    build = lambda: nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 7, padding=3, groups=CHANNELS))  # noqa: E731
    small = sk.crop(nn.Sequential(filled(build()[0], (3, 3))))
    again = sk.crop(build(), layers={one.layer: one.kernel_size for one in small.layers}).module
    again.load_state_dict(small.module.state_dict())
    inputs = random_inputs(2)
    assert torch.equal(again(inputs), small.module(inputs))


def natural_patches(side, count=4000):
    """Return patches of noise that is summed up twice along both axes, as smooth as images are."""
    rough = torch.randn(count, side + 40, side + 40, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    smooth = nn.functional.avg_pool2d(nn.functional.avg_pool2d(rough[:, None], 5, 1), 5, 1)[:, 0]
    return (smooth[:, :side, :side] + 0.1 * rough[:, :side, :side]).flatten(1)


def test_refitted_taps_are_those_of_a_regression_on_patches():
    kernels = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    patches = natural_patches(5)
    found = refitted(kernels, (3, 3), (patches.mT @ patches)[None] / len(patches))
    inner = patches.reshape(-1, 5, 5)[:, 1:-1, 1:-1].flatten(1)
    expected = torch.linalg.lstsq(inner, patches @ kernels.flatten(1).mT).solution.mT
    torch.testing.assert_close(found.flatten(1), expected, rtol=0, atol=1e-4)


def test_refitted_kernels_answer_more_like_the_whole_ones():
    layer = nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS)
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=draw))
    network = nn.Sequential(layer)
    images = natural_patches(32, 8).reshape(2, CHANNELS, 32, 32).float()
    wanted = network(images)
    cut, fitted = (sk.crop(network, layers={"0": 3}, refit=refit).module(images) for refit in (False, True))
    assert (fitted - wanted).square().sum() < 0.7 * (cut - wanted).square().sum()


def test_refitting_leaves_kernels_that_hold_nothing_outside():
    kernels = torch.zeros(CHANNELS, 7, 7)
    kernels[:, 2:5, 2:5] = torch.randn(CHANNELS, 3, 3, generator=torch.Generator().manual_seed(6))
    kernels[0, 3, 3] = torch.nan
    found = refitted(kernels, (3, 3), torch.eye(49)[None])
    assert torch.equal(found[1:], kernels[1:, 2:5, 2:5])
    assert torch.equal(found[0].isnan(), kernels[0, 2:5, 2:5].isnan())


def test_the_record_is_plain():
    found = sk.crop(nn.Sequential(filled(nn.Conv2d(CHANNELS, CHANNELS, 7, padding=3, groups=CHANNELS), (3, 3))))
    plain = found.to_dict()
    assert plain["layers"][0]["kernel_size"] == (3, 3)
    assert (plain["numbers_before"], plain["numbers"]) == (196, 36)
    assert repr(found) == "Cropping(0 7x7 to 3x3: 196 depthwise weights to 36)"


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("compute", [weight_norm, lambda layer: prune.random_unstructured(layer, "weight", 0.1)])
def test_a_weight_that_is_computed_before_each_pass_is_cropped(compute, refit):
    network = nn.Sequential(filled(nn.Conv2d(CHANNELS, CHANNELS, 7, padding=3, groups=CHANNELS), (3, 3)))
    compute(network[0])
    found = sk.crop(network, refit=refit).module
    assert found[0].weight.shape == (CHANNELS, 1, 3, 3)
    assert dict(found.named_parameters()).keys() == {"0.weight", "0.bias"}
    if not refit:
        expected = nn.functional.conv2d(
            random_inputs(2), in_window(network[0].weight, (3, 3)), network[0].bias, padding=1, groups=CHANNELS
        )
        torch.testing.assert_close(found(random_inputs(2)), expected)


def test_layers_that_share_a_weight_share_the_cropped_one():
    layers = [filled(nn.Conv2d(CHANNELS, CHANNELS, 7, padding=3, groups=CHANNELS), (3, 3)) for _ in range(2)]
    layers[1].weight = layers[0].weight
    found = sk.crop(nn.Sequential(*layers)).module
    assert found[0].weight.shape == (CHANNELS, 1, 3, 3)
    assert found[0].weight is found[1].weight
