"""How much jets and sparse jets explain, beside both controls.

Filters of each size of a network are drawn at random, and white noise and matched noise are taken in the same places.
"""

import argparse
from typing import Any

import torch

import scalekeys as sk
from fit_sections.record import Progress, table
from fit_sections.samples import generator

HELP = "how much jets and sparse jets explain"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="checkpoint")
    parser.add_argument("--models", nargs="+", default=("jet2", "sparse6", "jet3", "sparse10"))
    parser.add_argument("--sizes", nargs="+", type=int, default=(5, 7), help="sides of the kernels")
    parser.add_argument("--filters", type=int, default=200, help="of each size")
    parser.add_argument("--seed", type=int, default=0, help="of the sample and of the noise")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    bank = sk.extract(arguments.source)
    kinds = {
        "filters": bank,
        "matched noise": sk.matched_noise_like(bank, seed=arguments.seed),
        "white noise": sk.white_noise_like(bank, seed=arguments.seed),
    }
    progress = Progress("fits", len(arguments.sizes) * len(kinds) * len(arguments.models))
    rows = []
    for side in arguments.sizes:
        stacks = {kind: own.of_size((side, side))[0] for kind, own in kinds.items()}
        chosen = torch.randperm(len(stacks["filters"]), generator=generator(arguments.seed))[: arguments.filters]
        for model in arguments.models:
            row: dict[str, Any] = {"kernel": f"{side}x{side}", "filters": len(chosen), "model": model}
            for kind, stack in stacks.items():
                row[f"{kind}: median r2"] = round(float(sk.fit(stack[chosen], model).r2.nanmedian()), 4)
                progress.advance(1)
            rows.append(row)
    return {"medians": rows}


def show(results: dict[str, Any]) -> None:
    table("share of energy explained, medians", results["medians"])
