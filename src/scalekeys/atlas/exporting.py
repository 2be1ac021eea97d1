"""An atlas to be shared: Parquet files of bounded size that other programs read as they are, and a data card."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import file_digest
from itertools import chain, islice
from math import ceil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scalekeys.atlas.card import Facts, card
from scalekeys.atlas.holdings import GROUP, Holdings, holdings_of, in_groups
from scalekeys.atlas.journal import Entry
from scalekeys.atlas.layout import ExportLayout, Layout, Settings, is_export
from scalekeys.atlas.naming import renamed, reworded, without_common_folder, without_folders
from scalekeys.atlas.schema import SCHEMA_VERSION, WRITING, stamped, under
from scalekeys.atlas.settling import by_content, left_out_of, tables
from scalekeys.errors import AtlasError, OutputError
from scalekeys.files import check_new_folder, exists, expanded, new_folder, open_regular, remove_file, writing_to

GROUPS_OF_A_FILE = 8
"""Row groups of a file of filters: 1,048,576 rows, about 100 MB."""

_STORED = {**WRITING, "compression": "zstd"}
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


@dataclass(frozen=True)
class Export:
    """What was exported.

    Parameters
    ----------
    networks, filters, failures, left_out : int
        Rows of the tables.
    files, size : int
        Number of files, and their bytes.
    renamed : int
        Sources whose folders were removed from their names.
    path_columns : tuple of str
        Columns of metadata that hold paths, which are exported as they are.
    """

    networks: int
    filters: int
    failures: int
    left_out: int
    files: int
    size: int
    renamed: int
    path_columns: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def export(
    folder: str | Path,
    output: str | Path,
    *,
    keep_paths: bool = False,
    licence: str | None = None,
    force: bool = False,
) -> Export:
    """Write the tables of an atlas as files that DuckDB, pandas and Hugging Face `datasets` open, with a data card.

    The folder can be put on a hub as it is. :func:`scalekeys.atlas.open` and :func:`scalekeys.atlas.merge` read it too.
    The same atlas gives the same bytes.

    Parameters
    ----------
    folder : str or Path
        Of the atlas.
    output : str or Path
        Folder to write; a new or empty one.
    keep_paths : bool
        Keep the names of sources that are paths. By default they become relative to their common folder, and folders of
        this machine are removed from the reasons of failures and from notes. Metadata are written as they are.
    licence : str, optional
        Identifier of the licence under which the tables are shared, such as "CC0-1.0"; the card says where none is
        named.
    force : bool
        Replace an earlier export in `output`; other files of that folder stay.

    Returns
    -------
    Export

    Raises
    ------
    AtlasError
        If there is no finished atlas, one of its files is damaged, or two sources would get the same name.
    OutputError
        If the output is not empty, or cannot be written; then nothing is written.

    Examples
    --------
    >>> import tempfile
    >>> import scalekeys as sk
    >>> folder = Path(tempfile.mkdtemp())
    >>> summary = sk.atlas.build(["builtin:master-keys"], folder / "atlas")
    >>> sk.atlas.export(folder / "atlas", folder / "shared", licence="CC0-1.0").filters
    8
    >>> sk.atlas.open(folder / "shared").sql("select count(*) as filters from filters").to_pandas()
       filters
    0        8
    """
    folder, output = expanded(folder), expanded(output)
    empty = _check_output(folder, output, force=force)
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise AtlasError(f"{licence!r} is no identifier of a licence; name one such as CC0-1.0 or CC-BY-4.0")
    if is_export(folder):
        raise AtlasError(f"{folder}: is an export already; copy the folder")
    held = holdings_of(folder)
    entries = dict(held.entries) if keep_paths else _without_paths(held.entries)
    with new_folder(output, force=force or empty) as temporary:
        layout = ExportLayout(temporary)
        facts = _write_tables(layout, held, entries)
        facts = replace(facts, keep_paths=keep_paths, licence=licence)
        layout.card.write_text(card(facts), encoding="utf-8")
        _write_checksums(layout)
        files = _files(temporary)
        size = sum(file.stat().st_size for file in files)
    for part in ExportLayout(output).parts():
        if not part.stem.endswith(f"-of-{facts.parts:05d}"):  # it is one of an earlier export
            remove_file(part)
    rows = {name: len(table) for name, table in facts.tables.items()}
    return Export(
        **rows,
        filters=facts.filters,
        files=len(files),
        size=size,
        renamed=len(set(held.entries) - set(entries)),
        path_columns=_path_columns(entries),
    )


def _check_output(folder: Path, output: Path, *, force: bool) -> bool:
    """Refuse a folder that cannot become an export, and tell whether it is there and empty."""
    check_new_folder(output, force=True)
    with writing_to(output):
        inside = list(output.iterdir()) if output.is_dir() else []
        if folder.is_dir() and output.resolve().is_relative_to(folder.resolve()):
            raise OutputError(f"{output}: is in the atlas itself; name another folder for the export")
    if exists(Layout(output).settings):
        raise OutputError(f"{output}: holds an atlas; name another folder for the export")
    if inside and not force:
        raise OutputError(f"{output}: is not empty; give --force to replace an export in it, or another name")
    return output.is_dir() and not inside


def _without_paths(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return entries without folders of the machine."""
    clear = without_folders(entries)
    short = renamed(entries, without_common_folder(entries), "keep the paths (--keep-paths)")
    return {source: reworded(entry, clear) for source, entry in short.items()}


def _write_tables(layout: ExportLayout, held: Holdings, entries: Mapping[str, Entry]) -> Facts:
    """Write all tables and the settings, and return what the card says of them."""
    groups = by_content(entries)
    labels = {content: (found[0][0].source, found[0][1].model) for content, found in groups.items()}
    filters = sum(found[0][1].filters for found in groups.values())
    parts = max(1, ceil(filters / (GROUP * GROUPS_OF_A_FILE)))
    networks, failures = tables(entries)
    others = {"networks": networks, "failures": failures, "left_out": left_out_of(entries)}
    for name, table in others.items():
        path = getattr(layout, name)
        path.parent.mkdir(parents=True)
        with pq.ParquetWriter(path, table.schema, **_STORED) as writer:
            if len(table):  # a table without rows has no row group, as readers want it
                writer.write_table(table)
    layout.filters.mkdir(parents=True)
    older: dict[str, int] = {}
    software: set[str] = set()
    rows = in_groups(_rows(held, labels, older, software))
    for number in range(parts):
        with pq.ParquetWriter(layout.part(number, parts), stamped(""), **_STORED) as writer:
            for table in islice(rows, GROUPS_OF_A_FILE):
                writer.write_table(table, row_group_size=GROUP)
    for _ in rows:  # none is left; this lets the last network be counted
        raise AtlasError(f"{held.layout.folder}: has changed while it was exported; export again")
    settings = Settings(SCHEMA_VERSION, held.settings.seed, held.settings.kinds, older)
    layout.write_settings(settings)
    return Facts(settings, others, filters, parts, tuple(sorted(software)))


def _rows(
    held: Holdings, labels: Mapping[str, tuple[str, str]], older: dict[str, int], software: set[str]
) -> Iterator[pa.Table]:
    """Yield the rows of all networks, in the order of the first source of each, and note forms and versions."""
    for network in held.networks(labels):
        if network.form != SCHEMA_VERSION:
            older[network.content] = network.form
        for table in network.rows:
            software.update(word for word in table["software_version"].unique().to_pylist() if word)
            yield under(table, *labels[network.content])


def _write_checksums(layout: ExportLayout) -> None:
    """Write the SHA-256 of every other file."""
    lines = []
    for file in _files(layout.folder):
        with open_regular(file) as opened:
            lines.append(f"{file_digest(opened, 'sha256').hexdigest()}  {file.relative_to(layout.folder).as_posix()}\n")
    layout.checksums.write_text("".join(lines), encoding="utf-8")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _path_columns(entries: Mapping[str, Entry]) -> tuple[str, ...]:
    """Return the columns of metadata that hold paths from the root or from the home folder."""
    pairs = chain.from_iterable(entry.reference.metadata.items() for entry in entries.values())
    return tuple(sorted({name for name, value in pairs if value.startswith(("/", "~/"))}))
