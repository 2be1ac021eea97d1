"""What a user names, written out: one reference for each checkpoint, with the metadata that came with it."""

import csv
import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from scalekeys.atlas.schema import FAILURES, NETWORKS
from scalekeys.checkpoints.sources.catalogue import models_like
from scalekeys.checkpoints.sources.paths import ADDRESSES, has_wildcard, scheme_of
from scalekeys.errors import AtlasError, CheckpointError
from scalekeys.files import exists, expanded, is_folder, read_text
from scalekeys.files.csv_cells import original_cell

LISTS = (".txt", ".csv")
"""Suffixes of files that list sources."""

_MISSING = frozenset({"", "-", "?", "n/a", "na", "nan", "null", "#n/a", "<na>"})  # in small letters

_COLUMN = "source"
_TAKEN = frozenset(name.casefold() for name in (*NETWORKS.names, *FAILURES.names))  # SQL does not tell capitals


@dataclass(frozen=True)
class Reference:
    """A checkpoint to be analysed."""

    source: str
    """What it is called in the atlas: a path as it was given, or the name of a model on a hub."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What else is known of it, by column. An empty value removes the one that an earlier run was given."""

    def with_metadata(self, metadata: Mapping[str, str]) -> "Reference":
        """Return the same checkpoint with more metadata, which come before what is known."""
        told = {**self.metadata, **metadata}
        return Reference(self.source, {name: value for name, value in told.items() if value})

    @property
    def is_path(self) -> bool:
        """Whether it is a file or folder."""
        return scheme_of(self.source) is None

    @property
    def location(self) -> str:
        """Where it is read: an absolute path, for workers that run elsewhere, or the source."""
        return str(expanded(self.source).absolute()) if self.is_path else self.source


def expand(sources: Iterable[str | Path | Reference]) -> tuple[Reference, ...]:
    """Write out patterns and lists.

    Parameters
    ----------
    sources : iterable of str, Path or Reference
        Paths and patterns of paths (``**`` stands for any folders); names after ``timm:``, ``hf:`` and ``builtin:``,
        the first two with wildcards; addresses of safetensors files, ``https://SERVER/PATH``; ``.txt`` files with a
        source a line; ``.csv`` files with a column ``source`` and others of metadata, where empty cells, ``n/a``,
        ``na``, ``nan``, ``null``, ``-`` and ``?`` are values that are not known. Paths in a list are relative to it.

    Returns
    -------
    tuple of Reference
        Each source once.

    Raises
    ------
    CheckpointError
        If a pattern fits nothing, or a list cannot be read.
    AtlasError
        If there are no sources, lists contradict each other, or columns differ in capitals only.

    Examples
    --------
    >>> expand(["builtin:master-keys", "builtin:master-keys"])
    (Reference(source='builtin:master-keys', metadata={}),)
    """
    found: dict[str, Reference] = {}
    for reference in _all(sources):
        source = reference.source
        known = found.setdefault(source, Reference(source))
        _check(reference, known)
        one, other = known.metadata, reference.metadata
        found[source] = Reference(source, {name: one.get(name) or other.get(name, "") for name in {**one, **other}})
    if not found:
        raise AtlasError("there are no sources; name checkpoints, patterns or lists of them")
    check_columns(found.values())
    return tuple(found.values())


def check_columns(references: Iterable[Reference]) -> None:
    """Refuse columns of metadata that differ in capitals only, which SQL does not tell.

    Raises AtlasError if there are any.
    """
    spelled: dict[str, str] = {}
    for reference in references:
        for column in reference.metadata:
            other = spelled.setdefault(column.casefold(), column)
            if other != column:
                raise AtlasError(
                    f"{reference.source}: the columns {other!r} and {column!r} differ in capitals only; rename one"
                )


def _check(reference: Reference, known: Reference) -> None:
    """Refuse metadata that contradict what is known or the atlas itself."""
    source = reference.source
    for column, value in reference.metadata.items():
        if column.casefold() in _TAKEN:
            raise AtlasError(f"{source}: the column {column!r} is one of the atlas itself; call it something else")
        before = known.metadata.get(column)
        if before and value and before != value:
            raise AtlasError(f"{source}: is listed with {column} {before!r} and with {value!r}; keep one of them")


def _all(sources: Iterable[str | Path | Reference]) -> Iterator[Reference]:
    for source in sources:
        if isinstance(source, Reference):
            yield source
        elif _is_list(str(expanded(source))):
            yield from _listed(expanded(source))
        else:
            yield from map(Reference, _matches(str(source)))


def _is_list(source: str) -> bool:
    """Tell whether a source is a file that lists others; what is there and cannot be read is refused when it is."""
    is_named_so = Path(source).suffix.lower() in LISTS and scheme_of(source) is None
    return is_named_so and exists(source) and not is_folder(source)


def _matches(source: str, folder: Path = Path()) -> Sequence[str]:
    """Return the sources that one name or pattern, of a file in a folder, stands for."""
    scheme = scheme_of(source)
    if scheme in ADDRESSES:
        return (source,)
    if scheme is not None:
        return models_like(scheme, source.partition(":")[2]) if has_wildcard(source) else (source,)
    if not source.strip():
        raise CheckpointError("a source has an empty name; give paths, patterns, timm:NAME or hf:NAME")
    path = expanded(source)
    if not has_wildcard(source) or "\0" in source or exists(folder / path):
        return (str(Path(source)) if path.is_absolute() else str(folder / source),)
    pattern = str(Path(glob.escape(str(folder))) / path)
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (leaves out hidden files, as shells do)
    if not found:
        raise CheckpointError(f"{folder / source}: no file or folder fits this pattern; check it")
    return found


def _listed(path: Path) -> Iterator[Reference]:
    """Read a list; its lines may be patterns."""
    lines = StringIO(read_text(path, CheckpointError, encoding="utf-8-sig"), newline="")
    for source, metadata in _table(path, lines) if path.suffix.lower() == ".csv" else _plain(lines):
        for name in _matches(source, path.parent):
            yield Reference(name, metadata)


def _plain(lines: Iterable[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip(), {}


def _table(path: Path, lines: Iterable[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    rows = _rows(path, lines)
    _, header = next(rows, (0, []))
    if _COLUMN not in header:
        raise CheckpointError(f"{path}: has no column {_COLUMN!r}; its first line names {', '.join(header) or 'none'}")
    if not all(map(str.isprintable, header)):
        raise CheckpointError(f"{path}: its columns need names of printable characters; its first line is damaged")
    if len({name.casefold() for name in header}) < len(header) or "" in header:
        raise CheckpointError(f"{path}: its columns need names that differ, got {', '.join(map(repr, header))}")
    for number, cells in rows:
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise CheckpointError(f"{path}, line {number}: has {len(cells)} cells where the header has {len(header)}")
        values = dict(zip(header, cells, strict=True))
        source = values.pop(_COLUMN)
        if not source:
            raise CheckpointError(f"{path}, line {number}: names no source; fill in its cell, or remove the line")
        yield source, {name: "" if value.casefold() in _MISSING else value for name, value in values.items()}


def _rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row, and the number of its last line."""
    rows = csv.reader(lines, skipinitialspace=True, strict=True)  # else a stray quote would take in the rows below it
    last = 0
    try:
        for row in rows:
            last = rows.line_num
            yield last, [original_cell(cell.strip()) for cell in row]
    except csv.Error as error:
        raise CheckpointError(f"{path}, line {last + 1}: is no row of CSV ({error}); mend its quotes") from None
