"""Layers made to give channels of a wanted mean and deviation."""

from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from scalekeys.errors import ModelError
from scalekeys.networks.constrained.constrain import constraint_of
from scalekeys.networks.running.depthwise_layers import Convolution, make_plain
from scalekeys.networks.running.lockstep import Change
from scalekeys.networks.running.running_moments import ChannelMoments
from scalekeys.shapes import over_taps

BatchNorm: TypeAlias = _BatchNorm

_ROUNDING = 1e-6
"""The deviation, as a share of the mean and of what it is compared with, up to which a channel counts as constant."""


@dataclass(frozen=True)
class Channels:
    """Mean and deviation of what each of some channels holds, in float64."""

    mean: Float[Tensor, "channels"]
    deviation: Float[Tensor, "channels"]

    @classmethod
    def of(cls, moments: ChannelMoments) -> "Channels":
        """Return mean and deviation of what has been seen."""
        return cls(moments.mean, moments.variance(unbiased=False).sqrt())

    def vary(self, scale: float | Tensor) -> Bool[Tensor, "channels"]:
        """Tell which channels vary by more than rounding errors, compared with their mean and with a scale."""
        return self.deviation > _ROUNDING * self.mean.abs().clamp_min(scale)


def batch_norms(network: nn.Module) -> dict[str, BatchNorm]:
    """Return the batch norms that have statistics, by name."""
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, _BatchNorm) and layer.running_mean is not None and layer.running_var is not None
    }


def normalised(norm: BatchNorm, moments: ChannelMoments) -> Channels:
    """Return what inputs of such moments become in a batch norm, before its weight and bias."""
    mean, deviation = _statistics(norm)
    inputs = Channels.of(moments)
    return Channels((inputs.mean - mean) / deviation, inputs.deviation / deviation)


@torch.no_grad()
def set_statistics(norm: BatchNorm, name: str, moments: ChannelMoments, wanted: Channels | None = None) -> None:
    """Give a batch norm the statistics of its input, or those that make of its input what is wanted.

    `moments`: of its input. A channel that does not vary keeps its variance.
    `wanted`: the normalised values, before weight and bias. By default the statistics are the mean and the unbiased
    variance.
    Raises ModelError if there is only one value a channel.
    """
    if moments.count < 2:
        raise ModelError(f"layer {name!r}: one value a channel has no variance; give more inputs")
    assert norm.running_mean is not None
    assert norm.running_var is not None
    inputs, mean, variance = Channels.of(moments), moments.mean, moments.variance(unbiased=True)
    if wanted is None:
        varies = inputs.vary(norm.eps**0.5)
    else:
        before = _statistics(norm)[1]
        varies = inputs.vary(norm.eps**0.5) & wanted.vary(1.0)
        deviation = torch.where(varies, inputs.deviation / wanted.deviation, before)
        mean, variance = mean - wanted.mean * deviation, (deviation.square() - norm.eps).clamp_min(0)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(torch.where(varies, variance.to(norm.running_var), norm.running_var))


def _statistics(norm: BatchNorm) -> tuple[Tensor, Tensor]:
    """Return what a batch norm subtracts and by what it divides, in float64."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean.double(), (norm.running_var.double() + norm.eps).sqrt()


@torch.no_grad()
def match_outputs(layer: Convolution, name: str, moments: ChannelMoments, wanted: Channels) -> Change:
    """Scale and shift the outputs of a depthwise layer, of which the moments are given, to what is wanted.

    Channels of which either does not vary are only shifted.

    Returns what does the same to outputs that were computed before.
    Raises ModelError if the weight or the bias is computed in a way that is not known.
    """
    outputs = Channels.of(moments)
    scale = torch.where(
        outputs.vary(wanted.deviation) & wanted.vary(outputs.deviation), wanted.deviation / outputs.deviation, 1.0
    )
    shift = wanted.mean - scale * outputs.mean
    _multiply_weight(layer, name, scale)
    _set_bias(layer, name, scale, shift)
    axes = len(layer.kernel_size)
    return lambda output: (output * over_taps(scale, axes) + over_taps(shift, axes)).to(output)


def _multiply_weight(layer: Convolution, name: str, scale: Tensor) -> None:
    """Multiply each filter; those of a constrained layer stay functions of their scales."""
    constraint = constraint_of(layer)
    if constraint is not None:
        constraint.multiply(scale, layer.get_parameter("parametrizations.weight.original"))
    else:
        weight = make_plain(layer, name)  # its own, also where it shared one with another layer
        weight.mul_(over_taps(scale[:, None], len(layer.kernel_size)).to(weight))


def _set_bias(layer: Convolution, name: str, scale: Tensor, shift: Tensor) -> None:
    if layer.bias is None:
        learned = any(parameter.requires_grad for parameter in layer.parameters())
        layer.bias = nn.Parameter(shift.to(layer.weight), requires_grad=learned)
    elif "bias" in layer._parameters:
        changed = (layer.bias * scale + shift).to(layer.bias)
        layer.bias = nn.Parameter(changed, requires_grad=layer.bias.requires_grad)
    else:
        raise ModelError(f"layer {name!r}: its bias is not a parameter but computed; make it one first")
