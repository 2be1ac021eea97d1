"""Findings about keys: how many a network needs, and whether those of some tasks serve the others.

They rest on the filters themselves, which an atlas does not hold, and so on tables that are made beside it:
``python benchmarks/clustering.py universal`` writes them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from scalekeys.errors import DataError
from scalekeys.optional import first_line
from scalekeys.report.findings import figures
from scalekeys.report.findings.claims import told
from scalekeys.report.findings.estimates import mean_over_designs
from scalekeys.report.findings.finding import Comparison, Finding, sentence

NETWORKS, TASKS = "universal_networks", "universal_tasks"
"""Names of the tables without their ending: a row a network, kernel and number of keys, and one a task and kernel."""

KEYS = 8
"""How many keys the claim names."""

_SHARES = ("held_out", "own", "matched_noise", "published", "random", "white_noise")
_LIKE = ("like_published_explained", "like_published_matched_noise")
_TEXTS = ("network", "series", "group", "kernel")
_COLUMNS = {
    NETWORKS: ("network", "series", "kernel", "k", "explained", "matched_noise", "white_noise", *_LIKE),
    TASKS: ("group", "kernel", *_SHARES),
}

_Row = Mapping[str, Any]


def read_tables(folder: Path) -> dict[str, pa.Table]:
    """Read both tables of keys.

    Raises
    ------
    DataError
        If one is missing, or is no such table.
    """
    tables = {}
    for name, columns in _COLUMNS.items():
        path = folder / f"{name}.csv"
        try:
            tables[name] = pa_csv.read_csv(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: cannot be read as a table of keys ({first_line(error)})") from None
        missing = [column for column in columns if column not in tables[name].column_names]
        if missing:
            raise DataError(f"{path}: has no column {missing[0]!r}; `benchmarks/clustering.py universal` writes it")
        wrong = [column for column in columns if not _complete(column, tables[name][column])]
        if wrong or not len(tables[name]):
            what = f"its column {wrong[0]!r} holds what is no number" if wrong else "it has no rows"
            raise DataError(f"{path}: is no table of keys ({what}); `benchmarks/clustering.py universal` writes it")
    if KEYS not in tables[NETWORKS]["k"].to_pylist():
        raise DataError(f"{folder / NETWORKS}.csv: has no row of {KEYS} keys, which the claim names; add them")
    return tables


def _complete(column: str, values: pa.ChunkedArray) -> bool:
    """Tell whether a column holds numbers where it should, and leaves out none that are needed."""
    if column in _TEXTS:
        return True
    number = pa.types.is_floating(values.type) or pa.types.is_integer(values.type)
    return (column in _LIKE and (number or pa.types.is_null(values.type))) or (number and not values.null_count)


def key_findings(tables: Mapping[str, pa.Table]) -> Iterator[Finding]:
    """Say how many keys networks need, and whether keys are universal."""
    yield _needed(tables[NETWORKS])
    yield _shared(tables[TASKS])


def _needed(table: pa.Table) -> Finding:
    rows = table.to_pylist()
    eight = [row for row in rows if row["k"] == KEYS]
    kernels = _by_kernel(eight)
    tests = [
        _difference("keys-needed", name, some, "explained", "series")
        for name, some in [("all kernels", eight), *kernels]
    ]
    alike = [row for row in eight if row["like_published_explained"] is not None]
    found = mean_over_designs(
        [row["like_published_explained"] - row["like_published_matched_noise"] for row in alike],
        [row["series"] for row in alike],
    )
    found = replace(found, networks=_networks(alike))
    what = "keys-needed, correlation with the published keys one to one, beside keys of matched noise"
    tests.append(Comparison.of_mean(what, found, 1))
    told_of = [
        (kernel, *(_mean(some, name, "series") for name in ("explained", "matched_noise", "white_noise")), test)
        for (kernel, some), test in zip(kernels, tests[1:], strict=False)
    ]
    return Finding(
        "keys-needed",
        **told()["keys-needed"],
        sentence=sentence("needed", keys=KEYS, kernels=told_of, alike=tests[-1]),
        tests=tuple(tests),
        queries={},
        tables={NETWORKS: table},
        plate=figures.key_curves(rows),
    )


def _shared(table: pa.Table) -> Finding:
    rows = table.to_pylist()
    tests = [_difference("universal-keys", "all kernels", rows, "held_out", "group")]
    tests += [_difference("universal-keys", kernel, some, "held_out", "group") for kernel, some in _by_kernel(rows)]
    shares = {name: _mean(rows, name, "group") for name in _SHARES}
    return Finding(
        "universal-keys",
        **told()["universal-keys"],
        sentence=sentence("shared", keys=KEYS, shares=shares, test=tests[0]),
        tests=tuple(tests),
        queries={},
        tables={TASKS: table},
        plate=figures.key_shares(rows),
    )


def _by_kernel(rows: Sequence[_Row]) -> list[tuple[str, list[_Row]]]:
    kernels = dict.fromkeys(row["kernel"] for row in rows)
    groups = [(kernel, [row for row in rows if row["kernel"] == kernel]) for kernel in kernels]
    return sorted(((kernel, some) for kernel, some in groups if len(some) >= 4), reverse=True)


def _difference(claim: str, kernel: str, rows: Sequence[_Row], column: str, design: str) -> Comparison:
    found = mean_over_designs([row[column] - row["matched_noise"] for row in rows], [row[design] for row in rows])
    if design == "series":
        found = replace(found, networks=_networks(rows))
    return Comparison.of_mean(f"{claim}, {kernel}, beside keys of matched noise", found, 1)


def _networks(rows: Sequence[_Row]) -> int:
    """Return the number of networks, each of which has a row for each of its kernels; two may have one name."""
    most: Counter[str] = Counter()
    for (network, _), count in Counter((row["network"], row["kernel"]) for row in rows).items():
        most[network] = max(most[network], count)
    return most.total()


def _mean(rows: Sequence[_Row], column: str, design: str) -> float:
    return mean_over_designs([row[column] for row in rows], [row[design] for row in rows]).value
