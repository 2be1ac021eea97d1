"""Kernels of scale-space layers against scipy, their execution against torch, and the lives of the layers."""

import copy
import io

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

import scalekeys as sk
from independent import receptive_field
from scalekeys.filters.control import white_noise_like
from scalekeys.nn.separable import pays

KINDS = {1: sk.nn.ScaleSpaceConv1d, 2: sk.nn.ScaleSpaceConv2d, 3: sk.nn.ScaleSpaceConv3d}
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
SIZES = {1: (7,), 2: (7, 6), 3: (3, 5, 4)}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def layer(channels=8, kernel_size=5, derivatives="ideal", axes=2, **options):
    return KINDS[axes](channels, kernel_size, derivatives, **{"padding": "same"} | options)


def images(channels=8, sides=(9, 10), **options):
    return torch.randn(2, channels, *sides, **options)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_kernels_are_those_of_scipy_with_norm_one(axes):
    names = [*sk.scalespace.ideal(axes), *sk.scalespace.second_order(axes), "dog"]
    sigma = torch.linspace(0.5, 2.0, len(names) * axes).view(-1, axes)
    sigma[-1] = 1.5  # of `dog`, which has the same scale along all axes
    found = layer(len(names), SIZES[axes], names, axes, sigma=sigma, dtype=torch.float64).weight[:, 0].detach().numpy()
    for name, kernel, own in zip(names, found, sigma.double().square().tolist(), strict=True):
        given = own
        if name == "dog":
            given = [own[0], 1.6**2 * own[0]]
        if name == "sharpen":
            given = [np.exp(np.mean(np.log(np.array(own) / 0.05 + 1))) * 0.05 - 0.05, 0.5256]  # one scale for all axes
        wanted = receptive_field(name, SIZES[axes], given)
        np.testing.assert_allclose(kernel, wanted / np.linalg.norm(wanted), rtol=0, atol=1e-11, err_msg=name)


def test_a_jet_is_the_sum_of_its_derivatives_with_norm_one():
    jet = layer(1, 9, "jet2", sigma=[[1.2, 0.7]], dtype=torch.float64)
    with torch.no_grad():
        jet.kernel.coefficients.copy_(torch.arange(1.0, 7.0))
    names = ["smooth", "dx", "dy", "dxx", "dxy", "dyy"]
    parts = [receptive_field(name, (9, 9), (1.44, 0.49)) for name in names]
    wanted = sum(factor * part / np.linalg.norm(part) for factor, part in enumerate(parts, 1))
    np.testing.assert_allclose(jet.weight[0, 0].detach().numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("derivatives", ["ideal", "jet2", ["dog", "laplacian", "smooth"]])
@pytest.mark.parametrize("size", [3, 6, (5, 3), 15])
def test_white_noise_keeps_its_variance(derivatives, size):
    norms = layer(16, size, derivatives).weight.flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(16))


def test_a_scale_changes_the_form_of_a_kernel_and_not_its_strength():
    names = ["smooth", "dx", "dyy", "laplacian", "dog"]
    own = layer(5, 9, names, sigma=0.8, dtype=torch.float64)
    before = own.weight.detach()
    with torch.no_grad():
        own.kernel.scales.theta += torch.rand_like(own.kernel.scales.theta)
        own.kernel.scales.gap += 0.5
    assert (own.weight - before).flatten(1).norm(dim=1).min() > 0.01
    torch.testing.assert_close(own.weight.flatten(1).norm(dim=1), torch.ones(5, dtype=torch.float64))


EXECUTIONS = [
    {"padding": 0},
    {"padding": (1, 3)},
    {"padding": "same"},
    {"padding": "valid"},
    {"padding": 2, "stride": 2},
    {"padding": 2, "dilation": (1, 2), "stride": (2, 1)},
    {"padding": "same", "padding_mode": "circular"},
    {"padding": 3, "padding_mode": "reflect", "bias": False},
]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("options", EXECUTIONS, ids=str)
@pytest.mark.parametrize("size", [(5, 7), (4, 6)], ids=str)
@pytest.mark.parametrize("derivatives", ["ideal", "jet2", "smooth"])
def test_both_executions_are_that_of_torch(derivatives, size, options):
    for separable in (True, False):
        own = layer(9, size, derivatives, separable=separable, **options)
        wanted = sk.bake(own)
        assert type(wanted) is nn.Conv2d
        given = images(9, (13, 14))
        torch.testing.assert_close(own(given), wanted(given), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(own(given[0]), wanted(given[0]), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("derivatives", ["ideal", "jet2"])
def test_kernels_of_any_axes_are_executed(axes, derivatives):
    own = layer(12, SIZES[axes], derivatives, axes, separable=True)
    given = images(12, (9,) * axes)
    wanted = sk.bake(own)(given)
    assert own.is_separable == (axes > 1)
    torch.testing.assert_close(own(given), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize(("derivatives", "size"), [("ideal", 3), ("jet2", (3, 4)), (["dog", "laplacian"], 3)])
def test_gradients_are_those_of_finite_differences(derivatives, size, separable):
    own = layer(8, size, derivatives, separable=separable, dtype=torch.float64, sigma=torch.rand(8, 2) + 0.5)
    names, values = zip(*own.named_parameters(), strict=True)

    def run(given, *parameters):
        return torch.func.functional_call(own, dict(zip(names, parameters, strict=True)), (given,))

    given = images(8, (4, 5), dtype=torch.float64)[:1].requires_grad_()
    assert torch.autograd.gradcheck(run, (given, *values), fast_mode=True)


@pytest.mark.parametrize("separable", [True, False])
def test_gradients_of_large_kernels_are_those_of_torch(separable):
    """They are computed by forward convolutions on a CPU."""
    own = layer(4, 17, "jet2", separable=separable, dtype=torch.float64)
    given = images(4, (20, 21), dtype=torch.float64)
    own(given).square().sum().backward()
    found = [parameter.grad.clone() for parameter in own.parameters()]
    own.zero_grad()
    F.conv2d(given, own.weight, own.bias, padding="same", groups=4).square().sum().backward()
    for mine, parameter in zip(found, own.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-9, atol=1e-9)


def test_scales_are_learned_or_kept():
    given = images()
    for learned in (True, False):
        own = layer(learn_sigma=learned, sigma=0.9)
        before = own.sigma
        optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
        own(given).square().mean().backward()
        optimizer.step()
        assert torch.equal(own.sigma, before) != learned
    torch.testing.assert_close(before, torch.full((8, 2), 0.9, dtype=torch.float64))


@pytest.mark.parametrize(("tie", "scales"), [("none", 15), ("filter", 8), ("layer", 1)])
def test_scales_are_tied(tie, scales):
    assert len(layer(tie=tie).kernel.scales.theta) == scales  # of the eight families sharpen has one scale


def test_scales_are_drawn_from_half_a_pixel_to_a_fifth_of_the_side():
    sigma = layer(400, 31, "smooth").sigma
    assert 0.5 <= float(sigma.min()) < 0.6
    assert 5.5 < float(sigma.max()) <= 6.2


def test_sides_follow_scales_when_they_are_told_to():
    own = layer(3, "auto", ["smooth", "dx", "dog"], sigma=[1.0, 2.0, 0.5])
    assert own.kernel_size == (15, 15)
    given = images(3, (24, 24))
    before, names = own(given), list(own.state_dict())
    with torch.no_grad():
        own.kernel.scales.theta.copy_(
            torch.tensor([5.0, 0.5, 1.0]).expand(2, 3).T.flatten()[: len(own.kernel.scales.theta)]
        )
    assert own(given).shape == before.shape
    assert own.kernel_size == (15, 15)
    assert own.update_kernel_size() == own.kernel_size != (15, 15)
    assert own(given).shape == before.shape
    assert list(own.state_dict()) == names
    again = layer(3, "auto", ["smooth", "dx", "dog"], sigma=0.3)
    again.load_state_dict(own.state_dict())
    assert again.kernel_size == own.kernel_size
    assert torch.equal(again(given), own(given))
    assert sk.bake(again).kernel_size == own.kernel_size
    assert layer(3, 5).update_kernel_size() == (5, 5)


def test_sides_hold_the_smoothing():
    own = layer(1, "auto", "smooth", sigma=[[3.0, 1.5]], dtype=torch.float64)
    assert own.kernel_size[0] < own.kernel_size[1]
    for side, sigma in zip(own.kernel_size, (1.5, 3.0), strict=True):
        for taps, holds in ((side, True), (side - 2, False)):
            total = receptive_field("smooth", (taps,), (sigma**2,)).sum()
            assert (total >= 1 - 1e-3) == holds


@pytest.mark.parametrize("stride", [2, (1, 2)])
def test_sides_follow_scales_with_strides(stride):
    own = layer(2, "auto", "smooth", sigma=1.0, stride=stride)
    shape = own(images(2, (12, 13))).shape
    own._resize((11, 5))
    assert own(images(2, (12, 13))).shape == shape == nn.Conv2d(2, 2, 3, stride, padding=1)(images(2, (12, 13))).shape


def test_a_state_dict_has_the_documented_entries():
    states = layer(16, 7, ["dog", "jet2"]).state_dict()
    assert {name: tuple(value.shape) for name, value in states.items()} == {
        "bias": (16,),
        "kernel.coefficients": (8 * 1 + 8 * 6,),
        "kernel.scales.theta": (24,),  # of dog one a channel
        "kernel.scales.gap": (8,),
    }


def test_states_and_copies_and_averages():
    own, given = layer(), images()
    average = AveragedModel(own)
    twin = copy.deepcopy(own)
    file = io.BytesIO()
    torch.save(own.state_dict(), file)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter += 0.1
    average.update_parameters(own)
    average.update_parameters(own)
    assert not torch.allclose(own(given), twin(given))
    torch.testing.assert_close(average.module.sigma, own.sigma)
    file.seek(0)
    other = layer()
    other.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(other(given), twin(given))
    torch.save(own, file := io.BytesIO())
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(given), own(given))


def test_mixed_precision_and_other_types():
    own, given = layer(kernel_size=9), images()
    with torch.autocast("cpu", torch.bfloat16):
        low = own(given)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), own(given), rtol=0.05, atol=0.05)
    half = copy.deepcopy(own).bfloat16()
    assert half.weight.dtype == half.bias.dtype == torch.bfloat16
    assert half.kernel.coefficients.dtype == torch.float64
    torch.testing.assert_close(half(given.bfloat16()).float(), own(given), rtol=0.05, atol=0.05)
    assert own.double()(given.double()).dtype == torch.float64


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_distributed_in_one_process():
    own, given = layer(8, "auto", sigma=1.0), images()
    reference = copy.deepcopy(own)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        nn.parallel.DistributedDataParallel(own)(given).square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    reference(given).square().sum().backward()
    for mine, its in zip(own.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, its.grad)


class OnOneDevice(TorchFunctionMode):
    """Fails where an operation takes tensors on two devices, as a GPU does."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        devices = {one.device for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)}
        assert len(devices) < 2, f"{func} on {devices}"
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("axes", [2, 3])
def test_layers_go_to_another_device_with_all_that_they_look_up(axes):
    own = layer(8, 5, ["dog", "jet2"], axes, separable=True).to("meta")
    with OnOneDevice():
        assert own(images(8, (9,) * axes, device="meta")).shape == (2, 8, *(9,) * axes)
        assert own.weight.is_meta


@pytest.mark.parametrize("size", [5, "auto"])
def test_layers_start_without_values_where_these_are_loaded_later(size):
    trained = layer(16, size, sigma=1.0)
    own = layer(16, size, sigma=0.5, device="meta").to_empty(device="cpu")
    own.load_state_dict(trained.state_dict())
    given = images(16)
    assert torch.equal(own(given), trained(given))


def network():
    return nn.Sequential(nn.Conv2d(3, 8, 1), layer(8, 7), nn.ReLU(), layer(8, 9, "jet2", stride=2, bias=False))


def test_networks_are_read_replaced_and_baked():
    own, given = network(), images(3)
    bank = sk.extract(own)
    assert [one.name for one in bank] == ["1", "3"]
    assert torch.equal(bank.layers[0].kernels, own[1].weight[:, 0])
    baked = sk.bake(own)
    assert [type(part) for part in baked] == [nn.Conv2d, nn.Conv2d, nn.ReLU, nn.Conv2d]
    assert list(baked.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight"]
    assert baked[1].weight.requires_grad
    torch.testing.assert_close(baked(given), own(given), rtol=1e-5, atol=1e-5)
    nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 7, groups=8), nn.ReLU(), nn.Conv2d(8, 8, 9, groups=8, bias=False)
    ).load_state_dict(baked.state_dict())
    fit = sk.fit(bank, "ideal8")
    assert (fit.family[:8] == list(sk.scalespace.IDEAL8)).all()
    assert type(sk.replace(own, fit)[1]) is nn.Conv2d
    assert isinstance(own[1], sk.nn.ScaleSpaceConv2d)


def test_keys_are_a_start():
    own = layer(17, 7, init="keys", dtype=torch.float64)
    keys = sk.master_keys()
    for channel, kernel in enumerate(own.weight[:, 0].detach()):
        key = keys[channel % 8]
        both = torch.stack([kernel.flatten(), key.flatten()])
        assert torch.corrcoef(both)[0, 1].square() > 0.65
    torch.testing.assert_close(own.weight[0], own.weight[8])


def test_a_fit_is_a_start():
    keys = sk.master_keys()
    fit = sk.fit(torch.cat([keys, keys + 0.3 * torch.randn_like(keys)]), ["jet2", "dog", "sharpen"])
    own = layer(16, 7, init=fit, dtype=torch.float64)
    models = fit.kernels() - fit.offset[:, None, None]
    wanted = models / models.flatten(1).norm(dim=1)[:, None, None]
    finite = fit.sigma.isfinite().all(1)
    torch.testing.assert_close(own.weight[finite, 0].detach(), wanted[finite], rtol=0, atol=1e-6)
    assert layer(5, 9, init=fit).weight.shape == (5, 1, 9, 9)
    white = white_noise_like(sk.extract(nn.Conv2d(8, 8, 5, groups=8)))
    assert layer(8, 5, init=sk.fit(white, "jet2")).weight.isfinite().all()


def test_in_the_place_of_a_convolution():
    for options in (
        {"padding": 1},
        {"padding": "same"},
        {"padding": 2, "stride": 2},
        {"padding": 0},
        {"dilation": 2, "padding": 2},
    ):
        plain = nn.Conv2d(4, 4, 3, groups=4, **options)
        for size in (None, 7):
            new = sk.nn.ScaleSpaceConv2d.in_place_of(plain, size, "dx")
            assert new(images(4, (15, 16))).shape == plain(images(4, (15, 16))).shape
    new = sk.nn.ScaleSpaceConv2d.in_place_of(nn.Conv2d(4, 4, 3, 2, padding=1, groups=4, bias=False), "auto", "dx")
    assert new.bias is None
    assert new(images(4, (8, 9))).shape == (2, 4, 4, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels must be a whole number of at least 1"),
        ({"derivatives": "unknown"}, "no family is called 'unknown'"),
        ({"derivatives": ["dx"] * 9}, "one for each of 8 channels, got 9"),
        ({"derivatives": []}, "got 0"),
        ({"derivatives": "dphi"}, "'dphi' cannot be constrained"),
        ({"derivatives": "dx", "kernel_size": (5, 1)}, "takes differences along a side of 1; got 5x1"),
        ({"kernel_size": "large"}, "kernel_size must be a number, numbers or 'auto'"),
        ({"channels": 2.5}, "channels must be a whole number of at least 1, got 2.5"),
        ({"derivatives": None}, "derivatives must be the name of a family, or several names, got None"),
        ({"kernel_size": 5.5}, "kernel_size must be one whole number of at least 1, or one for each axis"),
        ({"kernel_size": (3, 3, 3)}, r"for each axis \(2 in all\), got \(3, 3, 3\)"),
        ({"stride": "2"}, "stride must be one whole number of at least 1"),
        ({"padding": -1}, "padding must be one whole number of at least 0"),
        ({"padding": "full"}, "padding must be one of 'valid', 'same', got 'full'"),
        ({"padding_mode": "mirror"}, "padding_mode must be one of 'zeros', 'reflect', 'replicate', 'circular'"),
        ({"learn_sigma": "no"}, "learn_sigma must be one of True, False, got 'no'"),
        ({"sigma": "wide"}, "sigma must be numbers of pixels, got 'wide'"),
        ({"sigma": [[1, 2], [3]]}, "sigma must be numbers of pixels"),
        ({"sigma": torch.ones((), dtype=torch.complex64)}, "sigma must be numbers of pixels"),
        ({"channels": True}, "channels must be a whole number of at least 1, got True"),
        ({"kernel_size": (True, 3)}, "kernel_size must be one whole number of at least 1"),
        ({"bias": "no"}, "bias must be one of True, False, got 'no'"),
        ({"dtype": torch.int32}, "dtype must be a type of torch for real numbers, .*got torch.int32"),
        ({"dtype": torch.complex64}, "dtype must be a type of torch for real numbers"),
        ({"dtype": "half"}, "dtype must be a type of torch for real numbers, .*got 'half'"),
        ({"device": "unknown"}, "device must be one that torch has here, .*got 'unknown'"),
        ({"init": "keys", "kernel_size": (5, 1)}, "the models of init take differences along a side of 1; got 5x1"),
        ({"kernel_size": "auto", "padding": 3}, "needs padding='same'"),
        ({"kernel_size": 4, "stride": 2}, "needs odd sides, got 4x4"),
        ({"sigma": -1.0}, "sigma must be finite scales of at least 0 pixels"),
        ({"sigma": [1.0, 2.0]}, r"got shape \(2,\)"),
        ({"tie": "network"}, "tie must be one of 'none', 'filter', 'layer', got 'network'"),
        ({"separable": "yes"}, "separable must be one of 'auto', True, False"),
        ({"init": "master"}, "init must be 'keys' or a fit, got 'master'"),
        ({"init": "keys", "axes": 1}, "init='keys' needs kernels with two axes"),
        (
            {"init": sk.fit(torch.rand(3, 5)), "axes": 1},
            "one size with one axis, such as those of one layer; there are 3x5",
        ),
    ],
)
@pytest.mark.usefixtures("without_shape_checks")
def test_wrong_options_are_refused_in_a_sentence(options, message):
    with pytest.raises(sk.ModelError, match=message):
        layer(**options)


@pytest.mark.parametrize(
    ("plain", "size", "message"),
    [
        (nn.Linear(4, 4), 3, "takes the place of a depthwise convolution"),
        (nn.Conv2d(4, 8, 3), 3, "takes the place of a depthwise convolution"),
        (nn.Conv1d(4, 4, 3, groups=4), 3, "takes the place of a depthwise convolution"),
        (nn.Conv2d(4, 4, 3, groups=4), "auto", "needs a layer that is padded by half its kernel"),
        (nn.Conv2d(4, 4, 3, groups=4), 6, "no padding keeps the size"),
        (nn.Conv2d(4, 4, 5, groups=4), 3, "no padding keeps the size"),
    ],
)
def test_convolutions_without_a_stand_in_are_refused(plain, size, message):
    with pytest.raises(sk.ModelError, match=message):
        sk.nn.ScaleSpaceConv2d.in_place_of(plain, size)


def test_what_a_convolution_says_is_not_said_again():
    with pytest.raises(sk.ModelError, match="in_place_of takes bias and stride from the layer; leave out bias and"):
        sk.nn.ScaleSpaceConv2d.in_place_of(nn.Conv2d(4, 4, 3, padding=1, groups=4), bias=False, stride=2)


def test_separable_execution_is_chosen_by_the_rule():
    assert [layer(8, side, "smooth").is_separable for side in (7, 9)] == [False, True]
    assert layer(8, 9).is_separable == pays((9, 9), 10 / 8)  # sharpen is a sum of three products
    assert not layer(8, 9, axes=1, separable=True).is_separable
