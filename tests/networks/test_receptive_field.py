"""Measured receptive fields: known kernels, any number of axes, modules left as they are, and bad inputs."""

import math

import pytest
import torch
from networks_of_any_axes import CONVOLUTIONS
from torch import nn

import scalekeys as sk
from scalekeys.scalespace import discrete_gaussian

SIDES = {1: (61,), 2: (61, 45), 3: (45, 43, 41)}
VARIANCES = (0.4, 0.7)


def gaussians(axes, channels=3):
    """Return two depthwise layers of discrete Gaussians, the first with a stride of 2, the second dilated by 2."""
    make, taps = CONVOLUTIONS[axes], 11 if axes < 3 else 9
    steps = ({"stride": 2, "padding": taps // 2}, {"dilation": 2, "padding": taps - 1})
    network = nn.Sequential(*(make(channels, channels, taps, groups=channels, bias=False, **step) for step in steps))
    with torch.no_grad():
        for layer, t in zip(network, VARIANCES, strict=True):
            profile = kernel = discrete_gaussian(torch.tensor(t, dtype=torch.float64), radius=taps // 2)
            for _ in range(axes - 1):
                kernel = kernel[..., None] * profile
            layer.weight.copy_(kernel)
    return network


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_on_known_kernels_the_measured_field_is_the_predicted_one(axes):
    first, second = sk.receptive_field(gaussians(axes), torch.randn(2, 3, *SIDES[axes]))
    for field, variance in ((first, 0.4), (second, 0.4 + (2 * 2) ** 2 * 0.7)):
        assert field.measured == pytest.approx([math.sqrt(variance)] * axes, rel=1e-3)
        assert field.predicted == pytest.approx(field.measured, rel=1e-3)
        assert max(field.error) < 1e-6
    assert (first.layer, first.pitch, first.size) == ("0", (1.0,) * axes, ((11.0, 11.0, 9.0)[axes - 1],) * axes)
    assert second.pitch == (2.0,) * axes
    assert second.width == tuple(4 * sigma for sigma in second.measured)


def test_axes_stand_in_the_order_of_the_input():
    network = nn.Sequential(nn.Conv2d(2, 2, (5, 1), groups=2, padding=(2, 0)))
    nn.init.ones_(network[0].weight)
    (field,) = sk.receptive_field(network, torch.randn(1, 2, 9, 11))
    assert field.measured == field.predicted == pytest.approx((math.sqrt(2), 0.0))
    assert math.isnan(field.error[0])


def test_a_residual_connection_makes_the_field_smaller_than_a_single_path():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.dw = nn.Conv2d(4, 4, 7, padding=3, groups=4, bias=False)
            self.last = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
            nn.init.constant_(self.dw.weight, 1 / 49)
            nn.init.constant_(self.last.weight, 1 / 9)

        def forward(self, images):
            return self.last(images + self.dw(images)).mean((-2, -1))

    _, last = sk.receptive_field(Residual(), torch.randn(2, 4, 31, 31))
    assert last.predicted[0] ** 2 == pytest.approx(48 / 12 + 8 / 12)
    assert last.measured[0] ** 2 == pytest.approx(0.5 * 48 / 12 + 8 / 12, rel=1e-4)  # half of the weight passes by


def test_layers_stand_in_the_order_of_their_calls_and_those_not_called_are_left_out():
    class Reversed(nn.Module):
        def __init__(self):
            super().__init__()
            self.second = nn.Conv2d(3, 3, 3, groups=3)
            self.idle = nn.Conv2d(3, 3, 3, groups=3)
            self.first = nn.Conv2d(3, 3, 5)

        def forward(self, images):
            return self.second(self.first(images).relu_())

    found = sk.receptive_field(Reversed(), torch.randn(2, 3, 20, 20))
    assert [(field.layer, field.size) for field in found] == [("first", (5.0, 5.0)), ("second", (7.0, 7.0))]
    (chosen,) = sk.receptive_field(Reversed(), torch.randn(2, 3, 20, 20), layers=["sec*"])
    assert chosen.size == (7.0, 7.0)


def test_behind_a_transposed_convolution_there_is_no_prediction():
    network = nn.Sequential(nn.ConvTranspose2d(3, 4, 2, stride=2), nn.Conv2d(4, 4, 3, groups=4))
    (field,) = sk.receptive_field(network, torch.randn(1, 3, 16, 16))
    assert (field.layer, field.predicted, field.size) == ("1", None, None)
    assert field.measured[0] > 0


def test_what_comes_behind_a_layer_and_changes_its_outputs_in_place_does_not_count():
    convolutions = nn.Conv2d(2, 4, 5), nn.Conv2d(4, 4, 5, groups=4)
    images = torch.randn(2, 2, 16, 16)
    one, other = (
        sk.receptive_field(nn.Sequential(convolutions[0], nn.ReLU(inplace=inplace), convolutions[1], nn.ReLU()), images)
        for inplace in (False, True)
    )
    assert one == other


def test_the_network_and_the_inputs_stay_as_they_are():
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, groups=4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = torch.randn(2, 2, 16, 16)
    with torch.no_grad():
        first = sk.receptive_field(network.train(), images)
    with torch.inference_mode():
        second = sk.receptive_field(network, [(images[:1], 0), (images[1:], 1)])
    for one, other in zip(first, second, strict=True):
        assert one.measured == pytest.approx(other.measured)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert network.training
    assert not images.requires_grad
    assert not any(module._forward_hooks for module in network.modules())


class Detached(nn.Sequential):
    def forward(self, images):
        return super().forward(images.detach())


def layer():
    return nn.Conv2d(2, 2, 3, groups=2)


@pytest.mark.parametrize(
    ("network", "inputs", "error", "said"),
    [
        (layer(), torch.ones(1, 2, 8, 8, dtype=torch.uint8), sk.ModelError, "batch 1: its inputs are torch.uint8"),
        (layer(), torch.ones(8, 8), sk.ModelError, r"shape \(8, 8\); give \(inputs, channels, \*sides\)"),
        (layer(), torch.ones(0, 2, 8, 8), sk.ModelError, "at least one input"),
        (Detached(layer()), torch.ones(1, 2, 8, 8), sk.ModelError, "'0': does not pass gradients"),
        (nn.Sequential(layer(), nn.SiLU(), layer()), torch.full((1, 2, 8, 8), torch.inf), sk.FilterError, "not finite"),
        (nn.Linear(2, 2), torch.ones(1, 2), sk.CheckpointError, "convolution"),
    ],
    ids=["bytes", "too few dimensions", "none", "detached", "infinite", "no convolution"],
)
def test_what_has_no_receptive_field_is_refused(network, inputs, error, said):
    with pytest.raises(error, match=said):
        sk.receptive_field(network, inputs)


def test_unknown_layers_are_refused():
    with pytest.raises(sk.FilterError, match="no layer is called 'stem'; the layers are 0"):
        sk.receptive_field(nn.Sequential(layer()), torch.ones(1, 2, 8, 8), layers=["stem"])
