"""From files that many workers wrote to tables that do not depend on who wrote what, or when."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scalekeys.atlas.journal import Entry, Journal
from scalekeys.atlas.layout import Layout
from scalekeys.atlas.references import Reference
from scalekeys.atlas.schema import FAILURES, LEFT_OUT, NETWORKS, WRITING, restamped, stamp_of, under
from scalekeys.atlas.task import Failed, Read
from scalekeys.errors import printable
from scalekeys.files import new_file, remove_file, writing_to

_GUESSES = (pa.int64(), pa.float64(), pa.bool_())


def settle(layout: Layout, journal: Journal) -> None:
    """Make the tables say what the journal says.

    The rows of a network that has several sources go under the first of them by name. Files that belong to no source
    are put aside.

    Raises OutputError if a table cannot be written; those that were there stay as they are.
    """
    for content, sources in by_content(journal.entries).items():
        path, (first, read) = layout.rows_of(content), sources[0]
        if not _belongs(path, first.source, read.model):
            for source in (reference.source for reference, _ in sources):
                journal.entries[source] = replace(journal.entries[source], outcome=_gone(source))
    networks, failures = tables(journal.entries)
    left_out = left_out_of(journal.entries)
    for table, path in ((networks, layout.networks), (failures, layout.failures), (left_out, layout.left_out)):
        with new_file(path, force=True) as temporary:
            pq.write_table(table, temporary, **WRITING)
    _put_aside(layout, set(networks["content_hash"].to_pylist()))
    journal.compact()


def _gone(source: str) -> Failed:
    return Failed("AtlasError", f"{source}: its rows are no longer in the atlas; name it again to have them made anew")


def tables(entries: Mapping[str, Entry]) -> tuple[pa.Table, pa.Table]:
    """Return the tables of networks and of failures, sorted by source, with the columns of metadata of both."""
    groups = by_content(entries)
    ordered = [entry for _, entry in sorted(entries.items())]
    names = sorted({name for entry in ordered for name in entry.reference.metadata})
    metadata = {name: typed([entry.reference.metadata.get(name) for entry in ordered]) for name in names}
    read, failed = [], []
    for position, entry in enumerate(ordered):
        source, outcome = printable(entry.reference.source), entry.outcome
        if isinstance(outcome, Failed):
            failed.append((position, {"source": source, "error": outcome.error, "reason": outcome.reason}))
            continue
        first = groups[outcome.content][0][0].source
        row = {"duplicate_of": None if first == source else first, "content_hash": outcome.content}
        read.append((position, vars(outcome) | row | {"source": source}))
    return _table(read, NETWORKS, metadata), _table(failed, FAILURES, metadata)


def left_out_of(entries: Mapping[str, Entry]) -> pa.Table:
    """Return the table of what is not read of the sources that were, sorted by source."""
    rows = [
        {"network": source, "name": one.name, "shape": list(one.shape), "reason": one.reason}
        for source, entry in sorted(entries.items())
        if isinstance(entry.outcome, Read)
        for one in entry.outcome.left_out
    ]
    return pa.Table.from_pylist(rows, schema=LEFT_OUT)


def by_content(entries: Mapping[str, Entry]) -> dict[str, list[tuple[Reference, Read]]]:
    """Group the sources that were read by their content, sorted by name."""
    groups: dict[str, list[tuple[Reference, Read]]] = {}
    for _, entry in sorted(entries.items()):
        if isinstance(entry.outcome, Read):
            groups.setdefault(entry.outcome.content, []).append((entry.reference, entry.outcome))
    return groups


def _table(
    rows: Sequence[tuple[int, Mapping[str, object]]], schema: pa.Schema, metadata: Mapping[str, pa.Array]
) -> pa.Table:
    """Make a table of rows, each with its position in the columns of metadata."""
    table = pa.Table.from_pylist([{name: row[name] for name in schema.names} for _, row in rows], schema=schema)
    positions = pa.array([position for position, _ in rows], pa.int64())
    for name, column in metadata.items():
        table = table.append_column(name, column.take(positions))
    return table


def typed(values: Iterable[str | None]) -> pa.Array:
    """Return a column of integers, numbers or truth values if all of it can be read so, else of words."""
    words = pa.array(values, pa.string())
    for guess in _GUESSES:
        try:
            return words.cast(guess)
        except pa.ArrowInvalid:
            continue
    return words


def _belongs(path: Path, source: str, model: str) -> bool:
    """Put rows under a source, if they are not there already, and tell whether they are whole."""
    stamp = stamp_of(path)
    if stamp is None or stamp[1] == source:
        return stamp is not None
    try:
        _relabel(path, source, model)
    except (pa.ArrowException, OSError, ValueError):
        remove_file(path)
        return False
    return True


def _relabel(path: Path, source: str, model: str) -> None:
    """Put rows under another source, one row group at a time."""
    with new_file(path, force=True) as temporary, pq.ParquetFile(path, page_checksum_verification=True) as old:
        schema = restamped(old.schema_arrow, source)
        with pq.ParquetWriter(temporary, schema, **WRITING) as new:
            for group in range(old.num_row_groups):
                table = under(old.read_row_group(group), source, model)
                new.write_table(table.replace_schema_metadata(schema.metadata))


def _put_aside(layout: Layout, contents: set[str]) -> None:
    """Move the rows of networks that no source stands for out of the table."""
    strangers = [path for path in layout.filters.glob("*.parquet") if path.stem not in contents]
    with writing_to(layout.unlisted):
        if strangers:
            layout.unlisted.mkdir(exist_ok=True)
        for path in strangers:
            path.replace(layout.unlisted / path.name)
