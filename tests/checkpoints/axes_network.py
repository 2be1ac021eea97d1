"""A small network whose kernels have one, two or three axes, with every kind of convolution."""

import torch
from torch import nn

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
SIDES = {1: (5,), 2: (4, 5), 3: (3, 4, 5)}
"""Sides of the first depthwise layer."""


def network(axes):
    """Return a network; every depthwise layer follows a layer that gives its channels."""
    conv, up, norm = CONVOLUTIONS[axes], TRANSPOSED[axes], NORMS[axes]
    with torch.random.fork_rng():
        torch.manual_seed(axes)
        return nn.Sequential(
            conv(3, 8, 4, stride=2, padding=2),
            conv(8, 8, SIDES[axes], groups=8, padding="same"),
            norm(8),
            conv(8, 16, 1),
            conv(16, 32, 3, groups=16, stride=2, dilation=2, padding=2, bias=False),
            norm(32),
            conv(32, 32, 3, groups=4, padding=1),
            up(32, 12, 2, groups=2, stride=2),
            up(12, 12, 2, groups=12),
            up(12, 4, 3),
            conv(4, 2, 1),
        )


def example(axes):
    """Return an input of the network."""
    return torch.zeros(1, 3, *(16,) * axes)


DEPTHWISE = ("1", "4")
GROUPED = ("6", "7", "8")
ORDINARY = ("0", "9")
