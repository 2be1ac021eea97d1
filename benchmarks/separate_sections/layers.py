"""Single depthwise layers as sums of 1, 2 and 3 outer products, as a share of their time.

As ``sk.separate`` times them: on one thread, in turn, first quartiles of processor time; in onnxruntime between two
pointwise convolutions, whose time is subtracted.
"""

import argparse
from typing import Any

import torch
from torch import nn

from fit_sections.record import table
from scalekeys.networks.changing.separate.separable_conv import SeparableConv
from scalekeys.networks.changing.separate.timing import Call, Stopwatch

HELP = "time single layers"
SIDES = (5, 7, 9, 13, 31)
MAPS = ((96, 56), (384, 14))
RANKS = (1, 2, 3)
RUNTIMES = {
    "onnxruntime": ("onnxruntime", False),
    "torch": ("torch", False),
    "channels-last": ("torch", True),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sides", type=int, nargs="*", default=list(SIDES))


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(0)
    rows = []
    for channels, extent in MAPS:
        for side in arguments.sides:
            layer = nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels)
            for name, (runtime, last) in RUNTIMES.items():
                watch, calls = Stopwatch(runtime), {Call((1, channels, extent, extent), last): 1}
                row = {"channels": channels, "map": extent, "side": side, "runtime": name, "ms": 0.0}
                for rank in RANKS:
                    separable = SeparableConv(layer, [torch.randn(channels, side, rank)] * 2)
                    before, after = watch.layer(layer, separable, calls)
                    row |= {"ms": round(before, 3), f"rank {rank}": round(after / before, 2)}
                rows.append(row)
    return {"rows": rows}


def show(results: dict[str, Any]) -> None:
    table("time as a sum of outer products, as a share of the time before", results["rows"])
