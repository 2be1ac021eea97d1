"""Where the HDF5 file of a Keras model stands: it is the file itself, or a record of a ``.keras`` archive."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scalekeys.checkpoints.formats.keras_model.hdf5_checks import check_heaps
from scalekeys.checkpoints.formats.stored.archive import MAGIC, Archive, Record, damaged, is_archive, open_archive
from scalekeys.checkpoints.formats.stored.sources import Bytes, MemoryBytes, Window, buffer_of, whole
from scalekeys.errors import CheckpointError
from scalekeys.optional import in_short, require

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
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
                check_heaps(buffer)
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
