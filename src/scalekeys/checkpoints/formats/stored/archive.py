"""Zip archives, looked at before they are trusted: what stands where, and how much memory a record would take."""

import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from scalekeys.checkpoints.formats.stored.sources import Buffer, Bytes, Part, Window, buffer_of
from scalekeys.errors import CheckpointError

MAGIC = b"PK\x03\x04"
"""How a zip archive starts, and each of its records."""

_HEADER = struct.Struct("<4s2xHH16xHH")  # of a record: signature, flags, method, lengths of name and extra field
_ENCRYPTED, _UTF8 = 0x01, 0x800
_MOST_RECORDS = 1 << 20
_BLOCK = 1 << 16
_SMALL = 1 << 26  # bytes that a record may take whatever it is compressed from
_MOST_GROWN = 100  # times: beyond it, weights would have to be almost all zero
FAULTS = (
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError),
    *(ValueError, OverflowError, struct.error, LookupError),
)
"""What :mod:`zipfile` raises on damaged archives."""


@dataclass(frozen=True, eq=False)
class Record:
    """A record of an archive: its bytes as they lie there, and as they are meant."""

    info: zipfile.ZipInfo
    stored: Part
    content: Bytes

    @property
    def is_compressed(self) -> bool:
        """Whether the bytes have to be decompressed."""
        return self.info.compress_type != zipfile.ZIP_STORED


@dataclass(frozen=True, eq=False)
class Archive:
    """The records of a zip archive by their names."""

    records: dict[str, Record]

    def folder_of(self, name: str) -> str | None:
        """Return the folder, with its slash, of the first record called `name`, if there is one.

        PyTorch writes everything into one folder, which has the name of the file.
        """
        found = (key for key in self.records if key == name or key.endswith(f"/{name}"))
        first = min(found, key=lambda key: key.count("/"), default=None)
        return None if first is None else first.removesuffix(name)


def is_archive(head: bytes) -> bool:
    """Tell whether a file that starts so is a zip archive."""
    return head.startswith(MAGIC)


def open_archive(content: Bytes, label: str) -> Archive:
    """Open a zip archive without decompressing anything.

    Raises CheckpointError if it is damaged or encrypted, has two records of one name, or has a record that would grow
    beyond measure.
    """
    try:
        with zipfile.ZipFile(Window(content)) as archive:
            members = archive.infolist()
        if len(members) > _MOST_RECORDS:
            raise ValueError(f"{len(members)} records")
        with buffer_of(content) as buffer:
            records = {member.filename: _record(content, buffer, member) for member in members}
        _check_apart(members, records.values())
    except FAULTS as error:
        raise damaged(label, error) from None
    for record in records.values():
        _check_size(record.info, label)
    return Archive(records)


def damaged(label: str, error: BaseException | str) -> CheckpointError:
    """Return the error for a file that is not as its format wants it."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return CheckpointError(f"{label}: is damaged or cut short ({reason}); fetch or save it again")


def _record(content: Bytes, buffer: Buffer, member: zipfile.ZipInfo) -> Record:
    """Compare the header of a record with the directory at the end, as one of them may have been changed."""
    signature, flags, method, name, extra = _HEADER.unpack_from(buffer, member.header_offset)
    if (flags | member.flag_bits) & _ENCRYPTED:
        raise ValueError("it is encrypted")
    start = member.header_offset + _HEADER.size
    called = bytes(buffer[start : start + name]).decode("utf-8" if flags & _UTF8 else "cp437")
    if signature != MAGIC or method != member.compress_type or called != member.orig_filename:
        raise ValueError(f"the directory and the header of {member.orig_filename[:80]!r} differ")
    stored = content.part(start + name + extra, member.compress_size)
    if stored.size != member.compress_size:
        raise ValueError(f"{member.filename[:80]!r} ends beyond the file")
    if member.compress_type == zipfile.ZIP_STORED:
        if member.file_size != member.compress_size:
            raise ValueError(f"{member.filename[:80]!r} has two sizes")
        return Record(member, stored, stored)
    if member.compress_type != zipfile.ZIP_DEFLATED:
        raise ValueError(f"{member.filename[:80]!r} is compressed by method {member.compress_type}, not deflated")
    return Record(member, stored, Deflated(member.filename, stored, member.file_size))


def _check_apart(members: list[zipfile.ZipInfo], records: Iterable[Record]) -> None:
    names = {member.filename for member in members}
    if len(names) != len(members):
        raise ValueError("two records have one name")
    end = 0
    for info in sorted((record.info for record in records), key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise ValueError(f"{info.filename[:80]!r} overlaps another record")
        end = info.header_offset + _HEADER.size + info.compress_size


def _check_size(info: zipfile.ZipInfo, label: str) -> None:
    if info.file_size > max(_SMALL, _MOST_GROWN * info.compress_size):
        raise CheckpointError(
            f"{label}: its record {info.filename[:80]!r} would grow from {info.compress_size} to {info.file_size} "
            "bytes, which no weights do, and is not unpacked; do not trust the file"
        )


@dataclass(frozen=True, eq=False)
class Deflated(Bytes):
    """The bytes of a compressed record, decompressed as far as they are read and never further."""

    name: str
    stored: Bytes
    size: int

    def _copied(self, start: int, count: int) -> bytearray:
        content, place, blocks = bytearray(), 0, inflated(self.stored, -zlib.MAX_WBITS)
        try:
            while place < start + count:
                block = next(blocks)
                content += block[max(0, start - place) : max(0, start + count - place)]
                place += len(block)
        except (StopIteration, EOFError):
            raise ValueError(f"{self.name[:80]!r} cannot be decompressed: it ends too early") from None
        except zlib.error as error:
            raise ValueError(f"{self.name[:80]!r} cannot be decompressed: {error}") from None
        return content


def inflated(packed: Bytes, bits: int) -> Iterator[bytes]:
    """Yield what bytes decompress to, block by block.

    `bits`: of the window, as in :func:`zlib.decompressobj`.
    Raises EOFError if the bytes end too early; zlib.error if they are damaged.
    """
    inflate, place = zlib.decompressobj(bits), 0
    while not inflate.eof:
        given = inflate.unconsumed_tail or bytes(packed.read(place, _BLOCK))
        place += 0 if inflate.unconsumed_tail else len(given)
        block = inflate.decompress(given, _BLOCK)
        if not block and not given:
            raise EOFError
        yield block
