"""CIFAR-10 from files: the binary version of its authors, or JPEG images packed in an ``.npz`` archive."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from scalekeys.errors import RecipeError
from scalekeys.files import exists, open_regular, read_bytes, read_text
from scalekeys.images.pictures import packed_files
from scalekeys.optional import in_short, require
from scalekeys.training.data.images import MemoryImages

_SIDE = 32
_RECORD = 1 + 3 * _SIDE * _SIDE  # a label, then red, green and blue
_FILES = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
_NAMES = "batches.meta.txt"


def is_binary(path: Path) -> bool:
    """Tell whether a folder is the binary version of CIFAR-10."""
    return (path / _FILES["test"][0]).is_file()


def binary(path: Path, part: str) -> tuple[MemoryImages, tuple[str, ...]]:
    """Read a part of the binary version, and the names of the classes.

    Raises RecipeError if a file is missing or is not whole.
    """
    records = np.concatenate([_records(path / name) for name in _FILES[part]])
    pixels = torch.from_numpy(records[:, 1:].reshape(-1, 3, _SIDE, _SIDE).copy())
    labels = torch.from_numpy(records[:, 0].astype(np.int64))
    listed = exists(path / _NAMES)
    names = read_text(path / _NAMES, RecipeError).split() if listed else [str(label) for label in range(10)]
    return MemoryImages(pixels, _checked(labels, names, path)), tuple(names)


def _checked(labels: torch.Tensor, names: Sequence[str], path: Path) -> torch.Tensor:
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(names):
        raise RecipeError(f"{path}: has labels that are none of its {len(names)} classes; get the files again")
    return labels


def _records(path: Path) -> np.ndarray:
    content = np.frombuffer(read_bytes(path, RecipeError), dtype=np.uint8)
    if not len(content) or len(content) % _RECORD:
        raise RecipeError(f"{path}: has {len(content)} bytes, not a multiple of {_RECORD}; unpack the archive again")
    return content.reshape(-1, _RECORD)


def packed(path: Path, part: str) -> tuple[MemoryImages, tuple[str, ...]]:
    """Read a part of an archive of JPEG images, and the names of the classes.

    The archive holds, for ``train`` and ``test``, the bytes of all images ``jpeg_*``, where each begins and the last
    ends, ``offs_*``, and the labels ``y_*``; and ``classes``.

    Raises RecipeError if it lacks one of them, is damaged, or an image has another size.
    """
    try:
        with open_regular(path) as file, np.load(file, allow_pickle=False) as archive:
            content = {name: archive[name] for name in (f"jpeg_{part}", f"offs_{part}", f"y_{part}", "classes")}
    except KeyError as error:
        raise RecipeError(
            f"{path}: holds no {error.args[0]}; it needs jpeg, offs and y of {part}, and classes"
        ) from None
    except Exception as error:  # the readers of archives and arrays have no common class
        raise RecipeError(f"{path}: cannot be read as a packed data set ({in_short(error)})") from None
    _check_arrays(content, part, path)
    names, pixels = tuple(map(str, content["classes"])), _decoded(content, part, path)
    return MemoryImages(pixels, _checked(torch.from_numpy(content[f"y_{part}"].astype(np.int64)), names, path)), names


def _check_arrays(content: Mapping[str, np.ndarray], part: str, path: Path) -> None:
    """Refuse arrays that are not the bytes, places and labels of as many images."""
    jpeg, offsets, labels = (content[f"{name}_{part}"] for name in ("jpeg", "offs", "y"))
    whole = all(array.ndim == 1 and array.dtype.kind in "iu" for array in (jpeg, offsets, labels))
    if not whole or content["classes"].ndim != 1 or len(offsets) != len(labels) + 1:
        raise RecipeError(f"{path}: the arrays of {part} are not those of a packed data set; get the file again")
    if offsets[0] < 0 or offsets[-1] > len(jpeg) or (np.diff(offsets.astype(np.int64)) <= 0).any():
        raise RecipeError(f"{path}: offs_{part} does not say where images begin; get the file again")


def _decoded(content: Mapping[str, np.ndarray], part: str, path: Path) -> torch.Tensor:
    image_module = require("PIL.Image", extra="train")
    pixels = np.empty((len(content[f"y_{part}"]), _SIDE, _SIDE, 3), dtype=np.uint8)
    for number, file in enumerate(packed_files(content[f"jpeg_{part}"], content[f"offs_{part}"])):
        try:
            pixels[number] = image_module.open(io.BytesIO(file)).convert("RGB")
        except Exception as error:  # Pillow's readers have no common class
            raise RecipeError(
                f"{path}: image {number} of {part} is damaged or not of {_SIDE} x {_SIDE} ({in_short(error)})"
            ) from None
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
