"""``.pth``, ``.pt``, ``.bin``, ``.ckpt``: what ``torch.save`` writes, old and new. A pickle is never executed."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from scalekeys.checkpoints.core.changes import Copying
from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.kinds import DEPTHWISE_ONLY, Kinds
from scalekeys.checkpoints.formats.pickled.opening import loaded, open_tree
from scalekeys.checkpoints.formats.pickled.tree import tree_of
from scalekeys.checkpoints.formats.stored.sources import whole
from scalekeys.checkpoints.formats.torch_zip.torch_reading import is_old, read_saved
from scalekeys.checkpoints.formats.torch_zip.torch_writing import place_of, write_torch


def matches(head: bytes) -> bool:
    """Tell whether a file that starts so is of the format before 2020."""
    return is_old(head)


def holds(names: Collection[str]) -> bool:
    """Tell whether a zip archive with records of these names is one of ``torch.save``."""
    return any(name == "data.pkl" or name.endswith("/data.pkl") for name in names)


def open_torch(path: Path, *, weights: str | None = None, kinds: Kinds = DEPTHWISE_ONLY) -> Checkpoint:
    """Open a file of ``torch.save`` and choose the weights in it.

    Of a whole pickled module the state dict is opened, and objects of unknown classes beside weights are passed over.

    `path`: values stay on disk until asked for.
    `weights`: the nested state dict to take.
    Raises CheckpointError if the file is damaged, wants to run something, or holds no tensors.
    """
    return open_tree(
        path,
        tree_of(read_saved(whole(path), str(path)), str(path)),
        weights=weights,
        kinds=kinds,
        copying=lambda tree, entry: Copying(
            partial(write_torch, path, tree, entry),
            files=(path,),
            can_change=lambda key: place_of(tree.lazy[id(entry.tensors[key])]) is not None,
        ),
    )


def load_safely(path: Path) -> Any:
    """Load a file of ``torch.save`` on the CPU without executing what it holds.

    Raises CheckpointError if that cannot be done.
    """
    return loaded(read_saved(whole(path), str(path)), str(path))
