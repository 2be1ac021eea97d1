"""How far MCUNet reaches into its input: predicted from its filters, measured by gradients, and with noise as filters.

    OMP_NUM_THREADS=1 python benchmarks/reach.py mcunet --threads 1

Behind each convolution with more than one tap: the standard deviation of the receptive field in pixels, the root of the
mean of both variances. Measured on images of ``imagenet_sample``, and on white noise of 352 x 352 pixels, which cuts
less of the field off. Controls: matched and white noise in the place of the depthwise filters, several draws each, with
the statistics of the batch norms matched to those of the network on the same images. The figures go into
``results/reach.json``.
"""

import argparse
from collections.abc import Sequence
from math import sqrt
from statistics import mean, stdev
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

import imagenet_sample
import mcunet
import scalekeys as sk
from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS, table
from scalekeys.filters import NoiseModel
from scalekeys.networks import ReceptiveField

CONTROLS = {"matched": sk.matched_noise_like, "white": sk.white_noise_like}
LARGE = 352


def run_mcunet(arguments: argparse.Namespace) -> dict[str, Any]:
    network = mcunet.build(checkpoint=mcunet.CHECKPOINT)
    images = imagenet_sample.read(limit=arguments.images)[0]
    noise = torch.randn(arguments.large, 3, LARGE, LARGE, generator=torch.Generator().manual_seed(0))
    fields = sk.receptive_field(network, images.split(arguments.batch))
    large = sk.receptive_field(network, noise.split(1))
    controls = {
        name: [
            sk.receptive_field(_with_noise(network, like, draw, images), images.split(arguments.batch))
            for draw in range(arguments.draws)
        ]
        for name, like in CONTROLS.items()
    }
    rows = []
    for index, field in enumerate(fields):
        measured = _one(field.measured)
        row: dict[str, Any] = {
            "layer": field.layer.replace(".mobile_inverted_conv.depth_conv.conv", ""),
            "pitch": field.pitch and field.pitch[0],
            "theoretical": field.size and field.size[0],
            "predicted": _one(field.predicted),
            "measured": measured,
            "error": _one(field.error),
            f"measured_{LARGE}": _one(large[index].measured),
        }
        for name, draws in controls.items():
            row |= _of_draws(name, [draw[index] for draw in draws], measured)
        rows.append({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})
    return {"images": len(images), "side": images.shape[-1], "draws": arguments.draws, "layers": rows}


def _of_draws(name: str, fields: Sequence[ReceptiveField], learned: float) -> dict[str, float]:
    """Return what is predicted and measured with noise, and the ratio to the learned filters with that of its draws."""
    ratios = [_one(field.measured) / learned for field in fields]
    return {
        f"{name}_predicted": mean(_one(field.predicted) for field in fields),
        f"{name}_measured": mean(_one(field.measured) for field in fields),
        f"{name}_ratio": mean(ratios),
        f"{name}_deviation": stdev(ratios) if len(ratios) > 1 else 0.0,
    }


def _with_noise(network: nn.Module, like: Any, seed: int, images: Tensor) -> nn.Module:
    bank = sk.extract(network)
    noisy = sk.replace(network, NoiseModel(bank, like(bank, seed=seed)))
    return sk.recalibrate(noisy, images, network)


def _one(sides: Sequence[float] | None) -> float:
    assert sides is not None
    return sqrt(mean(side**2 for side in sides))


def show_mcunet(results: dict[str, Any]) -> None:
    table(
        f"MCUNet, {results['images']} images of {results['side']} pixels, {results['draws']} draws", results["layers"]
    )


def _with_sizes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--large", type=int, default=4, help="inputs of white noise")
    parser.add_argument("--draws", type=int, default=3, help="of each kind of noise as filters")


SECTIONS: dict[str, Section] = {
    "mcunet": SimpleNamespace(
        HELP="predicted and measured, with the filters and with noise",
        add_arguments=_with_sizes,
        run=run_mcunet,
        show=show_mcunet,
    ),
}

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("reach.json"))
