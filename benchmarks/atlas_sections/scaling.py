"""Time, memory, disk and the time of a question for more and more filters.

Each number of 7x7 filters is made twice: as many networks of 10,000 filters in 10 layers, and as one network of as many
layers. Each atlas is built in a process of its own, in that process; its peak must not grow with the number.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import scalekeys as sk
from atlas_sections import checkpoints
from fit_sections.memory import peak_mib
from fit_sections.record import table

HELP = "time, memory and disk for 10^4 to 10^6 filters"
_NETWORK, _LAYER = 10_000, 1_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    rows = []
    for size in arguments.sizes:
        for what, network in (("networks", _NETWORK), ("one network", size)):
            if what == "networks" or size > _NETWORK:
                rows.append({"made of": what} | _measured(size, network, arguments.seed))
    return {"runs": rows}


def show(results: dict[str, Any]) -> None:
    table("many filters", results["runs"])


def _measured(size: int, network: int, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        checkpoints.of_filters(Path(name), size, layers=network // _LAYER, network=network, seed=seed)
        command = [sys.executable, "-m", "atlas_sections.scaling", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        built: dict[str, Any] = json.loads(done.stdout)
        disk = sum(path.stat().st_size for path in (Path(name) / "atlas").rglob("*.parquet")) / 2**20
        start = time.perf_counter()
        rows = sk.atlas.open(Path(name) / "atlas").named("r2-by-kernel-size").to_arrow().to_pylist()
        asked = time.perf_counter() - start
        if sum(row["filters"] for row in rows) != size:
            raise SystemExit(f"the atlas has {rows}, not {size} filters")
    return {"filters": size, **built, "disk_mib": round(disk, 1), "question_s": round(asked, 3)}


def _build(folder: Path) -> dict[str, Any]:
    before, start, processor = peak_mib(), time.perf_counter(), time.process_time()
    summary = sk.atlas.build([folder / "*.safetensors"], folder / "atlas")
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    return {
        "s": round(seconds, 2),
        "filters_per_s": round(summary.filters / seconds),
        "filters_per_processor_s": round(summary.filters / processor),
        "before_mib": round(before),
        "peak_mib": round(peak_mib()),
    }


if __name__ == "__main__":
    print(json.dumps(_build(Path(sys.argv[1]))))
