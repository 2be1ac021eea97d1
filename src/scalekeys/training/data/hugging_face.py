"""Data sets of the ``datasets`` package: saved on disk, or by their names on the hub."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scalekeys.errors import RecipeError
from scalekeys.files import is_file
from scalekeys.images.classes import MOST
from scalekeys.optional import in_short, require


def is_saved(path: Path) -> bool:
    """Tell whether ``datasets`` has saved a dict of splits in a folder."""
    return is_file(path / "dataset_dict.json")


def open_splits(source: str) -> Mapping[str, Any]:
    """Open the splits of a saved data set, or of one of the hub; raises RecipeError if that is not possible."""
    datasets = require("datasets", extra="train")
    try:
        splits = datasets.load_dataset(source[3:]) if source.startswith("hf:") else datasets.load_from_disk(source)
    except Exception as error:  # the package, the hub client and the network have no common class
        raise RecipeError(f"{source}: cannot be opened as a data set ({in_short(error)})") from error
    found: Mapping[str, Any] = splits
    return found


def split_of(splits: Mapping[str, Any], source: str, name: str, image: str, label: str) -> Any:
    """Return a split, with its columns checked; raises RecipeError if there is no such split or column."""
    if name not in splits:
        raise RecipeError(f"{source}: has no split {name!r}; it has {', '.join(splits)} (data.train, data.test)")
    split = splits[name]
    for column in (image, label):
        if column not in split.column_names:
            columns = ", ".join(split.column_names)
            raise RecipeError(f"{source}: has no column {column!r}; it has {columns} (data.image, data.label)")
    return split


def labels_of(split: Any, where: str, label: str) -> tuple[Tensor, tuple[str, ...]]:
    """Return the labels of a split, and the names of the classes.

    Raises RecipeError if there are none, or they are not whole numbers from 0.
    """
    try:
        labels = torch.tensor(split[label][:], dtype=torch.int64)
    except (TypeError, ValueError, RuntimeError):
        raise RecipeError(f"{where}: the column {label!r} does not hold the numbers of classes (data.label)") from None
    if labels.ndim != 1 or not len(labels) or not 0 <= int(labels.min()) <= int(labels.max()) < MOST:
        raise RecipeError(f"{where}: the column {label!r} must hold a number from 0 for each image (data.label)")
    names = getattr(split.features[label], "names", None) or [str(one) for one in range(int(labels.max()) + 1)]
    return labels, tuple(names)
