"""Sources whose lines in the journal are lost, taken from the tables of the last run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from scalekeys.atlas.journal import Entry
from scalekeys.atlas.layout import Layout, is_content
from scalekeys.atlas.references import Reference
from scalekeys.atlas.schema import FAILURES, LEFT_OUT, NETWORKS, read_whole
from scalekeys.atlas.task import Failed, Read
from scalekeys.errors import printable
from scalekeys.filters import LeftOut


def restore(entries: dict[str, Entry], layout: Layout) -> None:
    """Add the sources that the tables have and the journal lacks, as far as the tables are whole.

    They have no signature, so that each is looked into when it is named again.
    """
    known, left_out = {printable(source) for source in entries}, _left_out(layout.left_out)
    for path, schema, outcome_of in ((layout.networks, NETWORKS, _read), (layout.failures, FAILURES, _failed)):
        for row in _rows(path, schema):
            outcome = outcome_of(row)
            if row["source"] and outcome is not None and row["source"] not in known:
                if isinstance(outcome, Read):
                    outcome = replace(outcome, left_out=tuple(left_out.get(row["source"], ())))
                metadata = {name: row[name] for name in row if name not in schema.names and row[name] is not None}
                entries[row["source"]] = Entry(Reference(row["source"], metadata), "", outcome)


def _rows(path: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """Return the rows of a table, with metadata as words; none where it is not there or damaged."""
    try:
        table = read_whole(path, schema)
        for name in set(table.column_names).difference(schema.names):
            index = table.schema.get_field_index(name)
            table = table.set_column(index, name, table[name].cast(pa.string()))
        rows: list[dict[str, Any]] = table.to_pylist()
    except (OSError, ValueError, pa.ArrowException):
        return []
    return rows


def _left_out(path: Path) -> dict[str, list[LeftOut]]:
    """Return what is not read of each source."""
    found: dict[str, list[LeftOut]] = {}
    for row in _rows(path, LEFT_OUT):
        if all(row[name] is not None for name in LEFT_OUT.names) and None not in row["shape"]:
            found.setdefault(row["network"], []).append(LeftOut(row["name"], tuple(row["shape"]), row["reason"]))
    return found


def _read(row: dict[str, Any]) -> Read | None:
    if not is_content(row["content_hash"]) or any(row[name] is None for name in ("model", "layers", "filters")):
        return None
    return Read(row["content_hash"], row["model"], row["layers"], row["filters"], tuple(map(str, row["notes"] or ())))


def _failed(row: dict[str, Any]) -> Failed | None:
    return Failed(row["error"], row["reason"]) if row["error"] and row["reason"] else None
