"""From what a recipe names to two data sets: to train on, and to test on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from scalekeys.errors import RecipeError
from scalekeys.files import exists, expanded, is_folder
from scalekeys.images import DataSet, Images, open_class_folders
from scalekeys.images.classes import class_numbers
from scalekeys.images.pictures import class_folders
from scalekeys.optional import require
from scalekeys.training.data import cifar, hugging_face
from scalekeys.training.data.images import DecodedImages, ImageSet, MemoryImages, in_memory
from scalekeys.training.draws import subset
from scalekeys.training.recipe import Augmentation, Data, Recipe

_AT_ONCE = 4096  # images, whose float32 copies bound the memory


@dataclass(frozen=True, eq=False)
class DataSets:
    """Images to train on and to test on, and the names of the classes."""

    train: ImageSet
    test: ImageSet
    classes: tuple[str, ...]


def open_data(recipe: Recipe) -> DataSets:
    """Open the data of a recipe; CIFAR-10, and what is to be kept in memory, is read and decoded.

    Raises
    ------
    RecipeError
        If they cannot be read, or the source is of no known kind.
    """
    return _limited(_opened(recipe.data, recipe.augmentation), recipe)


def _opened(data: Data, augmentation: Augmentation) -> DataSets:
    path = expanded(data.source)
    if data.source.startswith("hf:") or hugging_face.is_saved(path):
        return _hugging_face(data, augmentation)
    if not exists(path):
        raise RecipeError(f"data.source: {data.source}: no such file or folder; data sets of the hub are hf:NAME")
    if not is_folder(path):
        return _cifar(path, cifar.packed)
    if cifar.is_binary(path):
        return _cifar(path, cifar.binary)
    return _folder(path, data, augmentation)


def _cifar(path: Path, read: Callable[[Path, str], tuple[MemoryImages, tuple[str, ...]]]) -> DataSets:
    (train, classes), (test, _) = read(path, "train"), read(path, "test")
    return DataSets(train, test, classes)


def _folder(path: Path, data: Data, augmentation: Augmentation) -> DataSets:
    if not is_folder(path / data.train):
        raise RecipeError(
            f"{path}: is neither CIFAR-10 nor a saved data set, and has no folder {data.train!r} with a folder of "
            "images for each class (data.train)"
        )
    require("PIL", extra="train")
    numbers = class_numbers(class_folders(path / data.train), str(path / data.train))
    parts = []
    for part in (data.train, data.test):
        if not is_folder(path / part):
            raise RecipeError(f"{path / part}: no such folder; it should hold a folder of images for each class")
        images = open_class_folders(path / part, numbers)
        parts.append(_decoded(images, torch.tensor(images.numbers), data, augmentation))
    return DataSets(parts[0], parts[1], numbers.names)


def _hugging_face(data: Data, augmentation: Augmentation) -> DataSets:
    splits, parts, classes = hugging_face.open_splits(data.source), [], []
    for part in (data.train, data.test):
        split = hugging_face.split_of(splits, data.source, part, data.image, data.label)
        labels, names = hugging_face.labels_of(split, f"{data.source} ({part})", data.label)
        parts.append(_decoded(DataSet(data.source, split, data.image, data.label), labels, data, augmentation))
        classes.append(names)
    return DataSets(parts[0], parts[1], max(classes, key=len))


def _decoded(images: Images, labels: Tensor, data: Data, augmentation: Augmentation) -> DecodedImages:
    return DecodedImages(images, torch.arange(len(labels)), labels, data.size, augmentation)


def _limited(sets: DataSets, recipe: Recipe) -> DataSets:
    """Take the wanted number of images, and bring them into memory if they are to be kept there."""
    data, parts = recipe.data, list[ImageSet]()
    for part, (images, wanted) in enumerate(((sets.train, data.train_images), (sets.test, data.test_images))):
        chosen = _chosen(images, subset(len(images), wanted, recipe.seed, part))
        parts.append(in_memory(chosen, data.size) if data.in_memory and chosen.decodes else chosen)
    if isinstance(parts[0], MemoryImages) and parts[0].pixels.shape[-1] != data.size:
        raise RecipeError(
            f"{data.source}: images of CIFAR-10 have 32 pixels a side; set data.size: 32, not {data.size}"
        )
    if data.detail is not None:
        parts = [_coarser(images, data) for images in parts]
    return replace(sets, train=parts[0], test=parts[1])


def _coarser(images: ImageSet, data: Data) -> MemoryImages:
    """Reduce images to fewer pixels by their areas, and enlarge them again."""
    if not isinstance(images, MemoryImages) or not data.detail or data.size % data.detail:
        raise RecipeError(
            f"data.detail: {data.detail} needs images in memory (data.in_memory: true), and to divide data.size "
            f"({data.size})"
        )
    parts = []
    for pixels in images.pixels.split(_AT_ONCE):
        small = F.avg_pool2d(pixels.float(), data.size // data.detail)
        large = F.interpolate(small, size=(data.size, data.size), mode="bilinear", align_corners=False)
        parts.append(large.round().to(torch.uint8))
    return replace(images, pixels=torch.cat(parts))


def _chosen(images: ImageSet, rows: Tensor) -> ImageSet:
    if len(rows) == len(images):
        return images
    if isinstance(images, MemoryImages):
        return MemoryImages(*images[rows])
    assert isinstance(images, DecodedImages)
    return replace(images, numbers=images.numbers[rows], labels=images.labels[rows])
