"""Whether known keys are recovered, and how many restarts recover them with and without swaps.

The eight published keys, two of which correlate by 0.90; noise of the energy of the signal, in each filter or over all.
Success means that each key is matched, one to one, by a found one of correlation 0.99 or more.
"""

import argparse
import time
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

import scalekeys as sk
from clustering_sections.samples import planted, unit
from fit_sections.record import Progress, table
from scalekeys.clustering.search import search

HELP = "recovery of known keys over seeds, and what swaps are worth"
_SUCCESS, _FEW = 0.99, 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--filters", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--search-seeds", type=int, default=5, help="seeds on which swaps are tried")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    cases = [("each", "none", arguments.seeds), ("all", "none", arguments.seeds), ("each", "dihedral", _FEW)]
    recovery = [_recovery(arguments, noise, symmetry, seeds) for noise, symmetry, seeds in cases]
    return {"recovery": recovery, "restarts": [_restarts(arguments, swaps) for swaps in (0, 8, 16, 32, 64)]}


def show(results: dict[str, Any]) -> None:
    table("planted keys", results["recovery"])
    table("single restarts", results["restarts"])


def _recovery(arguments: argparse.Namespace, noise: str, symmetry: str, seeds: int) -> dict[str, Any]:
    """Cluster with every seed. With symmetry the truth is 3 random filters, turned and mirrored."""
    smallest, seconds = [], []
    progress = Progress(f"noise in {noise}, symmetry {symmetry}", seeds)
    for seed in range(seeds):
        truth = sk.master_keys() if symmetry == "none" else _images(_random(3, seed))
        k = len(truth) if symmetry == "none" else 3
        filters = planted(truth, arguments.filters, seed, noise)
        start = time.perf_counter()
        keys = sk.cluster(filters, k, seed=seed, restarts=arguments.restarts, symmetry=symmetry)  # type: ignore[arg-type]
        seconds.append(time.perf_counter() - start)
        found = keys.filters if symmetry == "none" else _images(keys.filters)
        smallest.append(float(_matched(unit(found), unit(truth)).min()))
        progress.advance(1)
    return {
        "noise": noise,
        "symmetry": symmetry,
        "seeds": seeds,
        "successes": sum(value >= _SUCCESS for value in smallest),
        "smallest correlation": round(min(smallest), 5),
        "median": round(float(torch.tensor(smallest).median()), 5),
        "median s": round(float(torch.tensor(seconds).median()), 2),
    }


def _restarts(arguments: argparse.Namespace, swaps: int) -> dict[str, Any]:
    """Search without any refinement, and count the restarts that succeed by themselves."""
    successes, total, seconds = 0, 0, 0.0
    for seed in range(arguments.search_seeds):
        rows = unit(planted(sk.master_keys(), 16_384, seed, "each"))
        start = time.perf_counter()
        keys, _ = search(
            rows.float(),
            torch.ones(len(rows)),
            8,
            torch.arange(49)[None],
            seed=seed,
            restarts=arguments.restarts,
            swaps=swaps,
        )
        seconds += time.perf_counter() - start
        found = [float(_matched(solution.double(), unit(sk.master_keys())).min()) for solution in keys]
        successes, total = successes + sum(value >= _SUCCESS for value in found), total + len(found)
    return {
        "swaps": swaps,
        "restarts": total,
        "succeed %": round(100 * successes / total, 1),
        "s for ten": round(10 * seconds / total, 2),
    }


def _matched(found: Tensor, truth: Tensor) -> Tensor:
    """Size of the correlation of each true key with the found one that is matched to it."""
    size = (truth @ found.T).abs().numpy()
    return torch.from_numpy(size[linear_sum_assignment(-size)])


def _random(count: int, seed: int) -> Tensor:
    return torch.randn(count, 7, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _images(filters: Tensor) -> Tensor:
    return torch.cat(
        [torch.rot90(image, turns, (-2, -1)) for image in (filters, filters.flip(-1)) for turns in range(4)]
    )
