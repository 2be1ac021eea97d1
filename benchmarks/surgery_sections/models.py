"""What is left of a network when its filters of 5x5 and more are replaced by models or controls, without any training.

One protocol for every row: the statistics of the changed network are matched to those of the original on one half of
the images, without labels, and accuracy is measured on the other half; and the reverse; both halves together are
reported. Filters of 3x3 stay: nine numbers for nine taps replace nothing.

Rows are kept in a folder for temporary files, so that an interrupted run goes on where it stopped.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import scalekeys as sk
from fit_sections.record import Progress, table
from scalekeys.networks import Evaluation
from surgery_sections.approximations import Approximation, r2_of
from surgery_sections.candidates import PLAIN, ROUNDED, budget_of
from surgery_sections.comparisons import MARGIN, compared, in_words
from surgery_sections.halves import Halves
from surgery_sections.wide_filters import Group, Learned, replacement

_WITHIN = {
    2: ("sparse", "components", "cosines", "best cosines", "low rank", "taps"),
    3: ("sparse", "components", "cosines", "taps", "taps, largest sets the step"),
    4: ("taps",),
}
"""Rounded models by bits a tap."""


@dataclass(frozen=True)
class Case:
    """A row: a model, and bits a tap, if it is rounded."""

    model: str
    bits: int | None = None

    @property
    def name(self) -> str:
        return self.model if self.bits is None else f"{self.model}/{self.bits}"


def cases() -> Iterator[Case]:
    """Give all rows."""
    for model in PLAIN:
        yield Case(model)
    for bits, models in _WITHIN.items():
        for model in models:
            yield Case(model, bits)


class Models:
    """What is left of a network when its filters of 5x5 and more are replaced, without any training.

    One protocol for every row: statistics matched to the original on one half of the images, without labels, accuracy
    on the other half, and the reverse; both halves together.
    """

    def __init__(self, network: str, halves: Callable[[], Halves]) -> None:
        self.HELP = f"replace the filters of {network} by models and controls, and evaluate it on the other half"
        self._halves = halves

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        names = [case.name for case in cases()]
        parser.add_argument("--cases", nargs="+", choices=names, metavar="MODEL[/BITS]", help="only these rows")
        folder = Path(tempfile.gettempdir()) / "scalekeys-surgery"
        parser.add_argument(
            "--keep", type=Path, default=folder, help="folder of measured rows; empty it after changes of the code"
        )

    def run(self, arguments: argparse.Namespace) -> dict[str, Any]:
        halves = self._halves()
        kept = arguments.keep / f"{arguments.section}.json"
        kept.parent.mkdir(parents=True, exist_ok=True)
        rows: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
        asked = [case for case in cases() if arguments.cases is None or case.name in arguments.cases]
        missing = [case for case in asked if case.name not in rows]
        progress = Progress(arguments.section, len(missing))
        learned = Learned(halves.network)
        for case in missing:
            rows[case.name] = measured(halves, case, learned)
            _write(rows, kept)
            progress.advance(1)
        return summary(halves, [rows[case.name] for case in asked])

    def show(self, results: dict[str, Any]) -> None:
        named = ("model", "bits_a_tap", "numbers", "median_r2", "top1")
        rows = [
            {key: row[key] for key in named} | {key: in_words(row[key]) for key in ("to_original", "to_sparse")}
            for row in results["rows"]
        ]
        title = f"top-1 in percent; the original has {results['original_top1']}; margin of {MARGIN:g} points"
        counts = f"{results['comparisons_to_original']} and {results['comparisons_to_sparse']} comparisons"
        table(f"{title}; {counts}", rows)


def measured(halves: Halves, case: Case, learned: Learned) -> dict[str, Any]:
    """Replace, match, evaluate."""
    made = {group.side: _made(case, group) for group in learned.groups}
    result = halves.matched([sk.replace(halves.network, replacement(learned, made, case.model))] * 2)
    return {
        "model": case.model,
        "bits_a_tap": case.bits,
        "numbers": {side: one.numbers for side, one in made.items()},
        "bits": {side: round(one.bits, 1) for side, one in made.items()} if case.bits else None,
        "what": {side: one.what for side, one in made.items()} if case.bits else None,
        "median_r2": {
            group.side: round(float(r2_of(group.filters, made[group.side].filters).median()), 3)
            for group in learned.groups
        },
        "top1": round(100 * result.top1, 2),
        "correct": np.packbits(result.correct1.numpy()).tobytes().hex(),
    }


def summary(halves: Halves, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Compare each row with the original, and with the sparse model of the same size."""

    def evaluation(row: dict[str, Any]) -> Evaluation:
        labels = halves.original.labels
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(row["correct"]), dtype=np.uint8))[: len(labels)]
        correct = torch.from_numpy(bits.astype(bool))
        return Evaluation(correct, correct, labels, halves.original.classes)

    found = [evaluation(row) for row in rows]
    sparse = {_size_of(row): one for row, one in zip(rows, found, strict=True) if _is_sparse(row)}
    against = [None if _is_sparse(row) else sparse.get(_size_of(row)) for row in rows]
    pairs = [(one, other) for one, other in zip(found, against, strict=True) if other is not None]
    to_sparse = iter(compared(pairs))
    for row, one, other in zip(rows, compared([(one, halves.original) for one in found]), against, strict=True):
        row["to_original"] = one
        row["to_sparse"] = None if other is None else next(to_sparse)
    return {
        "original_top1": round(100 * halves.original.top1, 2),
        "images": halves.original.count,
        "margin": MARGIN,
        "comparisons_to_original": len(rows),
        "comparisons_to_sparse": len(pairs),
        "rows": rows,
    }


def _is_sparse(row: dict[str, Any]) -> bool:
    """Tell whether a row is that of the sparse model of its size, with which all others are compared."""
    return row["model"] in ("sparse", "sparse5", "sparse9")


def _size_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what rows have to share to be compared: bits a tap, or numbers of the widest filters."""
    numbers = None if row["bits_a_tap"] else list(row["numbers"].values())[-1]
    return row["bits_a_tap"], numbers


def _made(case: Case, group: Group) -> Approximation:
    make = PLAIN[case.model] if case.bits is None else partial(_rounded, case.model, case.bits)
    found = make(group)
    if found is None:
        raise SystemExit(f"{case.name}: too few bits for filters of {group.side}x{group.side}")
    return found


def _rounded(model: str, bits: int, group: Group) -> Approximation | None:
    return ROUNDED[model](group, budget_of(group.side, bits))


def _write(rows: dict[str, Any], path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(rows))
    temporary.replace(path)
