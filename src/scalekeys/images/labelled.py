"""Pictures with classes: folders of them, and data sets of Hugging Face."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from scalekeys.errors import DataError, listed
from scalekeys.files import exists, expanded, is_file, is_folder
from scalekeys.images.classes import MOST, ClassNumbers, class_numbers, read_labels
from scalekeys.images.pictures import SUFFIXES, check_depth, class_folders, pictures_in, read_picture
from scalekeys.optional import in_short, require

if TYPE_CHECKING:
    from PIL.Image import Image

_SPLITS = ("validation", "test", "val", "train")


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
    """Pictures in files."""

    label: str
    files: tuple[Path, ...]
    numbers: tuple[int, ...]
    """The class of each."""
    classes: int | None = None
    """See :class:`Images`."""

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> "tuple[Image, int]":
        return read_picture(self.files[index]), self.numbers[index]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Pictures of a data set of Hugging Face."""

    label: str
    rows: Any
    image: str
    target: str
    """`image` and `target`: the columns."""
    numbers: tuple[int, ...] | None = None
    """The class that each stored number stands for, if it is another."""
    classes: int | None = None
    """See :class:`Images`."""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> "tuple[Image, int]":
        try:
            row = self.rows[index]
        except Exception as error:  # decoding is done by libraries that have no common class
            raise DataError(f"{self.label}: row {index} cannot be read ({in_short(error)})") from None
        image, number = row[self.image], row[self.target]
        most = MOST if self.numbers is None else len(self.numbers)
        if image is None or not isinstance(number, int) or not 0 <= number < most:
            raise DataError(f"{self.label}: row {index} has no image, or no class from 0; leave it out")
        check_depth(image, f"{self.label}: row {index}")
        return image, number if self.numbers is None else self.numbers[number]


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
        With the numbers of :func:`scalekeys.images.classes.class_numbers`; a data set keeps its own where `labels` does
        not say others.

    Raises
    ------
    DataError
        If there are no pictures, or classes without a number, or the source cannot be read.
    MissingExtraError
        If Pillow or datasets is not installed.
    """
    require("PIL", extra="images")
    numbers = None if labels is None else read_labels(labels)
    scheme, colon, name = source.partition(":")
    if colon and scheme == "hf":
        return _from_hub(name, numbers)
    folder = _folder(source)
    if _is_saved(folder):
        return _from_disk(folder, numbers)
    if numbers is None:
        return open_class_folders(folder)
    return open_class_folders(folder, class_numbers(class_folders(folder), str(folder), numbers))


def open_unlabelled(source: str) -> Images:
    """Open pictures whose classes do not matter: all that are in a folder, at any depth, or those of a data set."""
    require("PIL", extra="images")
    scheme, colon, _ = source.partition(":")
    if colon and scheme == "hf":
        return open_images(source)
    wanted = "a folder of images, at any depth"
    folder = _folder(source, wanted)
    if _is_saved(folder):
        return _from_disk(folder, None)
    files = tuple(pictures_in(folder))
    if not files:
        raise DataError(f"{source}: holds no images; give {wanted}, or hf:NAME")
    return ImageFolder(source, files, (0,) * len(files))


def _folder(source: str, wanted: str = "a folder with a folder of images for each class") -> Path:
    folder = expanded(source)
    if not is_folder(folder):
        what = "is a file" if exists(folder) else "no such folder"
        raise DataError(f"{source}: {what}; give {wanted}, or hf:NAME")
    return folder


def _is_saved(folder: Path) -> bool:
    """Tell whether ``datasets`` has saved a data set there."""
    return is_file(folder / "dataset_dict.json") or is_file(folder / "dataset_info.json")


def open_class_folders(folder: Path, numbers: ClassNumbers | None = None) -> ImageFolder:
    """Open the pictures in the folders of a folder, each of which is a class.

    Parameters
    ----------
    folder : Path
    numbers : ClassNumbers, optional
        Those of other pictures of the same classes.

    Raises
    ------
    DataError
        If there are no pictures, or a class without a number.
    """
    names = class_folders(folder)
    if not names:
        raise DataError(f"{folder}: has no folders; give a folder with a folder of images for each class")
    numbers = class_numbers(names, str(folder)) if numbers is None else numbers
    found: list[tuple[Path, int]] = []
    for name in names:
        number = numbers.of(name)
        if number is None:
            raise DataError(f"{folder / name}: the training images have no class of this name; rename or remove it")
        found += [(path, number) for path in pictures_in(folder / name)]
    if not found:
        raise DataError(f"{folder}: the folders {listed(names, limit=3)} hold no images ({', '.join(SUFFIXES)})")
    files, its_numbers = zip(*found, strict=True)
    return ImageFolder(str(folder), files, its_numbers, len(names) if numbers.are_places else None)


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
    given = class_numbers(names, label, numbers).numbers
    return DataSet(label, rows, image[0], target[0], tuple(given[name] for name in names))


def _is_whole(kind: Any, datasets: Any) -> bool:
    return isinstance(kind, datasets.ClassLabel) or (
        isinstance(kind, datasets.Value) and str(kind.dtype).startswith(("int", "uint"))
    )
