"""Hundreds of networks, as a user would read them: built from the command line, killed on the way, and reported on.

The driver is killed (SIGKILL) once when half of the networks are done; the same command then goes on. Its tables are
compared with those of an undisturbed build. Beside the made checkpoints stand real ones, a file that is none, and one
network under a second name. What was planted, the share of noise and the number of parameters, is the metadata.
"""

import argparse
import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

import scalekeys as sk
from atlas_sections import checkpoints
from atlas_sections.engines import content
from atlas_sections.throughput import bare_fits, processor_s
from fit_sections.command import SCALEKEYS
from fit_sections.record import table

HELP = "build an atlas of hundreds of networks, kill it on the way, go on and report"

_SAMPLE = 20  # networks that are fitted bare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--real", nargs="*", default=[], help="trained checkpoints to add")
    parser.add_argument("--keep", help="folder for atlas and report, which are else removed")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = checkpoints.from_timm(folder, arguments.networks, arguments.seed)
        _add_awkward(made[0].path)
        _write_list(folder / "models.csv", made, [Path(name).resolve() for name in arguments.real])
        bare = _bare([one.path for one in made[:: max(1, len(made) // _SAMPLE)]])
        start, before = time.perf_counter(), _children_s()
        undisturbed = _finished(folder, "undisturbed", arguments.workers)
        seconds, processor = time.perf_counter() - start, _children_s() - before
        done_when_killed = _killed_half_way(folder, "killed", arguments)
        _finished(folder, "killed", arguments.workers)
        start = time.perf_counter()
        _command(folder, "atlas", "report", "killed", "-o", "report")
        reported = time.perf_counter() - start
        atlas = sk.atlas.open(folder / "killed")
        results = {
            "undisturbed_s": round(seconds, 1),
            "filters": undisturbed["filters"],
            "filters_per_s": round(undisturbed["filters"] / seconds),
            "filters_per_processor_s": round(undisturbed["filters"] / processor),
            "bare_filters_per_processor_s": round(bare),
            "share_of_bare": round(undisturbed["filters"] / processor / bare, 2),
            "done_when_killed": done_when_killed,
            "same_tables_after_kill": content(folder / "undisturbed") == content(folder / "killed"),
            "report_s": round(reported, 1),
            "networks": atlas.sql("select count(*) as n from networks").to_arrow().to_pylist()[0]["n"],
            "duplicates": atlas.sql("select count(duplicate_of) as n from networks").to_arrow().to_pylist()[0]["n"],
            "failures": atlas.sql("select source, error from failures").to_arrow().to_pylist(),
            "kernels": atlas.named("r2-by-kernel-size").to_arrow().to_pylist(),
        }
        if arguments.keep is not None:
            shutil.copytree(folder / "killed", Path(arguments.keep) / "atlas")
            shutil.copytree(folder / "report", Path(arguments.keep) / "report")
        return results


def show(results: dict[str, Any]) -> None:
    table("an atlas of many networks", [{key: value for key, value in results.items() if not isinstance(value, list)}])
    table("failures", results["failures"])
    table("kernels", results["kernels"])


def _bare(paths: list[Path]) -> float:
    """Return how many filters a second of the processor fits where nothing else is done."""
    torch.set_num_threads(1)
    banks = [sk.extract(path) for path in paths]
    bare_fits(banks[:1])
    seconds = processor_s(partial(bare_fits, banks))
    return sum(map(len, banks)) / seconds


def _children_s() -> float:
    """Return the time of the processor that finished child processes have taken, with their own children."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _add_awkward(one: Path) -> None:
    """Put a second name of a network beside it, and a file that is no checkpoint."""
    shutil.copy(one, one.with_name(f"again-{one.name}"))
    one.with_name("broken.safetensors").write_bytes(b"no header")


def _write_list(path: Path, made: list[checkpoints.Made], real: list[Path]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "architecture", "million_parameters", "noise_share"])
        for one in made:
            writer.writerow([one.path.name, one.architecture.split("_")[0], one.parameters / 1e6, one.noise_share])
        for source in ("broken.safetensors", f"again-{made[0].path.name}", *real):
            writer.writerow([source, "", "", ""])


def _arguments(atlas: str, workers: int) -> list[str]:
    return ["atlas", "build", "models.csv", "-o", atlas, "--json", "--workers", str(workers)]


def _started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [*SCALEKEYS, *arguments]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )


def _command(folder: Path, *arguments: str) -> str:
    process = _started(folder, *arguments)
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"scalekeys {' '.join(arguments)} ended with status {process.returncode}")
    return output


def _finished(folder: Path, atlas: str, workers: int) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads(_command(folder, *_arguments(atlas, workers)))
    return summary


def _killed_half_way(folder: Path, atlas: str, arguments: argparse.Namespace) -> int:
    """Start a build, kill the whole session of its driver when half of the networks are done, and say how many were."""
    process = _started(folder, *_arguments(atlas, arguments.workers))
    while process.poll() is None and _done(folder / atlas) < arguments.networks // 2:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return _done(folder / atlas)


def _done(atlas: Path) -> int:
    return sum(1 for _ in atlas.glob("filters/*.parquet"))
