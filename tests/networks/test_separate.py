"""Depthwise layers computed axis by axis: the outputs are those of the layers with kernels of low rank."""

import copy

import pytest
import torch
from torch import nn

import scalekeys as sk
from scalekeys.errors import FilterError
from scalekeys.networks.changing.separate.separable_conv import SeparableConv, long_axes

CHANNELS = 4


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def factors_for(layer, rank=2):
    sides = [layer.kernel_size[axis] for axis in long_axes(layer.kernel_size)]
    return [torch.randn(layer.out_channels, side, rank, generator=drawn(side)).to(layer.weight) for side in sides]


def low_rank(layer, rank=2):
    """Return a separable layer, and the layer with the sum of outer products as kernels, by a direct sum."""
    factors = factors_for(layer, rank)
    whole = copy.deepcopy(layer)
    kernels = torch.zeros(layer.out_channels, *layer.kernel_size, dtype=layer.weight.dtype)
    for channel in range(layer.out_channels):
        for term in range(rank):
            outer = torch.ones(1, dtype=layer.weight.dtype)
            for one in factors:
                outer = torch.outer(outer.flatten(), one[channel, :, term])
            kernels[channel] += outer.reshape(layer.kernel_size)
    with torch.no_grad():
        whole.weight.copy_(kernels[:, None])
    return SeparableConv(layer, factors), whole


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 5, "padding": 2},
        {"kernel_size": 7, "padding": (3, 1), "stride": (2, 3)},
        {"kernel_size": (5, 3), "padding": 4, "dilation": (2, 3), "bias": False},
        {"kernel_size": 5, "padding": "same", "dilation": 2},
        {"kernel_size": (4, 6), "padding": "valid"},
        {"kernel_size": 5, "padding": 2, "padding_mode": "reflect", "stride": 2},
        {"kernel_size": 5, "padding": "same", "padding_mode": "circular"},
        {"kernel_size": 5, "padding": 3, "padding_mode": "replicate", "dtype": torch.float64},
        {"kernel_size": 5, "padding": 2, "out_channels": 2 * CHANNELS},
    ],
    ids=str,
)
@pytest.mark.parametrize("rank", [1, 2])
def test_outputs_are_those_of_kernels_of_low_rank(options, rank):
    layer = nn.Conv2d(CHANNELS, groups=CHANNELS, **{"out_channels": CHANNELS} | options)
    separable, whole = low_rank(layer, rank)
    inputs = torch.randn(2, CHANNELS, 17, 18, generator=drawn(), dtype=layer.weight.dtype)
    expected = whole(inputs).detach()
    torch.testing.assert_close(separable(inputs), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    torch.testing.assert_close(separable.kernels(), whole.weight[:, 0])


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_even_sides_keep_their_asymmetric_padding():
    separable, whole = low_rank(nn.Conv2d(CHANNELS, CHANNELS, (4, 6), padding="same", groups=CHANNELS))
    inputs = torch.randn(2, CHANNELS, 11, 13, generator=drawn())
    torch.testing.assert_close(separable(inputs), whole(inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(3, 5, 4), (1, 5, 3), (3, 1, 1)], ids=str)
def test_three_axes_of_which_some_have_one_tap(size):
    layer = nn.Conv3d(CHANNELS, CHANNELS, size, stride=(2, 1, 2), padding=(0, 2, 1), groups=CHANNELS)
    separable, whole = low_rank(layer)
    inputs = torch.randn(2, CHANNELS, 7, 8, 9, generator=drawn())
    torch.testing.assert_close(separable(inputs), whole(inputs), rtol=0, atol=1e-5)
    assert len(separable.terms[0]) == len([side for side in size if side > 1])


def test_memory_format_dtype_gradients_and_state():
    layer = nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS).to(torch.bfloat16)
    separable, _ = low_rank(layer)
    assert {one.dtype for one in separable.parameters()} == {torch.bfloat16}
    separable = separable.float()
    assert separable(torch.randn(1, CHANNELS, 9, 9).to(memory_format=torch.channels_last)).is_contiguous(
        memory_format=torch.channels_last
    )
    separable(torch.randn(1, CHANNELS, 9, 9)).sum().backward()
    assert all(one.grad is not None for one in separable.parameters())
    assert sorted(separable.state_dict()) == [
        *("terms.0.0.weight", "terms.0.1.bias", "terms.0.1.weight", "terms.1.0.weight", "terms.1.1.weight"),
    ]
    assert len(sk.extract(separable)) == 4 * CHANNELS


def test_factors_of_another_shape_are_refused():
    layer = nn.Conv2d(CHANNELS, CHANNELS, 5, groups=CHANNELS)
    for wrong in ([], factors_for(layer)[:1], [one[:2] for one in factors_for(layer)]):
        with pytest.raises(FilterError, match="a layer of 4 kernels of 5x5 needs a factor of shape"):
            SeparableConv(layer, wrong)
