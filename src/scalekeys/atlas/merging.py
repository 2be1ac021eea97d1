"""Several atlases, and exports of atlases, into one; the order in which they are named plays no role."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import file_digest
from pathlib import Path

import pyarrow.parquet as pq

from scalekeys.atlas.building import Summary, summary_of
from scalekeys.atlas.holdings import Holdings, Network, holdings_of, in_groups
from scalekeys.atlas.journal import Entry, Journal
from scalekeys.atlas.layout import Layout, Settings
from scalekeys.atlas.naming import renamed, with_prefix
from scalekeys.atlas.references import Reference, check_columns
from scalekeys.atlas.schema import SCHEMA_VERSION, WRITING, stamp_of, stamped, under
from scalekeys.atlas.settling import by_content, settle, typed
from scalekeys.atlas.task import Read
from scalekeys.errors import AtlasError, OutputError, printable
from scalekeys.files import check_new_folder, expanded, new_folder, open_regular, writing_to


def merge(folders: Iterable[str | Path], output: str | Path, *, prefixes: Sequence[str] = ()) -> Summary:
    """Join atlases into one, which can be asked, reported on, exported and gone on with.

    A network that several atlases hold has its rows once, and a source that one atlas could read counts as read. Where
    atlases hold rows of the same network, the rows of the newest form and software are kept. The result depends neither
    on the order of the atlases nor on how often one of them is named.

    Parameters
    ----------
    folders : iterable of str or Path
        Of atlases, and of exports of atlases.
    output : str or Path
        Folder to write; a new or empty one.
    prefixes : sequence of str
        A word for each atlas, which is put before the names of its sources that are paths; none by default.

    Returns
    -------
    Summary

    Raises
    ------
    AtlasError
        If one of the folders holds no finished atlas, or a file is damaged; if atlases differ in the seed of the noise
        or in the kinds of convolutions; if one source has different contents or different metadata in two atlases, or
        columns of metadata differ in capitals only.
    OutputError
        If the output is not empty, or cannot be written; then nothing is written.

    Examples
    --------
    >>> import tempfile
    >>> import scalekeys as sk
    >>> folder = Path(tempfile.mkdtemp())
    >>> summary = sk.atlas.build(["builtin:master-keys"], folder / "a")
    >>> export = sk.atlas.export(folder / "a", folder / "b")
    >>> sk.atlas.merge([folder / "a", folder / "b"], folder / "both").filters
    8
    """
    paths, output = list(map(expanded, folders)), expanded(output)
    _check_output(paths, output)
    if not paths:
        raise AtlasError("there are no atlases to merge; name one or more folders")
    if prefixes and len(prefixes) != len(paths):
        raise AtlasError(
            f"the numbers of prefixes and of atlases differ ({len(prefixes)} and {len(paths)}); "
            "give one prefix for each atlas, or none"
        )
    held = [holdings_of(path) for path in paths]
    held = [_prefixed(one, prefix) for one, prefix in zip(held, prefixes, strict=True)] if prefixes else held
    settings = _common(held)
    entries = _joined(held)
    with new_folder(output, force=output.is_dir()) as temporary:
        layout = Layout(temporary)
        layout.filters.mkdir()
        layout.write_settings(settings)
        _write_rows(layout, held, entries)
        journal = Journal(layout.journal)
        journal.entries = entries
        settle(layout, journal)
    return summary_of(entries, analysed=0, kept=len(entries))


def _check_output(paths: Iterable[Path], output: Path) -> None:
    """Refuse a folder that is one of the atlases, or not empty."""
    check_new_folder(output, force=True)
    with writing_to(output):
        for path in paths:
            if output.is_dir() and path.is_dir() and output.samefile(path):
                raise OutputError(f"{output}: is one of the atlases to be merged; name another folder")
        if output.is_dir() and any(output.iterdir()):
            raise OutputError(f"{output}: is not empty; name another folder")


def _prefixed(held: Holdings, prefix: str) -> Holdings:
    if not prefix:
        return held
    if not prefix.isprintable():
        raise AtlasError(f"{prefix!r} is no prefix; give one of printable characters")
    return replace(held, entries=renamed(held.entries, with_prefix(held.entries, prefix), "rename one of them"))


def _common(held: Sequence[Holdings]) -> Settings:
    """Return the settings that all have; raises AtlasError if seeds or kinds differ."""
    first = held[0]
    for other in held[1:]:
        for what, option, mine, theirs in (
            ("seed of the noise", "--seed", first.settings.seed, other.settings.seed),
            ("kinds of convolutions", "--kinds", first.settings.kinds, other.settings.kinds),
        ):
            if mine != theirs:
                raise AtlasError(
                    f"{first.layout.folder} and {other.layout.folder} differ in the {what} ({mine} and {theirs}), so "
                    f"their tables cannot be compared; build one of them with the {option} of the other"
                )
    return Settings(SCHEMA_VERSION, first.settings.seed, first.settings.kinds)


def _joined(held: Sequence[Holdings]) -> dict[str, Entry]:
    """Return the sources of all, each once."""
    groups: dict[str, list[tuple[Path, Entry]]] = {}
    for one in held:
        for source, entry in one.entries.items():
            groups.setdefault(printable(source), []).append((one.layout.folder, entry))
    joined = (_one(found) for _, found in sorted(groups.items()))
    entries = {entry.reference.source: entry for entry in joined}
    check_columns(entry.reference for entry in entries.values())
    return dict(sorted(entries.items()))


def _one(found: Sequence[tuple[Path, Entry]]) -> Entry:
    """Return what is known of a source that several atlases may have.

    What was read comes before failures, and of outcomes of the same content the one that says more.
    """
    _check_contents(found)
    name = min((entry.reference.source for _, entry in found), key=lambda source: (source.isprintable(), source))
    chosen = max((entry for _, entry in found), key=_rank)
    return replace(chosen, reference=Reference(name, _metadata(found)))


def _rank(entry: Entry) -> tuple[bool, int, str, str]:
    outcome = entry.outcome
    read = isinstance(outcome, Read)
    said = len(outcome.notes) + len(outcome.left_out) if isinstance(outcome, Read) else 0
    return read, said, json.dumps(asdict(outcome)), entry.signature


def _check_contents(found: Sequence[tuple[Path, Entry]]) -> None:
    """Refuse two networks of the same name."""
    read = [(folder, entry) for folder, entry in found if isinstance(entry.outcome, Read)]
    for folder, entry in read[1:]:
        first, known = read[0]
        if getattr(entry.outcome, "content", None) != getattr(known.outcome, "content", None):
            source = entry.reference
            remedy = (
                "give a --prefix for each atlas to keep both, or build one of them again"
                if source.is_path
                else "build it again in one of them, with the version of the client that the other had"
            )
            raise AtlasError(f"{source.source}: is a different network in {first} than in {folder}; {remedy}")


def _metadata(found: Sequence[tuple[Path, Entry]]) -> dict[str, str]:
    """Return the metadata of a source from all atlases; raises AtlasError if a column has two values."""
    joined: dict[str, tuple[Path, str]] = {}
    for folder, entry in found:
        for name, value in entry.reference.metadata.items():
            first, known = joined.setdefault(name, (folder, value))
            if not _same(known, value):
                raise AtlasError(
                    f"{entry.reference.source}: has {name} {known!r} in {first} and {value!r} in {folder}; name the "
                    "source again with the right value in a list for `scalekeys atlas build`, in one of them"
                )
            joined[name] = (first, max(known, value))
    return {name: value for name, (_, value) in sorted(joined.items())}


def _same(one: str, other: str) -> bool:
    """Tell whether two values are the same, as words or as numbers."""
    if one == other:
        return True
    first, second = typed([one, other]).to_pylist()
    return bool(first == second)


def _write_rows(layout: Layout, held: Sequence[Holdings], entries: Mapping[str, Entry]) -> None:
    """Write the rows of each network under the first of its sources."""
    labels = {content: (found[0][0].source, found[0][1].model) for content, found in by_content(entries).items()}
    for one in held:
        for network in one.networks():
            path = layout.rows_of(network.content)
            if not path.exists():
                _write(path, network, *labels[network.content])
                continue
            other = path.with_suffix(".other")
            _write(other, network, *labels[network.content])
            max(path, other, key=_worth).replace(path)
            other.unlink(missing_ok=True)


def _write(path: Path, network: Network, source: str, model: str) -> None:
    schema = stamped(source, network.form)
    with pq.ParquetWriter(path, schema, **WRITING) as writer:
        for table in in_groups(under(rows, source, model) for rows in network.rows):
            writer.write_table(table.replace_schema_metadata(schema.metadata))


def _worth(path: Path) -> tuple[int, list[int], str]:
    """Return by what the rows of one network are compared: their form, the software, and a hash of all."""
    stamp = stamp_of(path)
    with open_regular(path) as file:
        digest = file_digest(file, "sha256").hexdigest()
    words = pq.read_table(path, columns=["software_version"])["software_version"].unique().to_pylist()
    numbers = [int(number) for number in re.findall("[0-9]+", max((word or "" for word in words), default=""))]
    return stamp[0] if stamp else 0, numbers, digest
