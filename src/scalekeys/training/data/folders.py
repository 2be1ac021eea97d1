"""Images in a folder for each class."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scalekeys.errors import RecipeError
from scalekeys.training.images import SUFFIXES, class_names, pictures_in, read_picture

if TYPE_CHECKING:
    from PIL.Image import Image


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
        mine = pictures_in(path / name)
        files += mine
        labels += [label] * len(mine)
    if not files:
        raise RecipeError(f"{path}: holds no images ({', '.join(SUFFIXES)}) in folders of classes")
    return files, torch.tensor(labels)


def _decode(files: list[Path], number: int) -> "Image":
    return read_picture(files[number])


def decoder(files: list[Path]) -> "partial[Image]":
    """Return a function that decodes a file by its number, and that processes can be sent."""
    return partial(_decode, files)
