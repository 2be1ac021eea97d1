"""A small network with depthwise layers of every kind, whose filters are of every kind too, and single layers."""

from typing import Any

import numpy as np
import torch
from scipy.special import ive
from torch import Tensor, nn
from torch.nn.utils import parametrize

import scalekeys as sk
from scalekeys.fitting import Fit
from scalekeys.networks.constrained.scale_space_kernel import Learn, ScaleSpaceKernel


class Network(nn.Module):
    """Depthwise layers between dense ones: several sizes, a stride, a dilation, a multiplier, and a single row."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3)
        self.wide = nn.Conv2d(12, 12, 7, padding=3, groups=12)
        self.norm = nn.BatchNorm2d(12)
        self.down = nn.Conv2d(12, 24, 5, stride=2, padding=2, groups=12, bias=False)
        self.row = nn.Conv2d(24, 24, (1, 7), padding=(0, 3), groups=24)
        self.small = nn.Conv2d(24, 24, 3, padding=2, dilation=2, groups=24)
        self.head = nn.Conv2d(24, 5, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.down(self.norm(self.wide(self.stem(images))).relu())
        return self.head(self.small(self.row(maps)).relu()).mean((-2, -1))


class SamePad(nn.Conv2d):
    """Pads as TensorFlow does: by as much as the size of the input asks for."""

    def forward(self, inputs: Tensor) -> Tensor:
        pads: list[int] = []
        for side, kernel, stride in zip(inputs.shape[-2:], self.kernel_size, self.stride, strict=True):
            whole = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            pads = [whole // 2, whole - whole // 2, *pads]
        return nn.functional.conv2d(
            nn.functional.pad(inputs, pads), self.weight, self.bias, self.stride, groups=self.groups
        )


DEPTHWISE = ("wide", "down", "row", "small")
IMPULSE, ZERO, CONSTANT = 9, 10, 11
"""Rows of ``wide`` whose filters are an impulse, at t = 0 in every family, and two that are nothing to fit."""


def depthwise_network() -> Network:
    """Return the network with the same weights each time; the first eight of ``wide`` are the published keys."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network().eval()
    with torch.no_grad():
        network.wide.weight[:8, 0] = sk.master_keys()
        network.wide.weight[8:] *= 0
        network.wide.weight[8, 0] = sk.master_keys()[4] + 0.5 * sk.master_keys()[5]
        network.wide.weight[IMPULSE, 0, 3, 3] = 1
        network.wide.weight[CONSTANT] = 0.25
        network.down.weight[:8, 0] = sk.master_keys()[:, 1:-1, 1:-1]
    return network


def images(count: int = 2, side: int = 20, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def random_filters(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smoothing(sigma_x: float, sigma_y: float, side: int) -> Tensor:
    """``T(x; sigma_x^2) T(y; sigma_y^2)``, by scipy."""
    n = np.arange(side) - side // 2
    x, y = (torch.from_numpy(ive(n, float(sigma) ** 2)) for sigma in (sigma_x, sigma_y))
    return y[:, None] * x


def layer_of(filters: Tensor) -> nn.Conv2d:
    """Return a depthwise layer with these filters, in float64."""
    count, size = len(filters), tuple(filters.shape[-2:])
    layer = nn.Conv2d(count, count, size, groups=count, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(filters[:, None])
    return layer


def constrained_layer(
    filters: Tensor, model: Any, learn: Learn = "scales+amplitudes", **options: Any
) -> tuple[Any, ScaleSpaceKernel, Fit]:
    """Constrain a layer with these filters; return it, its kernel and the fit."""
    layer = layer_of(filters)
    fit = sk.fit(sk.extract(layer), model)
    constrained = sk.constrain(layer, fit, learn, **options)
    return constrained, kernel_of(constrained), fit


def kernel_of(layer: Any) -> ScaleSpaceKernel:
    return layer.parametrizations.weight[0]


def kernels_of(network: nn.Module) -> dict[str, ScaleSpaceKernel]:
    """Return the kernels of the constrained layers, by the names of the layers."""
    return {
        name: kernel_of(layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d) and parametrize.is_parametrized(layer, "weight")
    }
