"""Pictures in files, and folders of them."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from scalekeys.errors import DataError
from scalekeys.files import exists, is_file, open_regular
from scalekeys.optional import first_line

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Files of these are pictures; the list of torchvision's ImageFolder."""


def read_picture(path: Path) -> "Image":
    """Read a picture; raises DataError if it cannot be read, or is grey with more than 8 bits."""
    from PIL import Image, UnidentifiedImageError

    try:
        with open_regular(path) as file, Image.open(file) as image:
            image.load()
    except UnidentifiedImageError:
        reason = "its format is none that Pillow knows"
    except Exception as error:  # the formats of Pillow have no common class
        reason = getattr(error, "strerror", None) or first_line(error)
    else:
        check_depth(image, str(path))
        return image
    raise DataError(f"{path}: cannot be read as an image ({reason}); remove or replace it")


def check_depth(image: "Image", label: str) -> None:
    """Refuse a grey picture with more than 8 bits, which Pillow cuts to the range from 0 to 255.

    `label`: what the error calls it.
    """
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{label}: has more than 8 bits (mode {image.mode}); save it with 8")


def packed_files(content: np.ndarray, offsets: np.ndarray) -> Iterator[bytes]:
    """Give the bytes of each file of an archive that holds them one behind the other.

    `offsets`: where each file begins and the last one ends.
    """
    for start, end in pairwise(offsets.tolist()):
        yield content[start:end].tobytes()


def class_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, in their order; hidden ones do not count.

    Raises DataError if the folder cannot be read, or holds a link that leads nowhere.
    """
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        _refuse(error)
    for path in entries:
        if not exists(path):
            raise DataError(f"{path}: is a link to nothing; remove or mend it")
    return [path.name for path in entries if path.is_dir()]


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder, at any depth, in the order of their names; what is hidden does not count.

    Raises DataError if a folder cannot be read, or what is called a picture is no regular file.
    """
    found, seen = [], set()
    for root, folders, files in os.walk(folder, onerror=_refuse, followlinks=True):
        real = os.path.realpath(root)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        pictures = [] if real in seen else [Path(root, name) for name in files if _is_picture(name)]
        seen.add(real)
        strange = next((path for path in pictures if not is_file(path)), None)
        if strange is not None:
            raise DataError(f"{strange}: is a link to nothing, a pipe or a device; remove or replace it")
        found += pictures
    return sorted(found)


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename}: cannot be read ({error.strerror or error})")
