"""The MCUNet of ``../shared/weights`` as a module, whose parameters are named as in its checkpoint.

For the command line: ``scalekeys evaluate benchmarks/mcunet.py:build --checkpoint FILE --size 176 --crop-pct 1
--mean 0.5 --std 0.5 --data FOLDER``.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from scalekeys.checkpoints import load_into

WEIGHTS = Path(__file__).resolve().parents[2] / "shared" / "weights"
ARCHITECTURE = WEIGHTS / "mcunet-320kb-1mb_imagenet.json"
CHECKPOINT = WEIGHTS / "mcunet-320kb-1mb_imagenet.pth"


def build(json_path: Path | str = ARCHITECTURE, checkpoint: Path | str | None = None) -> "MCUNet":
    """Build the network that a JSON file describes, in evaluation mode, with the weights of a checkpoint if given."""
    network = MCUNet(json.loads(Path(json_path).read_text(encoding="utf-8"))).eval()
    if checkpoint is not None:
        load_into(network, Path(checkpoint))
    return network


class MCUNet(nn.Module):
    """Inverted residual blocks between a first convolution and a linear classifier.

    Parameters
    ----------
    description : mapping
        What the JSON file holds; one stem, blocks and a classifier are understood.
    """

    def __init__(self, description: Mapping[str, Any]) -> None:
        super().__init__()
        if description.get("feature_mix_layer") is not None:
            raise ValueError("a network with a feature_mix_layer is not understood")
        first, last, eps = description["first_conv"], description["classifier"], description["bn"]["eps"]
        self.first_conv = _convolution(
            first["in_channels"], first["out_channels"], first["kernel_size"], eps, stride=first["stride"]
        )
        self.blocks = nn.Sequential(*(_Block(block, eps) for block in description["blocks"]))
        self.classifier = nn.Sequential(
            OrderedDict(linear=nn.Linear(last["in_features"], last["out_features"], bias=last["bias"]))
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) of images (batch, 3, rows, cols)."""
        logits: Tensor = self.classifier(self.blocks(self.first_conv(images)).mean((-2, -1)))
        return logits


class _Block(nn.Module):
    """Widen, filter depthwise, project; with the input added where there is a shortcut."""

    def __init__(self, block: Mapping[str, Any], eps: float) -> None:
        super().__init__()
        layer = block["mobile_inverted_conv"]
        if layer["name"] != "MBInvertedConvLayer" or layer["use_se"] or layer["act_func"] != "relu6":
            raise ValueError(f"a block of this kind is not understood: {layer}")
        narrow, wide = layer["in_channels"], layer["mid_channels"] or layer["in_channels"] * layer["expand_ratio"]
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if layer["expand_ratio"] != 1:
            parts["inverted_bottleneck"] = _convolution(narrow, wide, 1, eps)
        parts["depth_conv"] = _convolution(wide, wide, layer["kernel_size"], eps, stride=layer["stride"], groups=wide)
        parts["point_linear"] = _convolution(wide, layer["out_channels"], 1, eps, activation=False)
        self.mobile_inverted_conv = nn.Sequential(parts)
        self.has_shortcut = block["shortcut"] is not None

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.mobile_inverted_conv(x)
        return x + change if self.has_shortcut else change


def _convolution(
    inputs: int, outputs: int, kernel: int, eps: float, *, stride: int = 1, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    """Return a convolution without bias, its batch norm, and ReLU6 if wanted."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        bn=nn.BatchNorm2d(outputs, eps=eps),
    )
    if activation:
        parts["act"] = nn.ReLU6(inplace=True)
    return nn.Sequential(parts)
