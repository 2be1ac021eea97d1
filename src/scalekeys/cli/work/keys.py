"""What ``scalekeys keys`` does: read options and sources, cluster, write."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scalekeys.checkpoints import extract, write_filters
from scalekeys.checkpoints.core.kinds import DEPTHWISE
from scalekeys.cli.work import Step
from scalekeys.cli.work.eliminate import Opened
from scalekeys.cli.work.search import Search
from scalekeys.clustering import Keys
from scalekeys.filters import FilterBank
from scalekeys.report.keys import KeysSummary, write_keys_report

MOST = 16
"""The largest number of keys that is compared with others."""


def read_banks(sources: Sequence[str], *, weights: str | None, kinds: str = DEPTHWISE, step: Step) -> list[FilterBank]:
    """Read the filters of every source."""
    banks = []
    for source in sources:
        step(f"reading {source}")
        banks.append(extract(source, weights=weights, kinds=kinds))
    return banks


def find_keys(
    banks: Sequence[FilterBank],
    folder: Path,
    *,
    k: int | None,
    search: Search,
    threshold: float,
    curve: bool,
    opened: Opened | None,
    step: Step,
) -> KeysSummary:
    """Find keys, as many as recommended where `k` is None, and write report, keys and members into a folder.

    With a network that was opened for an elimination the keys are those that the elimination leaves.
    """
    candidates = None if opened is None else opened.candidates(banks, search, step)
    keys = search.keys(banks, k or 1, step, controls=k is not None)
    most = min(MOST, int(keys.counts.sum()) // 2)  # each half of the filters has as many keys
    choice = search.choice(banks, range(1, most + 1), step) if curve else None
    if k is None:
        keys = search.keys(banks, 1 if choice is None else choice.best, step)
    elimination = None
    if opened is not None and candidates is not None:
        keys, elimination = opened.eliminate(candidates, keys, search, step)
    write_keys(keys, folder)
    step("modelling the keys")
    return write_keys_report(keys, folder / "report.html", choice=choice, threshold=threshold, elimination=elimination)


def write_keys(keys: Keys, folder: Path) -> None:
    """Write ``keys.npy``, ``keys.csv`` and ``members.parquet`` into a folder; no table for keys of three axes."""
    filters = keys.filters.cpu()
    np.save(folder / "keys.npy", filters.numpy())
    rows = filters[:, None] if filters.ndim == 2 else filters  # a key of one axis is a row
    if rows.ndim == 3:
        write_filters(rows, folder / "keys.csv")
    with (folder / "members.parquet").open("wb") as file:  # as Arrow takes no path that is not in UTF-8
        pq.write_table(pa.Table.from_pandas(keys.to_pandas(), preserve_index=False), file)
