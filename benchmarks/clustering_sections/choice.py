"""How many keys are recommended for planted ones.

Noise of the energy of the signal in each filter; the truth is the last K of the published keys.
"""

import argparse
import time
from typing import Any

import scalekeys as sk
from clustering_sections.samples import planted
from fit_sections.record import Progress, table

HELP = "the recommended number of keys, where it is known"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--filters", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--truth", type=int, nargs="+", default=[3, 5, 8], help="numbers of keys, at most 8")
    parser.add_argument("--largest", type=int, default=10, help="largest number that is tried")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    numbers = range(1, arguments.largest + 1)
    progress = Progress("numbers of keys", len(numbers) * len(arguments.truth) * arguments.seeds)
    chosen, curves = [], []
    for count in arguments.truth:
        for seed in range(arguments.seeds):
            filters = planted(sk.master_keys()[8 - count :], arguments.filters, seed, "each")
            start = time.perf_counter()
            choice = sk.choose_k(filters, numbers, seed=seed, progress=progress.advance)
            row = {"keys": count, "seed": seed, "recommended": choice.best, "s": round(time.perf_counter() - start, 1)}
            chosen.append(row)
            if seed == 0:
                curves += [{"keys": count} | dict(row) for row in choice.table.round(4).to_dict("records")]
    return {"chosen": chosen, "curves": curves}


def show(results: dict[str, Any]) -> None:
    table("recommended numbers of keys", results["chosen"])
    table("their curves", results["curves"])
