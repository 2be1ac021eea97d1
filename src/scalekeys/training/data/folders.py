"""Images in a folder for each class."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scalekeys.checkpoints.extras import require
from scalekeys.errors import RecipeError

if TYPE_CHECKING:
    from PIL.Image import Image

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm"}


def class_names(path: Path) -> tuple[str, ...]:
    """Return the names of the folders in a folder, which are those of the classes, in their order."""
    return tuple(sorted(entry.name for entry in path.iterdir() if entry.is_dir()))


def listed_images(path: Path, classes: tuple[str, ...]) -> tuple[list[Path], Tensor]:
    """Return the files of all classes, and their labels.

    Raises
    ------
    RecipeError
        If there is no such folder, a class is unknown, or there are no images.
    """
    if not path.is_dir():
        raise RecipeError(f"{path}: there is no such folder; it should hold a folder of images for each class")
    unknown = [name for name in class_names(path) if name not in classes]
    if unknown:
        raise RecipeError(f"{path / unknown[0]}: the training images have no class of this name")
    files, labels = [], []
    for label, name in enumerate(classes):
        mine = sorted(file for file in (path / name).rglob("*") if file.suffix.lower() in _SUFFIXES)
        files += mine
        labels += [label] * len(mine)
    if not files:
        raise RecipeError(f"{path}: holds no images ({', '.join(sorted(_SUFFIXES))}) in folders of classes")
    return files, torch.tensor(labels)


def decode_file(files: list[Path], number: int) -> "Image":
    """Decode one of the files.

    Raises
    ------
    RecipeError
        If it is no image.
    """
    image_module: Any = require("PIL.Image", extra="train")
    try:
        with image_module.open(files[number]) as image:
            decoded: Image = image.convert("RGB")
            return decoded
    except (OSError, ValueError, image_module.DecompressionBombError) as error:
        raise RecipeError(f"{files[number]}: is damaged or no image ({error})") from None


def decoder(files: list[Path]) -> "partial[Image]":
    """Return a function that decodes a file by its number, and that processes can be sent."""
    return partial(decode_file, files)
