"""Where the HDF5 file of a Keras model stands: it is the file itself, or a member of a ``.keras`` archive."""

import io
import mmap
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from scalekeys.checkpoints.formats.keras_model.hdf5_checks import check_heaps
from scalekeys.checkpoints.formats.torch_zip.zip_records import MAGIC, is_archive, start_of
from scalekeys.errors import CheckpointError
from scalekeys.optional import in_short, require

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = (b"metadata.json", b"config.json", b"model.weights.h5")
_NAME = 30  # where the header of a zip record has the name of it
_LARGEST_CONFIG = 2**28
_LARGEST_UNPACKED = 2**30


def is_keras_archive(head: bytes) -> bool:
    """Tell whether a file starts as a ``.keras`` archive, by the name of its first member."""
    return head.startswith(MAGIC) and head[_NAME:].startswith(_MEMBERS)


@contextmanager
def opened_weights(path: Path, *, is_checked: bool = False) -> Iterator[Any]:
    """Open the HDF5 file of a Keras model, and say in one sentence what is wrong with it.

    Parameters
    ----------
    is_checked : bool
        Whether the file has been opened before, so that what HDF5 does not check need not be looked at again.

    Raises
    ------
    MissingExtraError
        If h5py is not installed.
    CheckpointError
        If the file, or what is read of it while it is open, is damaged or cut short.
    """
    h5py = require("h5py", extra="keras")
    try:
        with _stream(path, is_checked=is_checked) as stream, h5py.File(stream, "r") as file:
            yield file
    except CheckpointError:
        raise
    except Exception as error:  # h5py has an error of another kind for each damage
        raise CheckpointError(
            f"{path}: is no Keras model, or is damaged or cut short ({in_short(error)}); fetch or save it again"
        ) from None


def config_of_archive(path: Path) -> bytes | None:
    """Return the configuration that a ``.keras`` archive holds beside its weights, None for any other file."""
    if not is_archive(path):
        return None
    with _archive(path) as archive:
        member = _member(path, archive, _CONFIG)
        if member.file_size > _LARGEST_CONFIG:
            raise CheckpointError(f"{path}: its {_CONFIG} claims {member.file_size} bytes; do not trust it")
        return _unpacked(archive, member, _LARGEST_CONFIG)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (CheckpointError, OSError):
        raise
    except Exception as error:  # zipfile has an error of another kind for each damage
        raise CheckpointError(f"{path}: is damaged or cut short ({in_short(error)}); fetch or save it again") from None


@contextmanager
def _stream(path: Path, *, is_checked: bool) -> Iterator[BinaryIO | io.IOBase]:
    """Open the bytes of the HDF5 file; HDF5 jumps about in them, so that a packed member is unpacked in memory."""
    with path.open("rb") as file:
        if not is_checked:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                check_heaps(content)
        if not is_archive(path):
            yield file
            return
        with _archive(path) as archive:
            member = _member(path, archive, _WEIGHTS)
            if member.compress_type == zipfile.ZIP_STORED:
                yield _Window(file, start_of(file, member), member.file_size)
                return
            if member.file_size > _LARGEST_UNPACKED:
                raise CheckpointError(
                    f"{path}: its packed {_WEIGHTS} claims {member.file_size} bytes; unpack it and give that file"
                )
            unpacked = _unpacked(archive, member, _LARGEST_UNPACKED)
            if not is_checked:
                check_heaps(unpacked)
            yield io.BytesIO(unpacked)


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    found = [member for member in archive.infolist() if member.filename == name]
    if len(found) != 1:
        held = "no" if not found else f"{len(found)} members"
        raise CheckpointError(f"{path}: is a zip archive with {held} {name}, which is no Keras model; save it again")
    return found[0]


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> bytes:
    with archive.open(member) as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{member.filename} is larger than it says")
    return content


class _Window(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._place = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._place)
        content = self._file.read(max(0, min(len(buffer), self._size - self._place)))
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)
