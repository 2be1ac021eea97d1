"""Large kernels that were trained freely, as sums of outer products: what is lost, and how much faster they are.

Networks of ``denoiser.py train``. Every layer is separated; outer products are fitted to responses to noisy crops of
the training pictures, and the peak signal-to-noise ratio is measured on held-out pictures, paired by picture.
``energy lost`` is what the nearest sum of so many outer products leaves of the kernels, beside the same for matched and
white noise. One picture of 224 pixels on one thread gives the times.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

import scalekeys as sk
from denoiser_sections.loop import Settings, Test, add_noise
from denoiser_sections.pictures import Pictures, read_pictures
from denoiser_sections.quality import denoised, psnr
from fit_sections.record import table
from scalekeys.networks.changing.separate.factors import low_rank
from scalekeys.networks.changing.separate.plan import Goal
from scalekeys.networks.changing.separate.separable_conv import products
from scalekeys.networks.changing.separate.separate import Separator
from scalekeys.proportions import mean_interval
from scalekeys.shapes import size_text
from timing import timed_rows

HELP = "separate denoisers with large kernels, evaluate and time them"
RANKS = (1, 2, 3)
_BATCHES, _SIDE = 4, 224


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, nargs="+", required=True, help="files of denoiser.py train")
    parser.add_argument("--data", help="the pictures of their training; by default where they were")
    parser.add_argument("--repeats", type=int, default=30)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    found = [_measured(path, arguments.data, arguments.repeats) for path in arguments.weights]
    rows, times = ([row for one in found for row in one[part]] for part in ("rows", "times"))
    return {"comparisons": len(rows), "rows": rows, "times": times}


def show(results: dict[str, Any]) -> None:
    shown = [
        {**row, "difference": "{:+.2f} ({:+.2f} to {:+.2f})".format(*row["difference"])} for row in results["rows"]
    ]
    table("denoisers, decibels on held-out pictures", shown)
    table("one picture on one thread, beside the original", results["times"])


def _measured(path: Path, data: str | None, repeats: int) -> dict[str, list[dict[str, Any]]]:
    with safe_open(path, "pt") as file:
        settings = Settings(**json.loads(file.metadata()["settings"]))
    pictures = read_pictures(data or settings.data, settings.channels, settings.crop)
    test = Test.of(pictures, settings)
    network = settings.network().eval()
    network.load_state_dict(load_file(path))
    batches = _crops(pictures, settings)
    separator = Separator(network, batches[0], batches, None, None, None)
    separated = {rank: separator.separation(Goal(rank=rank), None) for rank in RANKS}
    before = _by_picture(network, test)
    kernels = {"kernels": size_text((settings.kernel_size,) * 2)}
    bank = sk.extract(network)
    banks = {
        "energy lost": bank,
        "of matched noise": sk.matched_noise_like(bank),
        "of white noise": sk.white_noise_like(bank),
    }
    rows = []
    for rank, separation in separated.items():
        after = _by_picture(separation.module, test)
        differences = [own - its for own, its in zip(after, before, strict=True)]
        rows.append(
            {
                **kernels,
                "outer products": rank,
                "noisy": round(test.beside["psnr_noisy"], 2),
                "before": round(sum(before) / len(before), 2),
                "after": round(sum(after) / len(after), 2),
                "difference": [sum(differences) / len(differences), *mean_interval(differences)],
                "pictures": len(before),
                **{name: _energy_lost(one, rank) for name, one in banks.items()},
            }
        )
    everything = {"original": network, "control": network} | {
        f"{rank} outer products": one.module for rank, one in separated.items()
    }
    image = torch.rand(1, settings.channels, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
    return {"rows": rows, "times": [kernels | row for row in timed_rows(everything, image, repeats)]}


def _crops(pictures: Pictures, settings: Settings) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    clean = (pictures.crops(settings.batch, settings.crop, generator) for _ in range(_BATCHES))
    return [add_noise(one, settings.noise, generator) for one in clean]


def _by_picture(network: nn.Module, test: Test) -> list[float]:
    found = denoised(network, test.noisy)
    return [psnr(one[None], clean[None]) for one, clean in zip(found, test.clean, strict=True)]


def _energy_lost(bank: sk.FilterBank, rank: int) -> float:
    """Return the share of the energy of all kernels that their nearest sums of outer products leave."""
    kernels = torch.cat([layer.kernels.double() for layer in bank])
    left = kernels - products(low_rank(kernels, rank).factors)
    return round(float(left.square().sum() / kernels.square().sum()), 4)
