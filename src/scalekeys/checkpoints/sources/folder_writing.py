"""Folders with other filters in their weights: the files of weights are written by their format, the others copied."""

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from scalekeys.checkpoints.core.changes import Change, Write
from scalekeys.errors import listed


def write_folder(
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
