"""``.pth``, ``.pt``, ``.bin``, ``.ckpt``: what ``torch.save`` writes, old and new. A pickle is never executed."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from scalekeys.checkpoints.core.changes import Copying
from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.kinds import Wanted
from scalekeys.checkpoints.core.nesting import Entry
from scalekeys.checkpoints.formats.pickled.opening import loaded, open_tree
from scalekeys.checkpoints.formats.pickled.tree import tree_of
from scalekeys.checkpoints.formats.stored.sources import whole
from scalekeys.checkpoints.formats.torch_zip.torch_reading import read_saved
from scalekeys.checkpoints.formats.torch_zip.torch_writing import place_of, write_torch


def holds(names: Collection[str]) -> bool:
    """Tell whether a zip archive with records of these names is one of ``torch.save``."""
    return any(name == "data.pkl" or name.endswith("/data.pkl") for name in names)


def open_torch(path: Path, wanted: Wanted) -> Checkpoint:
    """Open a file of ``torch.save`` and choose the weights in it.

    Of a whole pickled module the state dict is opened, and objects of unknown classes beside weights are passed over.

    Raises CheckpointError if the file is damaged, wants to run something, or holds no tensors.
    """
    content = tree_of(read_saved(whole(path), str(path)), str(path))

    def copying(entry: Entry) -> Copying:
        write = partial(write_torch, path, content, entry)
        return Copying(write, files=(path,), can_change=lambda key: place_of(entry.tensors[key]) is not None)

    return open_tree(path, content, wanted, copying=copying)


def load_safely(path: Path) -> Any:
    """Load a file of ``torch.save`` on the CPU without executing what it holds.

    Raises CheckpointError if that cannot be done.
    """
    return loaded(read_saved(whole(path), str(path)), str(path))
