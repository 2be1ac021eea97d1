"""A file on a web server, of which ranges of bytes are fetched into a temporary file and read there."""

import re
import tempfile
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256
from http.client import HTTPResponse, IncompleteRead

from scalekeys.checkpoints.web.requests import SILENCE, Address, RefusedError, ask
from scalekeys.errors import CheckpointError

FIRST = 1 << 16
"""Bytes of the first request, which hold the header of most files."""
LARGEST_WHOLE = 1 << 31
"""The most bytes that are fetched from a server that gives no parts of files."""

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_CHUNK = 1 << 16
_SLOWEST = 10_000  # bytes a second


@dataclass(frozen=True)
class Version:
    """What a server says of the state of a file, which another state does not have."""

    size: int
    tag: str = ""
    modified: str = ""

    def differs(self, other: "Version") -> bool:
        """Tell whether two answers are certainly on different states."""
        if self.tag and other.tag:
            return (self.size, self.tag) != (other.size, other.tag)
        both = bool(self.modified and other.modified)
        return self.size != other.size or (both and self.modified != other.modified)

    def word(self) -> str:
        """Return the state as a word; empty where the size is all that the server tells."""
        told = self.tag or self.modified
        return sha256(f"{self.size} {told}".encode()).hexdigest()[:32] if told else ""


def version_of(address: Address) -> Version:
    """Ask a server, once, for the state of a file; one byte of the file is fetched.

    Raises CheckpointError if it is not there, or cannot be asked.
    """

    def receive(response: HTTPResponse) -> Version:
        if response.status == 206:
            return _part(address, response, 0, 1)[0]
        return _version(response, _length(response) or 0)

    return ask(address, {"Range": "bytes=0-0"}, receive, attempts=1)


class RangedFile:
    """A file on a web server.

    What is fetched is kept in a temporary file without a name, so that nothing is left behind, however this process
    ends.

    Raises CheckpointError if the file is not there, is empty, cannot be fetched, or is too large to be fetched as a
    whole.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.notes: tuple[str, ...] = ()
        self._content = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (closed with this object)
        weakref.finalize(self, self._content.close)
        self._there: list[tuple[int, int]] = []
        self._direct = ""
        self._version: Version | None = None
        self.fetch(0, FIRST)

    @property
    def size(self) -> int:
        """How many bytes the file has."""
        return self._version.size if self._version else 0

    def fetch(self, start: int, stop: int) -> None:
        """Fetch a range of bytes, unless it is there.

        Raises CheckpointError if it cannot be fetched, or the file has changed since it was opened.
        """
        stop = min(stop, self.size) if self._version else stop
        if start < stop and not any(first <= start and stop <= last for first, last in self._there):
            self._there.append(self._ask(start, stop))

    def read(self, start: int, stop: int) -> bytes:
        """Return a range of bytes, cut at the end of the file; see :meth:`fetch`."""
        self.fetch(start, stop)
        self._content.seek(start)
        return self._content.read(stop - start)

    def _ask(self, start: int, stop: int) -> tuple[int, int]:
        """Fetch a range where an earlier redirect led to, or, where that address has expired, where the user said."""

        def receive(response: HTTPResponse) -> tuple[int, int]:
            return self._receive(response, start, stop)

        headers = {"Range": f"bytes={start}-{stop - 1}"}
        if self._direct:
            try:
                return ask(replace(self.address, url=self._direct), headers, receive)
            except RefusedError:
                self._direct = ""
        return ask(self.address, headers, receive)

    def _receive(self, response: HTTPResponse, start: int, stop: int) -> tuple[int, int]:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise CheckpointError(f"{self.address.label}: the server sends it packed, unasked; download the file")
        if response.status != 206:
            return self._receive_whole(response)
        version, stop = _part(self.address, response, start, stop)
        self._check(version)
        if missing := stop - start - self._copy(response, start, stop - start):
            raise IncompleteRead(b"", missing)
        if response.url != self.address.url:
            self._direct = response.url
        return start, stop

    def _receive_whole(self, response: HTTPResponse) -> tuple[int, int]:
        """Take the file as a whole from a server that gives no parts, if it is not too large."""
        if self._version is not None:
            raise CheckpointError(
                f"{self.address.label}: the server has given parts of the file, and now gives the whole, as where the "
                "file has changed while it was read; run again"
            )
        length = _length(response)
        if length and length > LARGEST_WHOLE:
            raise self._too_large(length)
        copied = self._copy(response, 0, LARGEST_WHOLE + 1 if length is None else length)
        if copied > LARGEST_WHOLE:
            raise self._too_large(copied)
        if copied == 0:
            raise CheckpointError(f"{self.address.label}: is empty; check the address")
        if length is not None and copied < length:
            raise IncompleteRead(b"", length - copied)
        self._version = _version(response, copied)
        self.notes = (f"the server gives no parts of files, so that all {copied} bytes were fetched",)
        return 0, copied

    def _too_large(self, length: int) -> CheckpointError:
        return CheckpointError(
            f"{self.address.label}: the server gives no parts of files, and its {length} bytes are more than the "
            f"{LARGEST_WHOLE} that are fetched as a whole; download the file and give its path"
        )

    def _check(self, version: Version) -> None:
        if self._version is not None and self._version.differs(version):
            raise CheckpointError(f"{self.address.label}: has changed while it was read; run again when it is written")
        self._version = self._version or version

    def _copy(self, response: HTTPResponse, start: int, most: int) -> int:
        """Write what comes to its place in the temporary file, and return how many bytes came.

        Raises TimeoutError if they come too slowly.
        """
        self._content.seek(start)
        copied, begun = 0, time.monotonic()
        while copied < most and (chunk := response.read1(min(most - copied, _CHUNK))):
            self._keep(chunk)
            copied += len(chunk)
            if time.monotonic() - begun > SILENCE + copied / _SLOWEST:
                raise TimeoutError
        return copied

    def _keep(self, chunk: bytes) -> None:
        try:
            self._content.write(chunk)
        except OSError as error:
            raise CheckpointError(
                f"{self.address.label}: cannot be kept in a temporary file ({error.strerror or error}); "
                "set TMPDIR to a folder with room"
            ) from None


def joined(spans: Iterable[tuple[int, int]], *, gap: int, most: int) -> list[tuple[int, int]]:
    """Join ranges of bytes that lie close together.

    `spans`: start and stop of each.
    `gap`: the most bytes between two that are joined, which are fetched in vain.
    `most`: the most bytes of a joined range.

    >>> joined([(0, 10), (12, 20), (50, 60)], gap=4, most=100)
    [(0, 20), (50, 60)]
    """
    together: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        first, last = together[-1] if together else (0, 0)
        if together and start - last <= gap and stop - first <= most:
            together[-1] = first, max(last, stop)
        else:
            together.append((start, stop))
    return together


def _part(address: Address, response: HTTPResponse, start: int, stop: int) -> tuple[Version, int]:
    """Return the state of a file, and where the part that is coming ends; refuse a part that was not asked for."""
    told = response.headers.get("Content-Range", "")
    found = _RANGE.fullmatch(told.strip())
    first, last, size = (int(digits) for digits in found.groups()) if found else (0, 0, 0)
    if not size or first != start or last + 1 != min(stop, size):
        raise CheckpointError(
            f"{address.label}: the server was asked for bytes {start} to {stop - 1} and answers with {told[:60]!r}; "
            "download the file and give its path"
        )
    return _version(response, size), last + 1


def _version(response: HTTPResponse, size: int) -> Version:
    return Version(size, response.headers.get("ETag", ""), response.headers.get("Last-Modified", ""))


def _length(response: HTTPResponse) -> int | None:
    told = response.headers.get("Content-Length", "")
    return int(told) if told.isdecimal() else None
