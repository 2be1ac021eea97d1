"""How much of the time of an atlas goes into fits.

The same networks are fitted twice on one processor, in turns: bare, as three calls of ``sk.fit`` on banks that are in
memory, and by ``sk.atlas.build`` in this process, with its reading, hashing, writing and settling. What is compared is
the time of the processor, which other work on the machine disturbs less.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

import scalekeys as sk
from atlas_sections import checkpoints
from fit_sections.record import table

HELP = "compare an atlas with its bare fits"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        paths = [made.path for made in checkpoints.from_timm(Path(name), arguments.networks, arguments.seed)]
        banks = [sk.extract(path) for path in paths]
        filters = sum(map(len, banks))
        bare_fits(banks)
        bare, built, again = [], [], []
        for repeat in range(arguments.repeats):
            atlas = Path(name) / f"atlas{repeat}"
            bare.append(processor_s(partial(bare_fits, banks)))
            built.append(processor_s(partial(sk.atlas.build, paths, atlas)))
            again.append(processor_s(partial(sk.atlas.build, paths, atlas)))
        size = sum(path.stat().st_size for path in atlas.rglob("*.parquet"))
    rows = [
        {
            "what": what,
            "processor_s": min(times),
            "filters_per_s": round(filters / min(times)),
            "over_bare": min(times) / min(bare),
        }
        for what, times in (("bare fits", bare), ("atlas", built), ("atlas, nothing to do", again))
    ]
    return {"networks": len(paths), "filters": filters, "bytes_per_filter": round(size / filters), "times": rows}


def show(results: dict[str, Any]) -> None:
    table(f"{results['networks']} networks, {results['filters']} filters, one processor", results["times"])
    print(f"  {results['bytes_per_filter']} bytes a filter on disk")


def bare_fits(banks: list[sk.FilterBank]) -> None:
    """Do to filters in memory what an atlas does to them."""
    for bank in banks:
        sk.fit(bank)
        sk.fit(bank, "jet2")
        sk.fit(sk.white_noise_like(bank))


def processor_s(work: Callable[[], object]) -> float:
    """Return the time of the processor that something takes in this process."""
    start = time.process_time()
    work()
    return time.process_time() - start
