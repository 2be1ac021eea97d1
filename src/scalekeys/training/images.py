"""Pictures with classes: folders of them, data sets of Hugging Face, and their batches of tensors."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from scalekeys.checkpoints.core.inventory import listed
from scalekeys.errors import DataError
from scalekeys.optional import in_short, require

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Files of these are pictures; the list of torchvision's ImageFolder."""

_SPLITS = ("validation", "test", "val", "train")
_AHEAD = 2


class Images(Protocol):
    """Pictures with the numbers of their classes."""

    @property
    def label(self) -> str:
        """What errors and results call them."""

    @property
    def classes(self) -> int | None:
        """How many classes there are, where a number is the place in a list of classes; None where it is given."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> "tuple[Image, int]": ...


@dataclass(frozen=True)
class ImageFolder:
    """Pictures in files.

    Parameters
    ----------
    label : str
    files : tuple of Path
    numbers : tuple of int
        The class of each.
    classes : int or None
        See :class:`Images`.
    """

    label: str
    files: tuple[Path, ...]
    numbers: tuple[int, ...]
    classes: int | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> "tuple[Image, int]":
        return read_picture(self.files[index]), self.numbers[index]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Pictures of a data set of Hugging Face.

    Parameters
    ----------
    label : str
    rows : datasets.Dataset
    image, target : str
        The columns.
    numbers : tuple of int or None
        The class that each stored number stands for, if it is another.
    classes : int or None
        See :class:`Images`.
    """

    label: str
    rows: Any
    image: str
    target: str
    numbers: tuple[int, ...] | None = None
    classes: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> "tuple[Image, int]":
        try:
            row = self.rows[index]
        except Exception as error:  # decoding is done by libraries that have no common class
            raise DataError(f"{self.label}: row {index} cannot be read ({in_short(error)})") from None
        number = row[self.target]
        return row[self.image], number if self.numbers is None else self.numbers[number]


def open_images(source: str, *, labels: Path | None = None) -> Images:
    """Open pictures with classes.

    Parameters
    ----------
    source : str
        A folder with a folder for each class, with pictures at any depth; a folder that ``datasets`` has saved; or
        ``hf:NAME`` or ``hf:NAME:SPLIT`` for a data set of the hub.
    labels : Path, optional
        A file that says which number each class has: JSON ``{"name": number}``, or text with the name of a class at the
        start of each line, in the order of the numbers from 0.

    Returns
    -------
    Images
        The number of a class is its place in the sorted names, as for torchvision's ``ImageFolder``; or its name where
        all names are whole numbers; or what `labels` says.

    Raises
    ------
    DataError
        If there are no pictures, or classes without a number, or the source cannot be read.
    MissingExtraError
        If Pillow or datasets is not installed.
    """
    require("PIL", extra="images")
    numbers = None if labels is None else _read_labels(labels)
    scheme, colon, name = source.partition(":")
    if colon and scheme == "hf":
        return _from_hub(name, numbers)
    folder = _folder(source)
    if (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file():
        return _from_disk(folder, numbers)
    return _from_class_folders(folder, numbers)


def open_unlabelled(source: str) -> Images:
    """Open pictures whose classes do not matter: all that are in a folder, at any depth, or those of a data set."""
    require("PIL", extra="images")
    scheme, colon, _ = source.partition(":")
    if colon and scheme == "hf":
        return open_images(source)
    folder = _folder(source)
    files = tuple(pictures_in(folder))
    if not files:
        return open_images(source)
    return ImageFolder(source, files, (0,) * len(files))


def batches(
    images: Images,
    prepare: "Callable[[Image], Tensor]",
    *,
    size: int,
    indices: Sequence[int] | None = None,
    threads: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give pictures and their classes in batches: tensors (images, channels, rows, cols) and (images,).

    Parameters
    ----------
    images : Images
    prepare : callable
        Makes a tensor of a picture.
    size : int
        Of a batch.
    indices : sequence of int, optional
        Which pictures, in which order; by default all.
    threads : int, optional
        How many pictures are read at a time; by default as many as there are processors.

    Raises
    ------
    DataError
        If a picture cannot be read, or those of a batch have different sizes.
    """

    def load(index: int) -> tuple[Tensor, int]:
        image, number = images[index]
        return prepare(image), number

    wanted = range(len(images)) if indices is None else indices
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        coming: deque[list[Future[tuple[Tensor, int]]]] = deque()
        try:
            for start in range(0, len(wanted), size):
                coming.append([pool.submit(load, index) for index in wanted[start : start + size]])
                if len(coming) > _AHEAD:
                    yield _joined(images.label, coming.popleft())
            while coming:
                yield _joined(images.label, coming.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def sample(images: Images, count: int | None, seed: int = 0) -> list[int]:
    """Choose pictures at random, without repetition and in their order; all of them where `count` is None or larger."""
    if count is None or count >= len(images):
        return list(range(len(images)))
    generator = torch.Generator().manual_seed(seed)
    return sorted(torch.randperm(len(images), generator=generator)[:count].tolist())


def _joined(label: str, loaded: Sequence["Future[tuple[Tensor, int]]"]) -> tuple[Tensor, Tensor]:
    tensors, numbers = zip(*(future.result() for future in loaded), strict=True)
    shapes = sorted({tuple(tensor.shape) for tensor in tensors})
    if len(shapes) > 1:
        raise DataError(
            f"{label}: the preparation gives images of shapes {listed([str(shape) for shape in shapes], limit=3)}, "
            "which make no batch; give --size"
        )
    return torch.stack(tensors), torch.tensor(numbers)


def read_picture(path: Path) -> "Image":
    """Read a picture.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); remove or replace it") from None


def class_names(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, in their order; hidden ones do not count."""
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder, at any depth, in the order of their names; hidden ones do not count."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _folder(source: str) -> Path:
    folder = Path(source).expanduser()
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise DataError(f"{source}: {what}; give a folder with a folder of images for each class, or hf:NAME")
    return folder


def _from_class_folders(folder: Path, numbers: Mapping[str, int] | None) -> ImageFolder:
    names = class_names(folder)
    if not names:
        raise DataError(f"{folder}: has no folders; give a folder with a folder of images for each class")
    given = numbers
    if given is None and all(name.isascii() and name.isdigit() for name in names):
        given = {name: int(name) for name in names}
    number_of = _numbers(names, given, str(folder))
    found = [
        (path, number) for name, number in zip(names, number_of, strict=True) for path in pictures_in(folder / name)
    ]
    if not found:
        raise DataError(f"{folder}: the folders {listed(names, limit=3)} hold no images ({', '.join(SUFFIXES)})")
    files, its_numbers = zip(*found, strict=True)
    return ImageFolder(str(folder), files, its_numbers, None if given else len(names))


def _numbers(names: Sequence[str], numbers: Mapping[str, int] | None, label: str) -> tuple[int, ...]:
    """Return the number of each class."""
    if numbers is None:
        return tuple(range(len(names)))
    missing = [repr(name) for name in names if name not in numbers]
    if missing:
        raise DataError(f"{label}: the labels say no number for the classes {listed(missing, limit=3)}; add them")
    return tuple(numbers[name] for name in names)


def _read_labels(path: Path) -> dict[str, int]:
    """Read the number of each class from JSON, or from lines in the order of the numbers."""
    try:
        text = path.read_text(encoding="utf-8")
        if not text.lstrip().startswith("{"):
            names = [line.split()[0] for line in text.splitlines() if line.strip()]
            return {name: number for number, name in enumerate(names)}
        content = json.loads(text)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise DataError(f"{path}: is neither JSON nor a list of names ({error})") from None
    if not all(isinstance(number, int) for number in content.values()):
        raise DataError(f'{path}: must hold {{"name": number}} for each class, or a name on each line')
    return dict(content)


def _from_hub(name: str, numbers: Mapping[str, int] | None) -> DataSet:
    datasets = require("datasets", extra="images")
    repository, _, split = name.partition(":")
    label = f"hf:{name}"
    try:
        rows = datasets.load_dataset(repository, split=split or None)
    except Exception as error:  # the library, the hub client and the network have no common class
        raise DataError(
            f"{label}: can be loaded neither from the local cache nor over the network ({in_short(error)}); check "
            "the name and the network, or give a folder"
        ) from None
    return _data_set(label, rows, numbers, datasets)


def _from_disk(folder: Path, numbers: Mapping[str, int] | None) -> DataSet:
    datasets = require("datasets", extra="images")
    try:
        rows = datasets.load_from_disk(str(folder))
    except Exception as error:  # as above
        raise DataError(f"{folder}: cannot be read as a saved data set ({in_short(error)})") from None
    return _data_set(str(folder), rows, numbers, datasets)


def _data_set(label: str, rows: Any, numbers: Mapping[str, int] | None, datasets: Any) -> DataSet:
    """Choose the split and the columns."""
    if isinstance(rows, Mapping):
        split = next((name for name in _SPLITS if name in rows), next(iter(rows)))
        rows, label = rows[split], f"{label} ({split})"
    features = rows.features
    image = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    target = [name for name in ("label", "labels") if _is_whole(features.get(name), datasets)]
    target = target or [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if not image or len(target) != 1:
        raise DataError(
            f"{label}: needs a column of images and one of classes, called 'label' if there are several; it has "
            f"{listed([repr(name) for name in features])}"
        )
    names = getattr(features[target[0]], "names", None)
    if names is None or numbers is None:
        return DataSet(label, rows, image[0], target[0], classes=None if names is None else len(names))
    return DataSet(label, rows, image[0], target[0], _numbers(names, numbers, label))


def _is_whole(kind: Any, datasets: Any) -> bool:
    return isinstance(kind, datasets.ClassLabel) or (
        isinstance(kind, datasets.Value) and str(kind.dtype).startswith(("int", "uint"))
    )
