"""Stretches of bytes of a file, of memory, or of another stretch, which are read part by part."""

import io
import mmap
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from scalekeys.files import open_regular

Buffer: TypeAlias = memoryview | bytes


class Bytes(ABC):
    """A stretch of bytes."""

    size: int
    """How many bytes there are."""

    def read(self, start: int, count: int) -> bytearray:
        """Copy some of the bytes; fewer than `count` at the end."""
        return self._copied(start, max(0, min(count, self.size - start)))

    def part(self, start: int, size: int) -> "Part":
        """Return a stretch inside, cut at the end."""
        start = min(max(start, 0), self.size)
        return Part(self, start, max(0, min(size, self.size - start)))

    @abstractmethod
    def _copied(self, start: int, count: int) -> bytearray: ...


@dataclass(frozen=True, eq=False)
class FileBytes(Bytes):
    """All bytes of a file, which is opened anew for each reading."""

    path: Path
    size: int

    def _copied(self, start: int, count: int) -> bytearray:
        with open_regular(self.path) as file:
            file.seek(start)
            content = bytearray(count)
            del content[file.readinto(content) :]
            return content


class MemoryBytes(Bytes):
    """Bytes in memory."""

    def __init__(self, content: bytes | bytearray) -> None:
        self.content, self.size = content, len(content)

    def _copied(self, start: int, count: int) -> bytearray:
        return bytearray(memoryview(self.content)[start : start + count])


@dataclass(eq=False)
class Part(Bytes):
    """A stretch of other bytes, which begins at `start` of these."""

    of: Bytes
    start: int
    size: int

    def part(self, start: int, size: int) -> "Part":
        """Return a stretch inside, cut at the end, as one of the same bytes."""
        inside = super().part(start, size)
        return Part(self.of, self.start + inside.start, inside.size)

    def _copied(self, start: int, count: int) -> bytearray:
        return self.of.read(self.start + start, count)


class Joined(Bytes):
    """Several stretches of bytes, one behind the other.

    >>> bytes(Joined([MemoryBytes(b"abc"), MemoryBytes(b"de")]).read(2, 2))
    b'cd'
    """

    def __init__(self, parts: Sequence[Bytes]) -> None:
        self._parts, self.size = tuple(parts), sum(part.size for part in parts)

    def _copied(self, start: int, count: int) -> bytearray:
        content = bytearray()
        for part in self._parts:
            if start < part.size and len(content) < count:
                content += part.read(start, count - len(content))
            start = max(0, start - part.size)
        return content


def whole(path: Path) -> FileBytes:
    """Return all bytes of a file."""
    return FileBytes(path, path.stat().st_size)


@contextmanager
def buffer_of(content: Bytes) -> Iterator[Buffer]:
    """Give bytes as a buffer: mapped if they are those of a file, so that only what is looked at is read.

    >>> with buffer_of(MemoryBytes(b"abc")) as buffer:
    ...     bytes(buffer[1:])
    b'bc'
    """
    part = content.part(0, content.size)
    if isinstance(part.of, MemoryBytes):
        yield memoryview(part.of.content)[part.start : part.start + part.size]
    elif not isinstance(part.of, FileBytes) or not part.size:
        yield bytes(part.read(0, part.size))
    else:
        with (
            open_regular(part.of.path) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as view,
            view[part.start : part.start + part.size] as stretch,
        ):
            yield stretch


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

    def readinto(self, target: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Fill a buffer as far as there are bytes."""
        found = self._content.read(self._place, len(target))
        target[: len(found)] = found
        self._place += len(found)
        return len(found)
