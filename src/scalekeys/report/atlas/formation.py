"""How far the filters of each network of an atlas have formed, by kernel and in all."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa

from scalekeys.fitting import Standing
from scalekeys.report.atlas.questions import RANKED

CONTROLS = {"white": "formation", "matched": "beyond_matched_noise"}
"""What the standing of filters beside each kind of noise is called in tables."""

_FORM = [
    (f"{column}{end}", kind)
    for column in CONTROLS.values()
    for end, kind in (("", pa.float64()), ("_low", pa.float64()), ("_high", pa.float64()), ("_word", pa.string()))
]

_Row = Mapping[str, Any]


def kernels_table(counts: pa.Table) -> pa.Table:
    """Turn the answer of :data:`scalekeys.report.atlas.questions.KERNELS` into the formation by network and kernel."""
    ranks = {f"{control}_{name}" for control in CONTROLS for name in RANKED}
    kept = [field for field in counts.schema if field.name not in ranks]
    rows = [{field.name: row[field.name] for field in kept} | _standings([row]) for row in counts.to_pylist()]
    return pa.Table.from_pylist(rows, schema=pa.schema([*kept, *_FORM]))


def with_formation(networks: pa.Table, counts: pa.Table) -> pa.Table:
    """Add kernels, counts of all and of dead filters, and formation to a table with one row a network."""
    of_network = {source: list(rows) for source, rows in groupby(counts.to_pylist(), key=lambda row: row["source"])}
    added = [
        {
            "kernels": ", ".join(row["kernel"] for row in of_network[source]),
            "all": sum(row["filters"] for row in of_network[source]),
            "dead": sum(row["dead"] for row in of_network[source]),
        }
        | _standings(of_network[source])
        for source in networks["source"].to_pylist()
    ]
    form = pa.schema([("kernels", pa.string()), ("all", pa.int64()), ("dead", pa.int64()), *_FORM])
    for name, column in zip(form.names, pa.Table.from_pylist(added, schema=form).columns, strict=True):
        networks = networks.append_column(name, column)
    return networks


def _standings(rows: Sequence[_Row]) -> dict[str, Any]:
    """Return the columns of one row: what kernels that can tell structure from noise say together."""
    cells: dict[str, Any] = {}
    for control, column in CONTROLS.items():
        found = _standing([row for row in rows if row["white_ranked"] and row[f"{control}_ranked"]], control)
        if found is not None:
            ends = {f"{column}_{name}": getattr(found, name) for name in ("low", "high", "word")}
            cells |= {column: found.value, **ends}
    return cells


def _standing(rows: Sequence[_Row], control: str) -> Standing | None:
    """Join kernels; the noise of each counts by the share of the filters that are compared with it."""
    count = sum(row[f"{control}_ranked"] for row in rows)
    if not count:
        return None
    weights = [row[f"{control}_ranked"] / count for row in rows]
    share, square = (
        sum(weight * row[f"{control}_{name}"] for weight, row in zip(weights, rows, strict=True))
        for name in ("share", "square")
    )
    noise = sum(weight**2 / row[f"{control}_reference"] for weight, row in zip(weights, rows, strict=True))
    return Standing.of_share(share, square - share**2, count, round(1 / noise))
