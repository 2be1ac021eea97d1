"""What a training keeps on disk to go on from: one file, written whole or not at all."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from scalekeys.checkpoints.formats.torch_zip.torch_file import load_safely
from scalekeys.errors import CheckpointError, RecipeError
from scalekeys.files import exists, is_file, new_file
from scalekeys.training.building import TRAINED
from scalekeys.training.recipe import Recipe, changed
from scalekeys.training.settings import plain, settings_of

SNAPSHOT = "last.pt"

_FIGURES = ("epoch", "train_loss", "seconds", "images_per_second")

Row = dict[str, float]
"""Figures of one epoch by the names of their columns."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of a training after some epochs."""

    recipe: Recipe
    rows: list[Row]
    """Figures of each epoch that is done."""
    states: dict[str, Any]
    """State dictionaries by name."""


def write_snapshot(snapshot: Snapshot, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Write a snapshot and the weights of the network to use, in the place of those before.

    Raises OutputError if they cannot be written; the files before are then intact.
    """
    buffer = io.BytesIO()
    torch.save({"recipe": plain(snapshot.recipe), "rows": snapshot.rows, "states": snapshot.states}, buffer)
    for name, content in ((TRAINED, save(dict(weights))), (SNAPSHOT, buffer.getvalue())):
        with new_file(folder / name, force=True) as temporary:
            temporary.write_bytes(content)


def read_snapshot(folder: Path, recipe: Recipe) -> Snapshot | None:
    """Read the snapshot in a folder, if there is one.

    Raises CheckpointError if it is damaged; RecipeError if it belongs to another recipe.
    """
    path = folder / SNAPSHOT
    if not exists(path):
        return None
    if not is_file(path):
        raise CheckpointError(f"{path}: is not a regular file; remove it, or name another folder")
    content = load_safely(path)
    try:
        snapshot = _snapshot_of(content)
    except (ValueError, RecipeError) as error:
        raise CheckpointError(f"{path}: is no snapshot of a training of this version ({error}); use --force") from None
    differences = changed(snapshot.recipe, recipe)
    if differences:
        raise RecipeError(
            f"{folder}: holds a training by another recipe ({'; '.join(differences[:3])}); go on with the same recipe, "
            "name another folder, or begin anew with --force"
        )
    return snapshot


def _snapshot_of(content: Any) -> Snapshot:
    """Check what a file holds.

    Raises ValueError if it is no snapshot; a :class:`RecipeError` if its recipe is none.
    """
    if not isinstance(content, dict) or not {"recipe", "rows", "states"} <= content.keys():
        raise ValueError("it has no recipe, rows and states")
    recipe, rows, states = settings_of(Recipe, content["recipe"]), content["rows"], content["states"]
    if not isinstance(rows, list) or len(rows) > recipe.loop.epochs or not all(map(_is_row, rows)):
        raise ValueError("its rows are not the figures of its epochs")
    if not isinstance(states, dict) or not all(isinstance(state, dict) for state in states.values()):
        raise ValueError("its states are not those of a training")
    return Snapshot(recipe, rows, states)


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, dict) and set(_FIGURES) <= row.keys() and all(type(row[name]) in (int, float) for name in row)
    )
