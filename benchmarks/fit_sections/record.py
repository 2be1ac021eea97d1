"""What every section needs: the machine and versions beside its figures, tables, and one JSON file for all sections."""

import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import scalekeys

_QUIET_S = 30

RESULTS = Path(__file__).parents[1] / "results" / "fit.json"


def machine() -> dict[str, Any]:
    """Describe the machine without naming it; the load tells whether it was at rest."""
    return {
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    names = ("torch", "numpy", "scipy", "scikit-learn", "pyarrow", "duckdb")
    installed = {name: version(name) for name in names}
    return {"python": platform.python_version(), "scalekeys": scalekeys.__version__} | installed


def save(section: str, results: dict[str, Any], output: Path) -> None:
    """Replace one section of the file and leave the others as they are."""
    known = json.loads(output.read_text()) if output.exists() else {}
    known[section] = results
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_suffix(".part")
    temporary.write_text(json.dumps(known, indent=2, allow_nan=False) + "\n")
    temporary.replace(output)


def table(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print rows that share their keys under a title; the keys are the headings."""
    print(f"\n{title}")
    if not rows:
        print("  (nothing)")
        return
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    for row in cells:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


class Progress:
    """A line on standard error that says how far a long run is, and how long it may still take.

    On a terminal it is renewed in place, elsewhere a new one follows every half minute.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done, self._skipped = what, total, 0, 0
        self._start = self._said = time.perf_counter()

    def skip(self, count: int) -> None:
        """Count what was done in an earlier run."""
        self._done, self._skipped = self._done + count, self._skipped + count

    def advance(self, count: int) -> None:
        self._done += count
        now, in_place = time.perf_counter(), sys.stderr.isatty()
        over = self._done >= self._total
        if not (in_place or over or now - self._said > _QUIET_S):
            return
        self._said, seconds = now, now - self._start
        left = seconds / (self._done - self._skipped) * (self._total - self._done)
        line = f"{self._what}: {self._done}/{self._total}, {seconds:.0f} s, about {left:.0f} s left"
        begin, end = ("\r", "   \n" if over else "   ") if in_place else ("", "\n")
        print(begin + line, end=end, file=sys.stderr, flush=True)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)


def _cpu_model() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
