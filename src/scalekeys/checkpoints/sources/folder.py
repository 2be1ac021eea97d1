"""Folders: the weights of a Hugging Face model, sharded or whole, or any folder with one file of weights."""

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import Tensor

from scalekeys.checkpoints.core.changes import Change, Copying, Write
from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.kinds import Wanted
from scalekeys.checkpoints.formats.registry import format_of, open_as_folder, open_file
from scalekeys.checkpoints.sources.folder_names import find_weights, is_candidate, is_index, no_weights
from scalekeys.checkpoints.sources.shards import join_shards, weight_map
from scalekeys.errors import CheckpointError, listed
from scalekeys.files import read_bytes


def open_folder(folder: Path, wanted: Wanted) -> Checkpoint:
    """Open the weights in a folder: the customary names of Hugging Face first, else the only file of weights.

    Raises CheckpointError if there is none, or several of which no name says more than the other, or a part of one is
    missing.
    """
    if (together := open_as_folder(folder, wanted)) is not None:
        return together
    file = find_weights(folder)
    if file is None:
        raise no_weights(folder)
    if is_index(file):
        return replace(open_index(file, wanted), model=_name(folder))
    opened = replace(open_file(file, wanted), model=_name(folder))
    return _copied_in(folder, opened, {file.name: opened}, lambda _key: file.name, {file.name})


def load_state(folder: Path, weights: str | None) -> dict[str, Tensor]:
    """Load every tensor of the weights in a folder.

    Raises CheckpointError if there are none, they are those of a graph, or some of them cannot be read as they are.
    """
    file = find_weights(folder)
    if file is None or (not is_index(file) and format_of(file).is_graph):
        raise CheckpointError(f"{folder}: holds {file.name if file else 'no weights'}, which is no state dict")
    if is_index(file):
        parts = [_open_shard(file, shard) for shard in sorted(set(_weight_map(file).values()))]
    else:
        parts = [open_file(file, Wanted(weights))]
    for part in parts:
        part.check_copied()
    return {key: tensor for part in parts for key, tensor in part.state().items()}


def open_index(path: Path, wanted: Wanted) -> Checkpoint:
    """Open a sharded model by its index; a shard that holds no weight of a layer may be missing or damaged.

    Raises CheckpointError if the index or a shard is damaged or missing, or the copy of the network that is wanted is
    not there.
    """
    home, model = _weight_map(path), _name(path.parent)
    found, opened = join_shards(home, partial(_open_shard, path), wanted, label=str(path), model=model)
    found = replace(found, altered={key: why for part in opened.values() for key, why in part.altered.items()})
    return _copied_in(path.parent, found, opened, home.__getitem__, {path.name, *home.values()})


def _copied_in(
    folder: Path,
    opened: Checkpoint,
    parts: Mapping[str, Checkpoint],
    home: Callable[[str], str],
    own: Collection[str],
) -> Checkpoint:
    """Return the network of a folder with the way to copy the folder, unless one of its files is only read.

    `parts` are the files of weights that are opened; `own` are the names of all that belong to the network.
    """
    if only_read := [part.only_read for part in parts.values() if not part.copying]:
        return replace(opened, copying=None, only_read=only_read[0])
    ways = {name: part.copying for name, part in parts.items() if part.copying}
    writers = {name: way.write for name, way in ways.items()}
    left_out = {file.name for file in folder.iterdir() if is_candidate(file)} - set(own)
    write = partial(_write, folder, writers, home, left_out)
    copying = Copying(write, files=(folder,), is_folder=True, can_change=lambda key: ways[home(key)].can_change(key))
    return replace(opened, copying=copying)


def _write(
    folder: Path,
    parts: Mapping[str, Write],
    home: Callable[[str], str],
    left_out: Collection[str],
    changes: Sequence[Change],
    target: Path,
) -> tuple[str, ...]:
    """Copy a folder with changes in its weights.

    `parts`: what writes a copy of each file of weights, by its name.
    `home`: gives the name of the file that holds a weight, by the key of the weight.
    `left_out`: names of files that are not copied; neither are hidden files and folders.
    Returns what the writers of the files have said, and what is not in the copy.
    """
    notes: list[str] = []
    for name in dict.fromkeys(home(change.key) for change in changes):
        notes += parts[name]([change for change in changes if home(change.key) == name], target / name)
    for file in sorted(folder.iterdir()):
        if file.is_file() and not (file.name in left_out or file.name.startswith(".") or (target / file.name).exists()):
            shutil.copyfile(file, target / file.name)
    missing = [file.name for file in sorted(folder.iterdir()) if not (target / file.name).exists()]
    if missing:
        notes.append(f"left out {listed(missing, limit=4)}: other weights, folders and hidden files are not copied")
    return tuple(notes)


def _weight_map(path: Path) -> Mapping[str, str]:
    return weight_map(read_bytes(path, CheckpointError), label=str(path))


def _name(folder: Path) -> str:
    return folder.name if folder.name not in ("", "..") else folder.resolve().name


def _open_shard(index: Path, shard: str) -> Checkpoint:
    path = index.parent / shard
    try:
        if not path.exists():
            raise CheckpointError(f"{index}: the shard {shard} is missing; fetch it into the same folder")
    except OSError as error:
        raise CheckpointError(f"{path.parent}: a shard cannot be looked for ({error.strerror or error})") from error
    return open_file(path)
