"""A small network with every kind of depthwise layer, and what is to be found in it."""

import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Depthwise layers of several sizes, strides and dilations between dense ones, named as networks name them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.blocks = nn.Sequential(
            nn.Conv2d(8, 8, 7, padding=3, groups=8),
            nn.Conv2d(8, 16, 3, padding=1, groups=8, stride=2, bias=False),
            nn.BatchNorm2d(16),
            nn.Conv2d(16, 16, (1, 5), padding=(0, 4), groups=16, dilation=2),
            nn.Conv2d(16, 16, 1, groups=16),
            nn.Conv2d(16, 16, 3, padding=1, groups=4),
        )
        self.head = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(images)).mean((-2, -1)))


DEPTHWISE = {"blocks.0": ((8, 7, 7), 1, 1), "blocks.1": ((16, 3, 3), 2, 1), "blocks.3": ((16, 1, 5), 1, 2)}
"""Shape, stride and dilation of the depthwise layers of the small network."""


def small_network() -> Net:
    """Return the network with the same random weights each time, its batch norm as if it had been trained."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = Net().eval()
        for statistic in (net.blocks[2].weight, net.blocks[2].running_mean, net.blocks[2].running_var):
            torch.nn.init.uniform_(statistic, 0.5, 2.0)
        return net
