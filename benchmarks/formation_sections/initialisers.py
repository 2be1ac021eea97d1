"""False alarms: what the figure says of depthwise layers as libraries initialise them, which no training has touched.

Keras and TensorFlow draw from the same distributions, truncated at two standard deviations where they are normal.
"""

import argparse
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import scalekeys as sk
from fit_sections.record import table
from scalekeys.fitting import formation
from scalekeys.fitting.formation import FORMED, PARTLY_FORMED, UNDECIDED
from scalekeys.proportions import wilson_interval

HELP = "depthwise layers at their initialisation"

SIDES, CHANNELS = (3, 5, 7, 11), (16, 64, 256)


def _timm(name: str) -> Callable[..., Any]:
    from timm import layers

    return getattr(layers, name)  # type: ignore[no-any-return]


def _efficientnet(weight: Tensor) -> Tensor:
    """The convolutions of EfficientNet and MobileNetV3 in timm: normal, by the number of outputs of a group."""
    return nn.init.normal_(weight, 0.0, math.sqrt(2 / weight[0].numel()))


def _keras_glorot(weight: Tensor) -> Tensor:
    """The default of DepthwiseConv2D in Keras, whose kernel has k * k * C inputs and k * k outputs."""
    taps, channels = weight[0].numel(), len(weight)
    limit = math.sqrt(6 / (taps * channels + taps))
    return nn.init.uniform_(weight, -limit, limit)


def _keras_he_normal(weight: Tensor) -> Tensor:
    deviation = math.sqrt(2 / weight[0].numel()) / 0.87962566103423978
    return nn.init.trunc_normal_(weight, 0.0, deviation, -2 * deviation, 2 * deviation)


INITIALISERS: dict[str, Callable[[Tensor], Any]] = {
    "torch Conv2d (uniform)": lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5)),
    "torch kaiming_normal_, fan_out": lambda w: nn.init.kaiming_normal_(w, mode="fan_out"),
    "torch xavier_uniform_": nn.init.xavier_uniform_,
    "torch xavier_normal_": nn.init.xavier_normal_,
    "torch normal_, 0.02": lambda w: nn.init.normal_(w, 0.0, 0.02),
    "torch uniform_, 0 to 1": nn.init.uniform_,
    "torch orthogonal_": nn.init.orthogonal_,
    "torch sparse_, half": lambda w: w.copy_(nn.init.sparse_(w.flatten(1).clone(), 0.5).view_as(w)),
    "torch dirac_": lambda w: nn.init.dirac_(w, groups=len(w)),
    "timm trunc_normal_, 0.02 (ConvNeXt)": lambda w: _timm("trunc_normal_")(w, std=0.02),
    "timm trunc_normal_tf_, 0.02": lambda w: _timm("trunc_normal_tf_")(w, std=0.02),
    "timm lecun_normal_": lambda w: _timm("lecun_normal_")(w),
    "timm variance_scaling_, uniform": lambda w: _timm("variance_scaling_")(w, distribution="uniform"),
    "timm EfficientNet": _efficientnet,
    "Keras glorot_uniform": _keras_glorot,
    "Keras he_normal": _keras_he_normal,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layers", type=int, default=20, help="of each side and number of channels")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    torch.manual_seed(arguments.seed)
    return {"layers": [_row(name, start, arguments.layers) for name, start in INITIALISERS.items()]}


def show(results: dict[str, Any]) -> None:
    table("layers at their initialisation that are called partly or wholly formed (nominal: 2.5 %)", results["layers"])


@torch.no_grad()
def _row(name: str, start: Callable[[Tensor], Any], layers: int) -> dict[str, Any]:
    words: Counter[str] = Counter()
    values, filters, dead = [], 0, 0
    for side in SIDES:
        for channels in CHANNELS:
            convolutions = [nn.Conv2d(channels, channels, side, groups=channels) for _ in range(layers)]
            for layer in convolutions:
                start(layer.weight)
            network = nn.Sequential(*convolutions)
            fitted = sk.fit(sk.extract(network))
            filters += len(fitted)
            dead += int(fitted.dead.sum())
            groups = [g.white for g in formation(fitted).layers if g.white is not None]
            words.update(group.word for group in groups)
            values += [group.value for group in groups]
    alarms, count = words[PARTLY_FORMED] + words[FORMED], len(values)
    low, high = wilson_interval(alarms, count) if count else (math.nan, math.nan)
    return {
        "initialiser": name,
        "layers": count,
        "formation": round(sum(values) / max(1, count), 3),
        "alarms %": round(100 * alarms / max(1, count), 2),
        "from": round(100 * low, 2) if count else None,
        "to": round(100 * high, 2) if count else None,
        "undecided": words[UNDECIDED],
        "formed": words[FORMED],
        "filters": filters,
        "dead": dead,
    }
