"""The network of ``sgz_lowlight.pth``, which brightens dark images.

Seven depthwise separable convolutions, with the earlier activations beside the later ones, give one curve for each
colour; the curve is applied to the image eight times.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalekeys.checkpoints import load_into

CHECKPOINT = Path(__file__).resolve().parents[3] / "shared" / "zoo" / "sgz_lowlight.pth"
_APPLICATIONS = 8


def build(checkpoint: Path | str | None = None) -> "Sgz":
    """Build the network in evaluation mode, with the weights of a checkpoint if given."""
    network = Sgz().eval()
    if checkpoint is not None:
        load_into(network, Path(checkpoint))
    return network


class Separable(nn.Module):
    """A depthwise convolution of 3 x 3 and a pointwise one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depth_conv = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs)
        self.point_conv = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        filtered: Tensor = self.point_conv(self.depth_conv(x))
        return filtered


class Sgz(nn.Module):
    """Brighten images (batch, 3, rows, cols) with values from 0 to 1."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.e_conv1 = Separable(3, width)
        self.e_conv2 = Separable(width, width)
        self.e_conv3 = Separable(width, width)
        self.e_conv4 = Separable(width, width)
        self.e_conv5 = Separable(2 * width, width)
        self.e_conv6 = Separable(2 * width, width)
        self.e_conv7 = Separable(2 * width, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Return brightened images."""
        first = F.relu(self.e_conv1(images))
        second = F.relu(self.e_conv2(first))
        third = F.relu(self.e_conv3(second))
        fourth = F.relu(self.e_conv4(third))
        fifth = F.relu(self.e_conv5(torch.cat([third, fourth], 1)))
        sixth = F.relu(self.e_conv6(torch.cat([second, fifth], 1)))
        curve = torch.tanh(self.e_conv7(torch.cat([first, sixth], 1)))
        for _ in range(_APPLICATIONS):
            images = images + curve * (images * images - images)
        return images
