"""Stretches of bytes of a file, of memory, or of another stretch, which are read part by part."""

import io
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from scalekeys.files import open_regular

Buffer: TypeAlias = "memoryview | mmap.mmap | bytes"


class Bytes(Protocol):
    """A stretch of bytes."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def read(self, start: int, count: int) -> bytearray:
        """Copy some of the bytes; fewer than `count` at the end."""
        ...

    def part(self, start: int, size: int) -> "Bytes":
        """Return a stretch inside, cut at the end."""
        ...


@dataclass(frozen=True)
class FileBytes:
    """Bytes `start` to ``start + size`` of a file, which is opened anew for each reading."""

    path: Path
    start: int
    size: int

    def read(self, start: int, count: int) -> bytearray:
        """Copy some of the bytes; fewer than `count` at the end."""
        count = max(0, min(count, self.size - start))
        with open_regular(self.path) as file:
            file.seek(self.start + start)
            content = bytearray(count)
            return content[: file.readinto(content)]

    def part(self, start: int, size: int) -> "FileBytes":
        """Return a stretch inside, cut at the end."""
        start = min(max(start, 0), self.size)
        return FileBytes(self.path, self.start + start, max(0, min(size, self.size - start)))


@dataclass(frozen=True, eq=False)
class MemoryBytes:
    """Bytes in memory."""

    content: bytes | memoryview

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.content)

    def read(self, start: int, count: int) -> bytearray:
        """Copy some of the bytes; fewer than `count` at the end."""
        return bytearray(self.content[start : start + max(0, count)])

    def part(self, start: int, size: int) -> "MemoryBytes":
        """Return a stretch inside, cut at the end."""
        return MemoryBytes(memoryview(self.content)[start : start + max(0, size)])


@dataclass(frozen=True, eq=False)
class Part:
    """A stretch of bytes that have to be made out of others each time."""

    of: Bytes
    start: int
    size: int

    def read(self, start: int, count: int) -> bytearray:
        """Copy some of the bytes; fewer than `count` at the end."""
        return self.of.read(self.start + start, max(0, min(count, self.size - start)))

    def part(self, start: int, size: int) -> "Part":
        """Return a stretch inside, cut at the end."""
        start = min(max(start, 0), self.size)
        return Part(self.of, self.start + start, max(0, min(size, self.size - start)))


def whole(path: Path) -> FileBytes:
    """Return all bytes of a file."""
    return FileBytes(path, 0, path.stat().st_size)


@contextmanager
def buffer_of(content: Bytes) -> Iterator[Buffer]:
    """Give bytes as a buffer: mapped if they are those of a file, so that only what is looked at is read.

    >>> with buffer_of(MemoryBytes(b"abc")) as buffer:
    ...     bytes(buffer[1:])
    b'bc'
    """
    if isinstance(content, MemoryBytes):
        yield content.content
    elif not isinstance(content, FileBytes) or not content.size:
        yield bytes(content.read(0, content.size))
    else:
        with open_regular(content.path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            view = memoryview(mapped)
            part = view[content.start : content.start + content.size]
            try:
                yield part
            finally:
                part.release()
                view.release()


class Window(io.RawIOBase):
    """Bytes as a file that can be read and searched."""

    def __init__(self, content: Bytes) -> None:
        super().__init__()
        self._content, self._place = content, 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be searched."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        start = (0, self._place, self._content.size)[whence]
        if start + offset < 0:
            raise ValueError("a place before the start")
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def readinto(self, target: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Fill a buffer as far as there are bytes."""
        found = self._content.read(self._place, len(target))
        target[: len(found)] = found
        self._place += len(found)
        return len(found)
