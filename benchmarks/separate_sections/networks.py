"""Networks whose speed is measured: large kernels, and architectures of timm, with random weights."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WIDTHS, DEPTHS = (128, 256, 512, 1024), (1, 1, 3, 1)


class _Block(nn.Module):
    """A large kernel between pointwise convolutions, and a pointwise feed-forward network, each with a shortcut."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.large = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, side, padding=side // 2, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.feed_forward = nn.Sequential(
            nn.BatchNorm2d(width), nn.Conv2d(width, 4 * width, 1), nn.GELU(), nn.Conv2d(4 * width, width, 1)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return maps of the same shape."""
        outputs = inputs + self.large(inputs)
        return outputs + self.feed_forward(outputs)  # type: ignore[no-any-return]


def large_kernels(*sides: int) -> nn.Module:
    """Return a network as RepLKNet-31B with 1, 1, 3 and 1 of its 2, 2, 18 and 2 blocks, a kernel side for each stage.

    Ding et al., "Scaling up your kernels to 31x31", CVPR 2022, table 5: widths 128 to 1024, kernels 31, 29, 27, 13.
    """
    torch.manual_seed(0)
    parts: list[nn.Module] = [
        nn.Conv2d(3, WIDTHS[0], 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(WIDTHS[0], WIDTHS[0], 3, 2, 1, groups=WIDTHS[0]),
    ]
    for stage, (width, depth, side) in enumerate(zip(WIDTHS, DEPTHS, sides, strict=True)):
        if stage:
            parts += [nn.Conv2d(WIDTHS[stage - 1], width, 1), nn.Conv2d(width, width, 3, 2, 1, groups=width)]
        parts += [_Block(width, side) for _ in range(depth)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], 1000)).eval()


LARGE = {"31, 29, 27, 13": (31, 29, 27, 13), "13 in all stages": (13, 13, 13, 13)}

TIMM = (
    "convnext_atto",
    "convnextv2_femto",
    "mobilenetv3_large_100",
    "efficientnet_b0",
    "mobileone_s1",
    "inception_next_atto",
    "fastvit_t8",
    "repvit_m0_9",
    "edgenext_xx_small",
    "ghostnetv2_100",
    "mixnet_s",
    "starnet_s1",
    "mambaout_femto",
)


def of_timm(name: str) -> nn.Module:
    """Return an architecture of timm with random weights, branches merged where it can do that."""
    sys.path.append(str(Path(__file__).resolve().parents[2] / "tests"))
    import_module("torchvision_placeholder").install()
    import timm
    from timm.utils.model import reparameterize_model

    torch.manual_seed(0)
    network: Any = reparameterize_model(timm.create_model(name, pretrained=False).eval())
    return network.eval()  # type: ignore[no-any-return]
