"""Where the HDF5 file of a Keras model stands: it is the file itself, or a record of a ``.keras`` archive."""

import re
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scalekeys.checkpoints.formats.stored.archive import MAGIC, Archive, Record, damaged, is_archive, open_archive
from scalekeys.checkpoints.formats.stored.sources import Buffer, Bytes, MemoryBytes, Window, buffer_of, whole
from scalekeys.errors import CheckpointError
from scalekeys.optional import in_short, require

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAP = b"GCOL\x01"  # signature and version of a global heap
_HEAP_HEADER = struct.Struct("<4sB3sQ")  # and its size
_OBJECT = struct.Struct("<HHIQ")  # number, references, nothing, size

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_LARGEST_CONFIG = 2**28
_LARGEST_UNPACKED = 2**30


def matches(head: bytes) -> bool:
    """Tell whether a file starts as an HDF5 file."""
    return head.startswith(_SIGNATURE)


def holds(names: Collection[str]) -> bool:
    """Tell from the names of its records whether a zip archive is a Keras model."""
    return _WEIGHTS in names or (_CONFIG in names and "metadata.json" in names)


@contextmanager
def opened_weights(path: Path, *, is_checked: bool = False) -> Iterator[Any]:
    """Open the HDF5 file of a Keras model, and say in one sentence what is wrong with it.

    `is_checked`: whether the file has been opened before, so that what HDF5 does not check need not be looked at again.
    Raises MissingExtraError if h5py is not installed; CheckpointError if the file, or what is read of it while it is
    open, is damaged or cut short.
    """
    h5py = require("h5py", extra="keras")
    try:
        content = _weights(path)
        if not is_checked:
            with buffer_of(content) as buffer:
                _check_heaps(buffer)
        with h5py.File(Window(content), "r") as file:
            yield file
    except CheckpointError:
        raise
    except Exception as error:  # h5py has an error of another kind for each damage
        raise CheckpointError(
            f"{path}: is no Keras model, or is damaged or cut short ({in_short(error)}); fetch or save it again"
        ) from None


def config_of_archive(path: Path) -> bytes | None:
    """Return the configuration that a ``.keras`` archive holds beside its weights, None for any other file."""
    archive = _archive(path)
    if archive is None:
        return None
    try:
        content = _record(path, archive, _CONFIG).content
        if content.size > _LARGEST_CONFIG:
            raise CheckpointError(f"{path}: its {_CONFIG} claims {content.size} bytes; do not trust it")
        return bytes(content.read(0, content.size))
    except ValueError as error:  # it cannot be unpacked
        raise damaged(str(path), error) from None


def _archive(path: Path) -> Archive | None:
    content = whole(path)
    return open_archive(content, str(path)) if is_archive(bytes(content.read(0, len(MAGIC)))) else None


def _weights(path: Path) -> Bytes:
    """Return the bytes of the HDF5 file; HDF5 jumps about in them, so that a packed record is unpacked in memory."""
    archive = _archive(path)
    if archive is None:
        return whole(path)
    record = _record(path, archive, _WEIGHTS)
    if not record.is_compressed:
        return record.content
    size = record.content.size
    if size > _LARGEST_UNPACKED:
        raise CheckpointError(f"{path}: its packed {_WEIGHTS} claims {size} bytes; unpack it and give that file")
    return MemoryBytes(record.content.read(0, size))


def _record(path: Path, archive: Archive, name: str) -> Record:
    if name not in archive.records:
        raise CheckpointError(f"{path}: is a zip archive with no {name}, which is no Keras model; save it again")
    return archive.records[name]


def _check_heaps(content: Buffer) -> None:
    r"""Check that the objects of each global heap, where texts of any length are kept, stand one behind the other.

    The HDF5 library does not, and follows some damages of a file in a circle, for ever.
    Raises ValueError if they do not.

    >>> heap = _HEAP_HEADER.pack(b"GCOL", 1, bytes(3), 56) + _OBJECT.pack(1, 1, 0, 2) + b"ab".ljust(8, b"\0")
    >>> _check_heaps(heap + _OBJECT.pack(0, 0, 0, 16))
    >>> _check_heaps(heap + _OBJECT.pack(0, 0, 0, 0))
    Traceback (most recent call last):
        ...
    ValueError: a heap of it is damaged
    """
    most = len(content) // _OBJECT.size  # heaps do not overlap
    for place in [found.start() for found in re.finditer(re.escape(_HEAP), content)]:
        most -= _objects(content, place, most)


def _objects(content: Buffer, start: int, most: int) -> int:
    """Count the objects of the heap at a place."""
    count, place, end = 0, start + _HEAP_HEADER.size, start
    if place <= len(content):
        end += _HEAP_HEADER.unpack_from(content, start)[-1]
    if not place <= end <= len(content):
        raise ValueError("a heap of it is damaged")
    while place + _OBJECT.size <= end:
        number, _, _, length = _OBJECT.unpack_from(content, place)
        step = _OBJECT.size + -(-length // 8) * 8 if number else length  # that of free space counts its header
        count += 1
        if step < _OBJECT.size or count > most:
            raise ValueError("a heap of it is damaged")
        place += step
    return count
