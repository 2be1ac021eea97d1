"""Zip archives some of whose records are overwritten: where their bytes are, and their checksums."""

import struct
import zipfile
import zlib
from collections.abc import Mapping
from io import BufferedRandom
from pathlib import Path

from scalekeys.checkpoints.formats.stored.archive import Record

_HEADER_CHECKSUM = 14
_ENTRY = struct.Struct("<28xHHH12x")  # of the directory at the end: lengths of name, extra field and comment
_ENTRY_CHECKSUM = 16
_DESCRIPTOR, _HAS_DESCRIPTOR = b"PK\x07\x08", 0x08
_BLOCK = 1 << 20


def repair_checksums(path: Path, records: Mapping[str, Record]) -> None:
    """Set the checksums of uncompressed records to those of their bytes, wherever the archive has them.

    They stand in the directory at the end, and in the header of a record or, where that was written before its bytes,
    behind these.
    """
    with zipfile.ZipFile(path) as archive:
        names, directory = archive.namelist(), archive.start_dir
    with path.open("r+b") as file:
        for name, entry in zip(names, _entries(file, directory, len(names)), strict=True):
            if name in records:
                stored, info = records[name].stored, records[name].info
                checksum = _checksum(file, stored.start, stored.size)
                _put(file, entry + _ENTRY_CHECKSUM, checksum)
                place = info.header_offset + _HEADER_CHECKSUM
                if info.flag_bits & _HAS_DESCRIPTOR:
                    place = stored.start + stored.size
                    file.seek(place)
                    place += len(_DESCRIPTOR) * (file.read(len(_DESCRIPTOR)) == _DESCRIPTOR)  # which may be left out
                _put(file, place, checksum)


def repack(path: Path, target: Path, contents: Mapping[str, bytes | bytearray]) -> None:
    """Copy an archive record by record, some of them with other contents, each compressed as it was."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as copy:
        for record in archive.infolist():
            content = contents.get(record.filename)
            whole = archive.read(record) if content is None else bytes(content)
            copy.writestr(record, whole, record.compress_type)


def _entries(file: BufferedRandom, start: int, count: int) -> list[int]:
    """Return where each entry of the directory starts."""
    entries = []
    for _ in range(count):
        entries.append(start)
        file.seek(start)
        start += _ENTRY.size + sum(_ENTRY.unpack(file.read(_ENTRY.size)))
    return entries


def _checksum(file: BufferedRandom, start: int, size: int) -> int:
    file.seek(start)
    checksum = 0
    while size > 0 and (block := file.read(min(size, _BLOCK))):
        checksum = zlib.crc32(block, checksum)
        size -= len(block)
    return checksum


def _put(file: BufferedRandom, place: int, checksum: int) -> None:
    file.seek(place)
    file.write(checksum.to_bytes(4, "little"))
