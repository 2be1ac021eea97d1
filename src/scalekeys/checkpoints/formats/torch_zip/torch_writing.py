"""Files of ``torch.save`` with other filters: the bytes of some weights are overwritten, the pickle is not touched."""

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scalekeys.checkpoints.core.changes import Change, overwrite, overwrite_in_file
from scalekeys.checkpoints.core.inventory import listed
from scalekeys.checkpoints.core.nesting import Entry, entries, pick
from scalekeys.checkpoints.formats.torch_zip.torch_layout import Layout, Record, read_layout
from scalekeys.checkpoints.formats.torch_zip.zip_records import is_archive, repack, repair_checksums, start_of
from scalekeys.errors import CheckpointError


@dataclass(frozen=True, eq=False)
class _Placed:
    """A change, the record of its storage, and where and in which steps its weight stands there."""

    change: Change
    record: Record
    start: int
    stride: tuple[int, ...]


def write_torch(path: Path, weights: str | None, changes: Sequence[Change], target: Path) -> tuple[str, ...]:
    """Copy a file of ``torch.save`` with changes in the chosen set of weights.

    Tensors that share the storage of a changed weight change with it.

    Parameters
    ----------
    path : Path
        A file that has been opened.
    weights : str, optional
        Which of several nested sets of weights it was opened with.

    Returns
    -------
    tuple of str
        Where there are several sets of weights, which of them have changed.

    Raises
    ------
    CheckpointError
        If a weight is stored in a way that does not tell where its numbers are.
    """
    if not changes:
        shutil.copyfile(path, target)
        return ()
    layout = _layout(path)
    chosen, _ = pick(layout.tree, weights, label=str(path))
    placed = [_place(path, layout, chosen, change) for change in changes]
    (_write_archive if is_archive(path) else _write_old_file)(path, target, placed)
    return _which_changed(layout, chosen, changes)


def _layout(path: Path) -> Layout:
    try:
        return read_layout(path)
    except Exception as error:  # what a pickle can do wrong has no common class
        raise CheckpointError(
            f"{path}: it cannot be told where its numbers stand ({error}); "
            "load it and save its weights with safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
        ) from error


def _place(path: Path, layout: Layout, chosen: Entry, change: Change) -> _Placed:
    if change.key not in chosen.tensors:
        raise CheckpointError(
            f"{path}: the weight of layer {change.layer!r} is stored in a special way and cannot be changed in place; "
            "load it and save plain weights"
        )
    stored = layout.place(chosen.tensors[change.key])
    start = stored.offset * change.filters.itemsize
    return _Placed(change, layout.storages[stored.storage], start, stored.stride)


def _write_old_file(path: Path, target: Path, placed: Sequence[_Placed]) -> None:
    shutil.copyfile(path, target)
    with target.open("r+b") as file:
        for one in placed:
            overwrite_in_file(file, one.change, one.record.start + one.start, one.stride)


def _write_archive(path: Path, target: Path, placed: Sequence[_Placed]) -> None:
    """Overwrite records where they stand, or compress them anew where they are compressed."""
    with zipfile.ZipFile(path) as archive:
        records = {one.record.name: archive.getinfo(one.record.name) for one in placed}
        if any(record.compress_type != zipfile.ZIP_STORED for record in records.values()):
            contents = {name: bytearray(archive.read(name)) for name in records}
            for one in placed:
                overwrite(contents[one.record.name], one.change, start=one.start, stride=one.stride)
            repack(path, target, contents)
            return
    shutil.copyfile(path, target)
    with target.open("r+b") as file:
        for one in placed:
            overwrite_in_file(file, one.change, start_of(file, records[one.record.name]) + one.start, one.stride)
    repair_checksums(target, records)


def _which_changed(layout: Layout, chosen: Entry, changes: Sequence[Change]) -> tuple[str, ...]:
    """Say which other sets of weights share a storage with the changed ones, and which do not."""
    mine = [layout.place(chosen.tensors[change.key]) for change in changes]
    together: list[str] = []
    apart: list[str] = []
    for entry in entries(layout.tree):
        if entry.path != chosen.path:
            theirs = [layout.place(tensor) for tensor in entry.tensors.values()]
            shares = any(one.overlaps(other) for one in mine for other in theirs)
            (together if shares else apart).append(repr(entry.name))
    notes = []
    if together:
        notes.append(f"{chosen.name!r} shares its storage with {listed(together)}: they change together")
    if apart:
        notes.append(f"only {chosen.name!r} is changed, not {listed(apart)}")
    return tuple(notes)
