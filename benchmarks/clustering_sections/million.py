"""One million 7x7 filters: time and peak memory, in memory and in batches, each in a process of its own.

`planted` are noisy copies of the published keys. `continuum` are random filters of a power spectrum that falls as
1/f^2, smoothly spread instead of in groups, on which the iteration settles slowly.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import scalekeys as sk
from fit_sections.record import table

HELP = "time and memory for very many filters"
_KINDS = ("planted", "continuum")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--filters", type=int, default=1_000_000)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--kinds", nargs="+", choices=_KINDS, default=_KINDS)
    parser.add_argument("--batch-size", type=int, default=50_000)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    rows = []
    for kind in arguments.kinds:
        for batch in (0, arguments.batch_size):
            words = [kind, arguments.filters, arguments.k, batch, torch.get_num_threads()]
            command = [sys.executable, "-m", "clustering_sections.million", *map(str, words)]
            done = subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parents[1])
            rows.append(json.loads(done.stdout))
    return {"runs": rows}


def show(results: dict[str, Any]) -> None:
    table("very many filters", results["runs"])


def _filters(kind: str, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    filters = torch.randn(count, 7, 7, generator=generator)
    if kind == "planted":
        filters *= 1 / 7
        for part in filters.split(2**16):
            label = torch.randint(8, (len(part),), generator=generator)
            part += sk.master_keys().float()[label] * torch.randn(len(part), 1, 1, generator=generator).sign()
        return filters
    x = torch.arange(7.0)
    distance = (x[:, None] - x).abs()
    root = torch.linalg.cholesky(torch.exp(-distance / 3))
    for part in filters.split(2**16):
        part.copy_(root @ part @ root.T)
    return filters


def _measure(kind: str, count: int, k: int, batch: int, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    filters = _filters(kind, count)
    before = _peak()
    start, worked = time.perf_counter(), time.process_time()
    keys = sk.cluster(filters, k, batch_size=batch or None)
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    return {
        "filters": kind,
        "batch": batch or None,
        "threads": threads,
        "s": round(seconds, 1),
        "processor s": round(worked, 1),
        "peak MiB": round(_peak()),
        "before MiB": round(before),
        "explained %": round(100 * keys.explained, 2),
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], *map(int, sys.argv[2:]))))
