"""Sensitivity: trained filters to which white noise is added in known shares, and layers of which a part is noise.

In the first table each filter is a sum of itself and of white noise of the same mean and norm, with the given share of
the centred energy; in the second the given share of the filters is replaced by such noise.
"""

import argparse
from math import sqrt
from pathlib import Path
from typing import Any

import torch

import scalekeys as sk
from fit_sections.record import table
from scalekeys.filters import FilterBank
from scalekeys.fitting import formation
from scalekeys.shapes import size_text

HELP = "trained filters with noise in known shares"
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", help="checkpoints of trained networks")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    rows: dict[str, list[dict[str, Any]]] = {"energy": [], "filters": []}
    for source in arguments.sources:
        bank = sk.extract(source)
        for size in bank.sizes:
            filters, places = bank.of_size(size)
            varying = filters[(filters.flatten(1).std(1) > 0) & ~bank.negligible[places]]
            name = {"network": Path(source).stem, "kernel": size_text(size), "filters": len(varying)}
            one = FilterBank.from_tensor(varying)
            noise = sk.white_noise_like(one, seed=arguments.seed).layers[0].kernels
            generator = torch.Generator().manual_seed(arguments.seed)
            order = torch.rand(len(varying), generator=generator)
            mean = varying.mean((-2, -1), keepdim=True)
            energy, parts = dict(name), dict(name)
            for share in SHARES:
                mixed = mean + sqrt(1 - share) * (varying - mean) + sqrt(share) * (noise - mean)
                energy[f"{share:.0%}"] = _formation(mixed)
                parts[f"{share:.0%}"] = _formation(torch.where((order < share)[:, None, None], noise, varying))
            rows["energy"].append(energy)
            rows["filters"].append(parts)
    return rows


def show(results: dict[str, Any]) -> None:
    table("formation by the share of noise in the energy of each filter", results["energy"])
    table("formation by the share of filters that are noise", results["filters"])


def _formation(filters: torch.Tensor) -> float:
    found = formation(sk.fit(filters)).network.white
    assert found is not None
    return round(found.value, 3)
