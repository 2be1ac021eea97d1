"""Fast derivatives of depthwise convolutions are those of torch, and only there where they are meant to be."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scalekeys.checkpoints import extract
from scalekeys.fitting import fit
from scalekeys.networks import constrain
from scalekeys.networks.running.fast_depthwise import FastDepthwise, _Depthwise

SHAPES = [
    ((7, 7), 3),
    ((5, 5), (2, 2)),
    ((7, 3), (3, 1)),
    ((5, 7), 0),
    ((6, 6), (1, 2)),
    ((1, 7), (0, 3)),
    ((11, 1), (5, 0)),
]


@pytest.mark.parametrize(("kernel", "padding"), SHAPES)
@pytest.mark.parametrize("bias", [True, False])
def test_derivatives_of_both_orders_are_those_of_finite_differences(kernel, padding, bias):
    torch.manual_seed(0)
    values = [torch.randn(2, 2, 5, 7), torch.randn(2, 1, *kernel), *([torch.randn(2)] if bias else [])]
    values = [value.double().requires_grad_() for value in values]

    def convolved(images, weight, offset=None):
        with FastDepthwise():
            return F.conv2d(images, weight, offset, padding=padding, groups=2)

    assert _is_fast(convolved(*values))
    assert torch.autograd.gradcheck(convolved, values, fast_mode=True)
    assert torch.autograd.gradgradcheck(convolved, values, fast_mode=True)


@pytest.mark.parametrize(("kernel", "padding"), SHAPES)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("precision", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_derivatives_in_low_precision_are_near_those_in_high(kernel, padding, layout, precision, tolerance):
    torch.manual_seed(0)
    images, weight = torch.randn(5, 17, 10, 11), torch.randn(17, 1, *kernel)

    def gradients(dtype):
        inputs = [
            value.detach().to(dtype, memory_format=layout, copy=True).requires_grad_() for value in (images, weight)
        ]
        with FastDepthwise():
            answers = F.conv2d(*inputs, padding=padding, groups=17)
        assert _is_fast(answers)
        answers.sum().backward()
        return [value.grad for value in inputs]

    for low, high in zip(gradients(precision), gradients(torch.float64), strict=True):
        assert low.dtype == precision
        assert (low - high).norm() <= tolerance * high.norm()


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_of_a_network_are_those_of_torch(layout, precision):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 7, padding=3, groups=8), nn.Conv2d(8, 2, 1)).to(
        memory_format=layout
    )
    images = torch.randn(16, 3, 8, 8).contiguous(memory_format=layout)

    def gradients(*contexts):
        network.zero_grad()
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            answers = network(images)
        answers.float().square().mean().backward()
        return [parameter.grad.clone() for parameter in network.parameters()]

    slow = gradients()
    with FastDepthwise():
        fast = gradients()
    tolerance = 1e-5 if precision == torch.float32 else 2e-2
    for one, other in zip(fast, slow, strict=True):
        assert one.dtype == other.dtype
        assert (one - other).norm() <= tolerance * other.norm()


def test_frozen_filters_get_no_gradient_and_their_biases_do():
    layer = nn.Conv2d(4, 4, 5, padding=2, groups=4)
    layer.weight.requires_grad_(False)
    with FastDepthwise():
        layer(torch.ones(2, 4, 8, 8)).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad.tolist() == [128.0] * 4


def test_learned_scales_get_the_same_gradient():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 4, 7, padding=3, groups=4))
    network = constrain(network, fit(extract(network)), learn="scales")
    assert any(name.endswith("theta") for name, _ in network.named_parameters())
    images = torch.randn(8, 4, 10, 10)

    def gradients():
        network.zero_grad()
        network(images).square().mean().backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.requires_grad])

    slow = gradients()
    with FastDepthwise():
        fast = gradients()
    assert slow.abs().max() > 0
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel_size": 3, "groups": 4},
        {"kernel_size": 7, "groups": 1},
        {"kernel_size": 7, "groups": 2},
        {"kernel_size": 7, "groups": 4, "stride": 2},
        {"kernel_size": 5, "groups": 4, "dilation": 2},
        {"kernel_size": 5, "groups": 4, "padding": "same"},
        {"kernel_size": 5, "groups": 4, "padding": 5},
        {"kernel_size": 5, "groups": 4, "dtype": torch.complex64},
        {"kernel_size": 5, "groups": 4, "dtype": torch.float16},
    ],
)
def test_other_convolutions_are_left_alone(settings):
    layer, images = nn.Conv2d(4, 4, **settings), torch.randn(2, 4, 12, 12, dtype=settings.get("dtype"))
    with FastDepthwise():
        answers = layer(images)
    assert not _is_fast(answers)
    torch.testing.assert_close(answers, layer(images), rtol=0, atol=0)


def test_an_empty_batch_and_a_bad_padding_are_left_to_torch():
    layer = nn.Conv2d(4, 4, 7, padding=3, groups=4)
    with FastDepthwise():
        layer(torch.randn(0, 4, 12, 12)).sum().backward()
        with pytest.raises(RuntimeError):
            F.conv2d(torch.randn(2, 4, 12, 12), layer.weight, padding=(3, 0, 3), groups=4)
    assert not layer.weight.grad.any()


def test_high_precision_stays_under_autocast():
    layer = nn.Conv2d(4, 4, 7, padding=3, groups=4, dtype=torch.float64)
    with torch.autocast("cpu", torch.bfloat16), FastDepthwise():
        assert layer(torch.randn(2, 4, 12, 12, dtype=torch.float64)).dtype == torch.float64


def test_gradients_lie_in_memory_as_weights_do():
    layer = nn.Conv2d(4, 4, 7, padding=3, groups=4).to(memory_format=torch.channels_last)
    with FastDepthwise():
        layer(torch.randn(2, 4, 12, 12)).sum().backward()
    assert layer.weight.grad.stride() == layer.weight.stride()


def test_without_gradients_nothing_changes(monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(_Depthwise, "apply", refuse)
    layer, images = nn.Conv2d(4, 4, 7, padding=3, groups=4), torch.randn(2, 4, 12, 12)
    with torch.no_grad(), FastDepthwise():
        answers = layer(images)
    assert torch.equal(answers, layer(images))


def _is_fast(answers):
    return type(answers.grad_fn).__name__ == f"{_Depthwise.__name__}Backward"
