"""The network of ``lkdn_x4.pth``, which enlarges images four times along each axis.

LKDN (Xie et al., "Large Kernel Distillation Network for Efficient Single Image Super-Resolution", CVPR workshops 2023)
keeps the distillation blocks of RFDN and the blueprint convolutions of BSRN, and attends with large kernels. Names and
shapes of the weights give the layers. What they leave open (:class:`Open`) was decided on images by the PSNR to the
true image, which ``python benchmarks/offers.py lkdn`` measures for each choice; the order of the layers of a block was
tried in the same way, and every other order of them loses decibels.
"""

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalekeys.checkpoints import load_into

CHECKPOINT = Path(__file__).resolve().parents[3] / "shared" / "weights" / "lkdn_x4.pth"
SCALE = 4
_WIDTH, _BLOCKS, _COPIES, _CHANNELS = 56, 8, 4, 3


@dataclass(frozen=True)
class Open:
    """What the weights do not say.

    Parameters
    ----------
    dilation : int
        Of the second depthwise convolution of the attention.
    activation : {"gelu", "relu"}
    adds : bool
        Whether the input is added to the output of each blueprint convolution of a block, before its activation.
    """

    dilation: int = 3
    activation: str = "gelu"
    adds: bool = False


def build(checkpoint: Path | str | None = None, choice: Open = Open()) -> "LKDN":
    """Build the network in evaluation mode, with the averaged weights of a checkpoint if given."""
    network = LKDN(choice).eval()
    if checkpoint is not None:
        load_into(network, Path(checkpoint), weights="params_ema")
    return network


class LKDN(nn.Module):
    """Return images (batch, 3, 4 rows, 4 cols), values from 0 to 1, of images (batch, 3, rows, cols)."""

    def __init__(self, choice: Open = Open()) -> None:
        super().__init__()
        self.fea_conv = _Blueprint(_COPIES * _CHANNELS, _WIDTH)
        self.blocks = [f"B{number + 1}" for number in range(_BLOCKS)]
        for name in self.blocks:
            self.add_module(name, _Block(choice))
        self.c1 = nn.Conv2d(_BLOCKS * _WIDTH, _WIDTH, 1)
        self.c2 = _Blueprint(_WIDTH, _WIDTH)
        self.upsampler = nn.Sequential(nn.Conv2d(_WIDTH, _CHANNELS * SCALE**2, 3, padding=1), nn.PixelShuffle(SCALE))

    def forward(self, images: Tensor) -> Tensor:
        first = self.fea_conv(torch.cat([images] * _COPIES, 1))
        outputs, x = [], first
        for name in self.blocks:
            x = self.get_submodule(name)(x)
            outputs.append(x)
        large: Tensor = self.upsampler(self.c2(F.gelu(self.c1(torch.cat(outputs, 1)))) + first)
        return large


class _Block(nn.Module):
    """Set a part of the channels aside after each of three convolutions; join, attend, normalise; add the input."""

    def __init__(self, choice: Open) -> None:
        super().__init__()
        half = _WIDTH // 2
        for number in (1, 2, 3):
            self.add_module(f"c{number}_d", nn.Conv2d(_WIDTH, half, 1))
            self.add_module(f"c{number}_r", _Blueprint(_WIDTH, _WIDTH))
        self.c4 = _Blueprint(_WIDTH, half)
        self.c5 = nn.Conv2d(4 * half, _WIDTH, 1)
        self.atten = _Attention(choice.dilation)
        self.c6 = nn.Conv2d(_WIDTH, _WIDTH, 1)
        self.pixel_norm = nn.LayerNorm(_WIDTH)
        self.act = {"gelu": nn.GELU(), "relu": nn.ReLU()}[choice.activation]
        self.adds = choice.adds

    def forward(self, x: Tensor) -> Tensor:
        aside, rest = [], x
        for number in (1, 2, 3):
            aside.append(self.act(self.get_submodule(f"c{number}_d")(rest)))
            filtered = self.get_submodule(f"c{number}_r")(rest)
            rest = self.act(filtered + rest if self.adds else filtered)
        joined = self.c5(torch.cat([*aside, self.act(self.c4(rest))], 1))
        changed: Tensor = self.pixel_norm(self.c6(self.atten(joined)).movedim(1, -1)).movedim(-1, 1)
        return x + changed


class _Attention(nn.Module):
    """Weigh each value by what a large kernel makes of its surroundings: pointwise, 5 x 5, and 5 x 5 dilated."""

    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.pointwise = nn.Conv2d(_WIDTH, _WIDTH, 1)
        self.depthwise = nn.Conv2d(_WIDTH, _WIDTH, 5, padding=2, groups=_WIDTH)
        self.depthwise_dilated = nn.Conv2d(_WIDTH, _WIDTH, 5, padding=2 * dilation, dilation=dilation, groups=_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.depthwise_dilated(self.depthwise(self.pointwise(x)))
        return x * weights


class _Blueprint(nn.Sequential):
    """Pointwise, then depthwise 3 x 3."""

    def __init__(self, inputs: int, outputs: int) -> None:
        pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        super().__init__(OrderedDict(pw=pointwise, dw=nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs)))
