"""A small network that removes noise from pictures, whose only filters wider than a pixel are depthwise."""

import torch
from torch import Tensor, nn

from scalekeys.images.preparation import Preprocessing

PREPROCESSING = Preprocessing((64, 64), 1.0, mean=(0.0,), std=(1.0,))
"""How pictures are prepared for the network that comes with the package: grey, with values from 0 to 1."""


class _Block(nn.Module):
    """Residual block: a pointwise layer, depthwise filters between two rectifications, and a pointwise layer."""

    def __init__(self, width: int, kernel_size: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.depthwise = nn.Conv2d(width, width, kernel_size, padding=kernel_size // 2, groups=width, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(width)
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        filtered = self.depthwise(torch.relu(self.norm(self.mix(x))))
        change: Tensor = self.project(torch.relu(self.depthwise_norm(filtered)))
        return x + change


class Denoiser(nn.Module):
    """A network that removes noise from pictures, with one layer of depthwise filters in each block.

    Patches of 2 x 2 pixels become channels, the blocks filter them, and what the last layer gives is added to the
    picture.

    Parameters
    ----------
    kernel_size : int
        The side of the depthwise kernels; odd.
    width : int
        How many channels, and so depthwise kernels, each block has.
    blocks : int
    channels : int
        Of the pictures: 1 for grey ones, 3 for colour.

    Examples
    --------
    >>> Denoiser(7, 32, 3)(torch.zeros(2, 1, 24, 32)).shape
    torch.Size([2, 1, 24, 32])
    """

    def __init__(self, kernel_size: int, width: int, blocks: int, channels: int = 1) -> None:
        super().__init__()
        # Patches become channels also because the weight of a convolution of a grey picture has the shape of a
        # depthwise one.
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, width, 1))
        self.blocks = nn.Sequential(*(_Block(width, kernel_size) for _ in range(blocks)))
        self.head = nn.Sequential(nn.Conv2d(width, 4 * channels, 1), nn.PixelShuffle(2))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return pictures (batch, channels, rows, columns) without their noise; both sides are even."""
        change: Tensor = self.head(self.blocks(self.stem(pictures)))
        return pictures + change


def shipped() -> Denoiser:
    """Return the network whose weights come with the package, without them.

    Examples
    --------
    >>> sum(weight.numel() for weight in shipped().parameters())
    11620
    """
    return Denoiser(7, 32, 3)
