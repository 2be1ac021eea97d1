"""Files of ``torch.save`` with other filters: the bytes of some weights are overwritten, the pickle is not touched."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from torch import Tensor

from scalekeys.checkpoints.core.changes import Change, overwrite, overwrite_in_file
from scalekeys.checkpoints.core.inventory import Lazy
from scalekeys.checkpoints.core.nesting import Entry, Tree, entries
from scalekeys.checkpoints.formats.stored.archive import (
    FAULTS,
    MAGIC,
    Deflated,
    Record,
    damaged,
    is_archive,
    open_archive,
)
from scalekeys.checkpoints.formats.stored.sources import FileBytes, Part, whole
from scalekeys.checkpoints.formats.stored.tensors import Stored
from scalekeys.checkpoints.formats.torch_zip.zip_records import repack, repair_checksums
from scalekeys.errors import CheckpointError, listed


@dataclass(frozen=True, eq=False)
class _Placed:
    """A change, its tensor, and the byte where this starts: of the file, or of the contents of a compressed record."""

    change: Change
    stored: Stored
    start: int
    record: str = ""


def write_torch(path: Path, tree: Tree, chosen: Entry, changes: Sequence[Change], target: Path) -> tuple[str, ...]:
    """Copy a file of ``torch.save`` with changes in the chosen set of weights.

    Tensors that share the storage of a changed weight change with it.

    `path`: a file that has been opened.
    `tree`: what it holds.
    `chosen`: the set of weights that was opened.
    Returns notes on which of several sets of weights have changed.
    Raises CheckpointError if a weight is stored in a way that does not tell where its numbers are.
    """
    placed = [_place(path, chosen, change) for change in changes]
    try:
        (_write_compressed if any(one.record for one in placed) else _write_in_place)(path, target, placed)
    except FAULTS as error:
        raise damaged(str(path), error) from None
    return _which_changed(tree, chosen, [one.stored for one in placed]) if changes else ()


def place_of(tensor: Tensor | Lazy) -> tuple[int, str] | None:
    """Return the byte at which a tensor starts, and in which compressed record if it is in one; None if none tells."""
    if not isinstance(tensor, Stored) or tensor.swapped or not isinstance(tensor.storage, Part):
        return None
    start, of = tensor.storage.start + tensor.start, tensor.storage.of
    if isinstance(of, Deflated):
        return start, of.name
    return (start, "") if isinstance(of, FileBytes) else None


def _place(path: Path, chosen: Entry, change: Change) -> _Placed:
    tensor = chosen.tensors[change.key]
    if (place := place_of(tensor)) is None:
        raise CheckpointError(
            f"{path}: the weight of layer {change.layer!r} is stored in a special way and cannot be changed in place; "
            "load it and save plain weights"
        )
    return _Placed(change, cast("Stored", tensor), *place)


def _write_in_place(path: Path, target: Path, placed: Sequence[_Placed]) -> None:
    shutil.copyfile(path, target)
    with target.open("r+b") as file:
        is_zip = is_archive(file.read(len(MAGIC)))
        for one in placed:
            overwrite_in_file(file, one.change, one.start, one.stored.stride)
    if is_zip:
        starts = [one.start for one in placed]
        records = open_archive(whole(path), str(path)).records
        repair_checksums(target, {name: record for name, record in records.items() if _contains(record, starts)})


def _contains(record: Record, starts: Sequence[int]) -> bool:
    stored = record.stored
    return any(stored.start <= start < stored.start + stored.size for start in starts)


def _write_compressed(path: Path, target: Path, placed: Sequence[_Placed]) -> None:
    """Write an archive anew, of which some records are compressed; the others may be changed too."""
    records = open_archive(whole(path), str(path)).records
    contents: dict[str, bytearray] = {}
    for one in placed:
        name, start = one.record, one.start
        if not name:
            name = next(name for name, record in records.items() if _contains(record, [start]))
            start -= records[name].stored.start
        if name not in contents:
            contents[name] = records[name].content.read(0, records[name].content.size)
        overwrite(contents[name], one.change, start=start, stride=one.stored.stride)
    repack(path, target, contents)


def _which_changed(tree: Tree, chosen: Entry, mine: Sequence[Stored]) -> tuple[str, ...]:
    """Say which other sets of weights share a storage with the changed ones, and which do not."""
    together: list[str] = []
    apart: list[str] = []
    for entry in entries(tree):
        if entry.path != chosen.path:
            theirs = [tensor for tensor in entry.tensors.values() if isinstance(tensor, Stored)]
            shares = any(one.overlaps(other) for other in theirs for one in mine)
            (together if shares else apart).append(repr(entry.name))
    notes = []
    if together:
        notes.append(f"{chosen.name!r} shares its storage with {listed(together)}: they change together")
    if apart:
        notes.append(f"only {chosen.name!r} is changed, not {listed(apart)}")
    return tuple(notes)
