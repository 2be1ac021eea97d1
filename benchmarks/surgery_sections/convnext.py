"""A ConvNeXt as it was published, of any depth and width, with random weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.wide = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.strength = nn.Parameter(torch.full((width,), 0.1))

    def forward(self, maps: Tensor) -> Tensor:
        inside = self.norm(self.depthwise(maps).permute(0, 2, 3, 1))
        inside = self.strength * self.narrow(F.gelu(self.wide(inside)))
        added: Tensor = maps + inside.permute(0, 3, 1, 2)
        return added


class _Norm(nn.LayerNorm):
    """Of the channels of maps."""

    def forward(self, maps: Tensor) -> Tensor:
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def convnext(depths: Sequence[int], widths: Sequence[int], stem: int, *, seed: int, classes: int = 1000) -> nn.Module:
    """Build a ConvNeXt, channels last.

    Parameters
    ----------
    depths, widths : sequence of int
        Blocks and channels of each stage.
    stem : int
        Size and stride of the first convolution: 4 for large images.
    seed : int
        Of the weights.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], stem, stride=stem), _Norm(widths[0], eps=1e-6)]
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            if stage:
                before = widths[stage - 1]
                layers += [_Norm(before, eps=1e-6), nn.Conv2d(before, width, 2, stride=2)]
            layers += [_Block(width) for _ in range(depth)]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes)]
        network: nn.Module = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
