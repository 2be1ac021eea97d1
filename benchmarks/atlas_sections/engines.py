"""The same atlas by every engine: in a process, in processes, on a Ray cluster of this machine.

Each run is a process of its own, as a user starts it, and its time includes the start of Python, workers and cluster.
The tables must be the same to the last bit.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from atlas_sections import checkpoints
from fit_sections.command import SCALEKEYS
from fit_sections.record import table

HELP = "compare in-process, processes and Ray"
_OPTIONS = {
    "here": ("--workers", "0"),
    "1": ("--workers", "1"),
    "2": ("--workers", "2"),
    "4": ("--workers", "4"),
    "ray": ("--ray", "local", "--workers", "2"),
}
_TABLES = ("networks.parquet", "failures.parquet", "filters/*.parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", type=int, default=10)
    parser.add_argument("--engines", nargs="+", choices=_OPTIONS, default=["here", "1", "2", "ray"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoints.from_timm(folder, arguments.networks, arguments.seed)
        times: dict[str, list[float]] = {engine: [] for engine in arguments.engines}
        for repeat in range(arguments.repeats):
            for engine in arguments.engines:
                times[engine].append(_seconds(folder, f"{engine}-{repeat}", _OPTIONS[engine]))
        first = content(folder / f"{arguments.engines[0]}-0")
        rows = [
            {
                "engine": engine,
                "s": round(min(seconds), 2),
                "speedup": round(min(times[arguments.engines[0]]) / min(seconds), 2),
                "same_tables": content(folder / f"{engine}-0") == first,
            }
            for engine, seconds in times.items()
        ]
        return {"networks": arguments.networks, "mib": round(sum(map(len, first.values())) / 2**20, 1), "runs": rows}


def show(results: dict[str, Any]) -> None:
    table(f"{results['networks']} networks by each engine", results["runs"])


def _seconds(folder: Path, atlas: str, options: tuple[str, ...]) -> float:
    verb = ["atlas", "build", "*.safetensors", "-o", atlas, "--json", *options]
    start = time.perf_counter()
    command = [*SCALEKEYS, *verb]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return time.perf_counter() - start


def content(atlas: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for pattern in _TABLES for path in sorted(atlas.glob(pattern))}
