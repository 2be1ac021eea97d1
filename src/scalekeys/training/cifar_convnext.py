"""A small ConvNeXt for images of 32 x 32 pixels, whose depthwise kernels are as large as those for ImageNet."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scalekeys.images.preparation import Preprocessing

CLASSES = 10
"""Classes of CIFAR-10, in its own order: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck."""

PREPROCESSING = Preprocessing((32, 32), 1.0, mean=(0.491, 0.482, 0.447), std=(0.247, 0.243, 0.262))
"""How the images of the weights that come with the package are prepared, as its recipes say."""

_EXPANSION = 4


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of images (batch, channels, rows, cols)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each pixel."""
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


class DropPath(nn.Module):
    """Leave the change of a residual block out, for a share of the images of a batch in training."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, change: Tensor) -> Tensor:
        """Zero some images, and scale the others so that the mean stays."""
        if not self.training or not self.share:
            return change
        kept: Tensor = torch.rand(len(change), 1, 1, 1, device=change.device) >= self.share
        return change * (kept / ((1 - self.share) or 1.0)).to(change.dtype)


class Block(nn.Module):
    """Residual block: depthwise filters, then two pointwise layers."""

    def __init__(self, width: int, kernel: int, drop_path: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, _EXPANSION * width)
        self.project = nn.Linear(_EXPANSION * width, width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Add the change that the block makes to images (batch, channels, rows, cols)."""
        features = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        change = self.project(F.gelu(self.expand(features)))
        result: Tensor = x + self.drop_path(change.permute(0, 3, 1, 2))
        return result


class CifarConvNeXt(nn.Module):
    """Patches of pixels, stages of residual blocks that halve the image in between, and a linear classifier.

    `widths`, `depths`: channels and blocks of each stage.
    `kernel`: side of the depthwise kernels, odd.
    `drop_path`: share of images for which the last block is left out in training; it grows linearly with depth from 0.
    `patch`: side of the patches of pixels that become the first positions.

    >>> network = CifarConvNeXt(10)
    >>> network(torch.zeros(2, 3, 32, 32)).shape, sum(p.numel() for p in network.parameters())
    (torch.Size([2, 10]), 379642)
    >>> CifarConvNeXt(10, patch=1).stem(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 48, 32, 32])
    """

    def __init__(
        self,
        classes: int,
        widths: Sequence[int] = (48, 96),
        depths: Sequence[int] = (2, 4),
        kernel: int = 7,
        drop_path: float = 0.0,
        patch: int = 2,
    ) -> None:
        super().__init__()
        shares = iter(torch.linspace(0, drop_path, sum(depths)).tolist())
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], patch, patch), ChannelNorm(widths[0], eps=1e-6))
        stages = []
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            blocks = [Block(width, kernel, next(shares)) for _ in range(depth)]
            halve = [ChannelNorm(widths[stage - 1], eps=1e-6), nn.Conv2d(widths[stage - 1], width, 2, 2)]
            stages.append(nn.Sequential(*(halve if stage else []), *blocks))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], classes)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) of images (batch, 3, rows, cols)."""
        logits: Tensor = self.head(self.norm(self.stages(self.stem(images)).mean((-2, -1))))
        return logits


def _initialise(layer: nn.Module) -> None:
    if isinstance(layer, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
