"""What it costs and saves to crop kernels that are larger than what they hold.

    OMP_NUM_THREADS=1 python benchmarks/crop.py accuracy
    OMP_NUM_THREADS=1 python benchmarks/crop.py time
    python benchmarks/crop.py saving

``accuracy``: MCUNet and the 500 images of ``imagenet_sample`` in two halves: statistics are matched on one and accuracy
is measured on the other, both ways, at several shares of energy that may be cut off. ``time``: the cropped network
beside the original, in turn, on one thread, in PyTorch and onnxruntime, with a copy of the original as a control.
``saving``: what the weights alone tell of networks of the zoo. The figures go into ``results/crop.json``.
"""

import argparse
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

import mcunet
import scalekeys as sk
from fit_sections.command import Section, run_section
from fit_sections.record import RESULTS, table
from scalekeys.filters.extent import OUTER_ENERGY, smallest_window, white_share
from scalekeys.networks import Cropping
from scalekeys.shapes import size_text
from surgery_sections.comparisons import beside_original, show_beside_original
from surgery_sections.halves import Halves
from timing import timed_rows

TOLERANCES = (OUTER_ENERGY, 0.05, 0.1)
KEPT, REFITTED = WAYS = ("as they were", "fitted to natural images")
ZOO = Path(__file__).resolve().parents[2] / "shared" / "zoo"
EDGEFACE = ("edgeface_xs_q.pt", "edgeface_xxs_q.pt")


def run_accuracy(arguments: argparse.Namespace) -> dict[str, Any]:
    halves = Halves.of_mcunet()
    after, rows = [], []
    for tolerance in arguments.tolerances:
        for taps, matched in product(WAYS, (True, False)):
            networks, found = _cropped(halves, tolerance, taps)
            after.append(halves.matched(networks) if matched else halves.evaluate(networks))
            rows.append(
                {
                    "energy_cut": tolerance,
                    "taps_that_stay": taps,
                    "statistics": "matched" if matched else "as they were",
                    "layers": len(found.layers),
                    "of_depthwise_weights": round(found.numbers[1] / found.numbers[0], 4),
                    "top1": round(100 * after[-1].top1, 2),
                    "cropped": [
                        {
                            "layer": one.layer,
                            "from": size_text(one.before),
                            "to": size_text(one.kernel_size),
                            "energy": round(one.energy, 4),
                            "white": round(white_share(one.before, one.kernel_size), 4),
                        }
                        for one in found.layers
                    ],
                }
            )
    return beside_original(rows, after, halves.original)


def _cropped(halves: Halves, tolerance: float, taps: str) -> tuple[list[nn.Module], Cropping]:
    """Crop the network for each half, so that both are evaluated on the other."""
    found = sk.crop(halves.network, tolerance=tolerance, refit=taps != KEPT)
    return [found.module] * 2, found


def show_accuracy(results: dict[str, Any]) -> None:
    show_beside_original(results, without=["cropped"])


def run_time(arguments: argparse.Namespace) -> dict[str, Any]:
    network = mcunet.build(checkpoint=mcunet.CHECKPOINT)
    networks: dict[str, nn.Module] = {"original": network, "control": mcunet.build(checkpoint=mcunet.CHECKPOINT)}
    for tolerance in arguments.tolerances:
        networks[f"{100 * tolerance:g} % of the energy"] = sk.crop(network, tolerance=tolerance).module
    image = torch.randn(1, 3, 176, 176, generator=torch.Generator().manual_seed(0))
    return {"times": timed_rows(networks, image, arguments.repeats)}


def show_time(results: dict[str, Any]) -> None:
    table("one image on one thread, beside the original", results["times"])


def run_saving(arguments: argparse.Namespace) -> dict[str, Any]:
    rows = []
    for name in arguments.networks:
        bank = sk.extract(ZOO / name)
        taps = sum(layer.kernels.numel() for layer in bank)
        cut = {layer.name: smallest_window(layer.kernels) for layer in bank}
        saved = sum(
            layer.kernels.numel() * white_share(layer.size, found[0]) for layer in bank if (found := cut[layer.name])
        )
        sizes = [(layer.size, cut[layer.name]) for layer in bank]
        told = sorted({f"{size_text(size)} to {size_text(found[0])}" for size, found in sizes if found})
        rows.append(
            {
                "network": name,
                "layers": len(bank.layers),
                "cropped": sum(found is not None for _, found in sizes),
                "sizes": ", ".join(told),
                "most_energy_cut": max((found[1] for _, found in sizes if found), default=None),
                "depthwise_weights": taps,
                "saved": round(saved / taps, 4),
            }
        )
    return {"networks": rows}


def show_saving(results: dict[str, Any]) -> None:
    table("what cropping saves, from the weights alone", results["networks"])


def _with_tolerances(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tolerances", type=float, nargs="*", default=list(TOLERANCES))


def _with_repeats(parser: argparse.ArgumentParser) -> None:
    _with_tolerances(parser)
    parser.add_argument("--repeats", type=int, default=200)


def _with_networks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="*", default=list(EDGEFACE))


SECTIONS: dict[str, Section] = {
    "accuracy": SimpleNamespace(
        HELP="crop MCUNet and evaluate it", add_arguments=_with_tolerances, run=run_accuracy, show=show_accuracy
    ),
    "time": SimpleNamespace(
        HELP="time MCUNet cropped and as it was", add_arguments=_with_repeats, run=run_time, show=show_time
    ),
    "saving": SimpleNamespace(
        HELP="what weights alone tell of the saving", add_arguments=_with_networks, run=run_saving, show=show_saving
    ),
}

if __name__ == "__main__":
    run_section(__doc__, SECTIONS, RESULTS.with_name("crop.json"))
