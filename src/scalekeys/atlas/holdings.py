"""What an atlas, or an export of one, holds: its sources, and the rows of its networks, a bounded number at a time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scalekeys.atlas.journal import Entry, Journal
from scalekeys.atlas.layout import Layout, Settings, is_export, layout_of
from scalekeys.atlas.reading import read_table
from scalekeys.atlas.recovery import restore
from scalekeys.atlas.schema import FAILURES, FILTERS, FORMERLY, LEFT_OUT, NETWORKS, stamp_of
from scalekeys.atlas.settling import by_content
from scalekeys.atlas.task import Read
from scalekeys.errors import AtlasError, printable
from scalekeys.files import exists
from scalekeys.optional import first_line

GROUP = 131_072
"""The most rows of a row group: enough for a reader to work on several groups at once, and few for its memory."""


@dataclass(frozen=True)
class Network:
    """The rows of a network."""

    content: str
    form: int
    """The version of the form in which they were made."""
    rows: Iterator[pa.Table]
    """In the present form, with empty columns where the form was older; to be taken before the next network."""


@dataclass(frozen=True)
class Holdings:
    """The sources of an atlas or of an export, and where the rows of their networks are."""

    layout: Layout
    settings: Settings
    entries: Mapping[str, Entry]
    """By source."""

    def networks(self, order: Iterable[str] = ()) -> Iterator[Network]:
        """Yield the rows of each network once.

        `order`: the content hashes of all networks, in the order in which those of an atlas are yielded; by default
        that of their first sources. Those of an export come as they are stored.
        Raises AtlasError if rows are missing or damaged, or the number of the rows of a network is not that of its
        filters.
        """
        counts = {content: found[0][1].filters for content, found in by_content(self.entries).items()}
        missing = set(counts)
        for network in self._parts(counts) if is_export(self.layout.folder) else self._files([*order] or counts):
            if network.content not in missing:
                raise self._damaged(self.layout.filters, "rows belong to no network, or stand in two places")
            missing.remove(network.content)
            yield replace(network, rows=self._counted(network, counts[network.content]))
        if missing:
            raise self._damaged(self.layout.filters, f"the rows of {len(missing)} networks are missing")

    def _files(self, contents: Iterable[str]) -> Iterator[Network]:
        """Yield the rows of an atlas, a file a network."""
        for content, file in zip(contents, self.layout.files(contents), strict=True):
            stamp = stamp_of(file)
            if stamp is None:
                raise self._damaged(file, "it has no rows of filters of this version")
            yield Network(content, stamp[0], self._groups(file))

    def _parts(self, contents: Iterable[str]) -> Iterator[Network]:
        """Yield the rows of an export, where those of a network follow each other."""
        runs = (run for file in self.layout.files(contents) for table in self._groups(file) for run in _runs(table))
        for content, parts in groupby(runs, key=lambda run: run[0]):
            form = self.settings.older.get(content, self.settings.version)
            yield Network(content, form, (table for _, table in parts))

    def _groups(self, file: Path) -> Iterator[pa.Table]:
        """Yield the rows of a file in the present form, and check them."""
        try:
            with pq.ParquetFile(file, page_checksum_verification=True) as opened:
                for group in range(opened.num_row_groups):
                    table = opened.read_row_group(group)
                    table.validate(full=True)
                    yield _in_present_form(table)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise self._damaged(file, first_line(error)) from None

    def _counted(self, network: Network, wanted: int) -> Iterator[pa.Table]:
        found = 0
        for table in network.rows:
            found += len(table)
            yield table
        if found != wanted:
            how = f"the network {network.content} has {found} rows and should have {wanted}"
            raise self._damaged(self.layout.filters, how)

    def _damaged(self, path: Path, how: str) -> AtlasError:
        return AtlasError(f"{path}: is damaged ({how}); {self.layout.repair_rows}")


def holdings_of(folder: Path) -> Holdings:
    """Return what an atlas or an export holds.

    The tables say which sources there are; the journal of an atlas adds what the tables do not keep of them.

    Raises AtlasError if there is neither, or tables are missing or damaged.
    """
    layout = layout_of(folder)
    settings = layout.known()
    if settings is None:
        raise AtlasError(
            f"{folder}: holds neither an atlas nor an export of one; name a folder that `scalekeys atlas build`, "
            "`merge` or `export` wrote"
        )
    for path, schema in ((layout.networks, NETWORKS), (layout.failures, FAILURES), (layout.left_out, LEFT_OUT)):
        if path != layout.left_out or is_export(folder) or exists(path):
            read_table(layout, path, schema)
    found: dict[str, Entry] = {}
    restore(found, layout)
    noted = {} if is_export(folder) else Journal(layout.journal).entries
    for entry in noted.values():
        name = printable(entry.reference.source)
        if name in found and _agree(entry, found[name]):
            del found[name]
            found[entry.reference.source] = entry
    return Holdings(layout, settings, dict(sorted(found.items())))


def _agree(one: Entry, other: Entry) -> bool:
    """Tell whether two entries on a source say the same of its content."""
    if isinstance(one.outcome, Read) and isinstance(other.outcome, Read):
        return one.outcome.content == other.outcome.content
    return one.outcome == other.outcome


def in_groups(tables: Iterable[pa.Table], most: int = GROUP) -> Iterator[pa.Table]:
    """Yield the rows of tables in tables of so many rows, the last of which may have fewer.

    >>> tables = [pa.table({"a": [1, 2, 3]}), pa.table({"a": [4]}), pa.table({"a": [5, 6]})]
    >>> [table["a"].to_pylist() for table in in_groups(tables, 4)]
    [[1, 2, 3, 4], [5, 6]]
    """
    waiting: list[pa.Table] = []
    missing = most
    for table in tables:
        rest = table
        while len(rest) >= missing:
            yield pa.concat_tables([*waiting, rest.slice(0, missing)]).combine_chunks()
            rest, waiting, missing = rest.slice(missing), [], most
        if len(rest):
            waiting.append(rest)
            missing -= len(rest)
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _runs(table: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Yield rows that follow each other and are of one network, with its content hash."""
    runs = pc.run_end_encode(table["content_hash"].combine_chunks())
    start = 0
    for content, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield content, table.slice(start, end - start)
        start = end


def _in_present_form(table: pa.Table) -> pa.Table:
    """Return rows of any form in the present one: under its names of columns, and with empty ones where some lack."""
    empty, columns = pa.nulls(len(table)), {}
    for name in FILTERS.names:
        former = FORMERLY[name].name if name in FORMERLY else name
        present = name if name in table.column_names else former
        columns[name] = table[present] if present in table.column_names else empty
    return pa.table(columns).cast(FILTERS)
