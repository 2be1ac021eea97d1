"""The network of ``extremec3_portrait.pth``, which finds the person in a portrait.

The weights say everything but the dilation of the depthwise convolutions and how the coarse output is enlarged; both
are assumed here, and neither changes which channels are dead.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalekeys.checkpoints import load_into

CHECKPOINT = Path(__file__).resolve().parents[3] / "shared" / "zoo" / "extremec3_portrait.pth"
_DILATIONS = (1, 2, 4)


def build(checkpoint: Path | str | None = None) -> "ExtremeC3":
    """Build the network in evaluation mode, with the weights of a checkpoint if given."""
    network = ExtremeC3().eval()
    if checkpoint is not None:
        load_into(network, Path(checkpoint))
    return network


class ExtremeC3(nn.Module):
    """Return one logit for each pixel of images (batch, 3, rows, cols); the sides are multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _Encoder()
        self.upsample = nn.Sequential(nn.Conv2d(112, 24, 1, bias=False), nn.BatchNorm2d(24))
        self.Fine = nn.Sequential(_Convolution(3, 24, 3, stride=2), _Block(24, (3, 7, 15), ((8, 8, 8))))
        self.classifier = nn.Sequential(_NormAct(24), nn.Identity(), nn.Conv2d(24, 1, 1, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, 1, rows, cols)."""
        fine: Tensor = self.Fine(images)
        coarse = F.interpolate(self.upsample(self.encoder(images)), fine.shape[2:], mode="bilinear")
        logits: Tensor = self.classifier(fine + coarse)
        return F.interpolate(logits, images.shape[2:], mode="bilinear")


class _Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.level1 = _NormalizedConvolution(3, 24)
        self.b1 = _NormAct(27)
        self.level2_0 = _Block(27, (0, 3, 5), (16, 16, 16), reduce_side=3, plain_norm=True)
        self.level2 = nn.ModuleList([_Block(48, (0, 5, 7), (16, 16, 16))])
        self.b2 = _NormAct(99)
        self.level3_0 = _Block(99, (0, 5, 9), (20, 18, 18))
        self.level3 = nn.ModuleList([_Block(56, (3, 7, 15), (20, 18, 18)) for _ in range(5)])
        self.b3 = _NormAct(112)

    def forward(self, images: Tensor) -> Tensor:
        half, quarter = _smaller(images), _smaller(_smaller(images))
        x = self.b1(torch.cat([self.level1(images), half], 1))
        start = self.level2_0(x)
        x = start
        for block in self.level2:
            x = block(x)
        x = self.b2(torch.cat([x, start, quarter], 1))
        start = self.level3_0(x)
        x = start
        for block in self.level3:
            x = block(x)
        last: Tensor = self.b3(torch.cat([start, x], 1))
        return last


class _Block(nn.Module):
    """Narrow, filter depthwise in three branches, and put them beside each other; with the input added if it fits."""

    def __init__(
        self,
        inputs: int,
        sides: Sequence[int],
        outputs: Sequence[int],
        *,
        reduce_side: int = 1,
        plain_norm: bool = False,
    ) -> None:
        super().__init__()
        width, total = min(outputs), sum(outputs)
        stride = 2 if reduce_side > 1 else 1
        self.c1 = _Convolution(inputs, width, reduce_side, stride=stride)
        self.d1, self.d2, self.d3 = (
            _Branch(width, many, side, dilation)
            for side, many, dilation in zip(sides, outputs, _DILATIONS, strict=True)
        )
        if plain_norm:
            self.bn: nn.Module = nn.BatchNorm2d(total)
            self.act: nn.Module = nn.PReLU(total)
        else:
            self.bn, self.act = _NormAct(total), nn.Identity()
        self.adds = inputs == total

    def forward(self, x: Tensor) -> Tensor:
        narrow = self.c1(x)
        beside = torch.cat([self.d1(narrow), self.d2(narrow), self.d3(narrow)], 1)
        last: Tensor = self.act(self.bn(x + beside if self.adds else beside))
        return last


class _Branch(nn.Module):
    """Depthwise filters along one axis and the other, where there is a side for them, then 3 x 3, then pointwise."""

    def __init__(self, width: int, outputs: int, side: int, dilation: int) -> None:
        super().__init__()
        lines: list[nn.Module] = []
        if side:
            lines = [
                nn.Conv2d(width, width, (side, 1), padding=(side // 2, 0), groups=width, bias=False),
                nn.BatchNorm2d(width),
                nn.PReLU(width),
                nn.Conv2d(width, width, (1, side), padding=(0, side // 2), groups=width, bias=False),
                nn.BatchNorm2d(width),
            ]
        square = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, groups=width, bias=False)
        self.conv = nn.Sequential(*lines, square, nn.Conv2d(width, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        filtered: Tensor = self.conv(x)
        return filtered


class _NormAct(nn.Sequential):
    def __init__(self, width: int) -> None:
        super().__init__(OrderedDict(bn=nn.BatchNorm2d(width), act=nn.PReLU(width)))


class _Convolution(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, side: int, *, stride: int = 1) -> None:
        layer = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=False)
        super().__init__(OrderedDict(conv=layer))


class _NormalizedConvolution(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        layer = nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=False)
        super().__init__(OrderedDict(conv=layer, bn=nn.BatchNorm2d(outputs), act=nn.PReLU(outputs)))


def _smaller(images: Tensor) -> Tensor:
    return F.avg_pool2d(images, 3, 2, padding=1)
