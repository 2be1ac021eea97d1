"""How much memory a long stream of filters needs.

Batches of random 7x7 filters are made, fitted, and written to one Parquet file in a temporary folder, by a process of
its own. What it needs at most must not grow with their number: its peak is read after a tenth of them and at the end.
"""

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

import scalekeys as sk
from fit_sections import samples
from fit_sections.record import Progress, table

HELP = "measure the peak memory of a long stream of filters"
_SIDE = 7
_WARM_UP = 256


@dataclass(frozen=True)
class _Stream:
    filters: int
    batch: int
    seed: int
    threads: int
    file: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--filters", type=int, default=10_000_000)
    parser.add_argument("--batch", type=int, default=250_000)
    parser.add_argument("--model", default="ideal8")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "filters.parquet"
        stream = _Stream(arguments.filters, arguments.batch, arguments.seed, torch.get_num_threads(), file)
        here, there = context.Pipe(duplex=False)
        child = context.Process(target=_work, args=(stream, arguments.model, there))
        child.start()
        there.close()
        results: dict[str, Any] = here.recv()
        child.join()
        rows = pq.ParquetFile(file).metadata.num_rows
        if rows != arguments.filters:
            raise SystemExit(f"{rows} rows were written for {arguments.filters} filters")
        return results | {"file_mib": file.stat().st_size / 2**20}


def show(results: dict[str, Any]) -> None:
    table("peak memory", results["peaks"])
    table("the whole stream", [{name: value for name, value in results.items() if name != "peaks"}])


def _work(stream: _Stream, model: str, results: Connection) -> None:
    """Fit and write batch by batch, in a process of its own."""
    torch.set_num_threads(stream.threads)
    sk.fit(samples.noise(_WARM_UP, _SIDE, stream.seed), model)
    peaks, done, fitting, writing, writer = [{"filters": 0, "peak_mib": peak_mib()}], 0, 0.0, 0.0, None
    progress, start = Progress("filters", stream.filters), time.perf_counter()
    while done < stream.filters:
        count = min(stream.batch, stream.filters - done)
        filters = samples.noise(count, _SIDE, stream.seed + done)
        begin = time.perf_counter()
        fitted = sk.fit(filters, model)
        between = time.perf_counter()
        rows = fitted.to_arrow()
        writer = writer or pq.ParquetWriter(stream.file, rows.schema)
        writer.write_table(rows)
        fitting += between - begin
        writing += time.perf_counter() - between
        del filters, fitted, rows
        done += count
        progress.advance(count)
        if len(peaks) == 1 and done >= stream.filters / 10:
            peaks.append({"filters": done, "peak_mib": peak_mib()})
    if writer is not None:
        writer.close()
    seconds = time.perf_counter() - start
    peaks.append({"filters": done, "peak_mib": peak_mib()})
    shares = {"share_of_fitting": fitting / seconds, "share_of_writing": writing / seconds}
    results.send({"peaks": peaks, "s": seconds, "filters_per_s": round(done / seconds)} | shares)
    results.close()


def peak_mib() -> float:
    """Peak memory of this process; what the system calls so elsewhere includes that of its parent on Linux."""
    listing = Path("/proc/self/status")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
