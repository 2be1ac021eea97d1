"""Mutations of zip and tar archives: their members, and what the directory says of them."""

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from random import Random

from fuzz.mutators import pickles, raw

_NAMES = (
    "data.pkl",
    "../data.pkl",
    "/etc/passwd",
    "a/" * 200 + "x",
    "\x1b[31m",
    "constants.pkl",
    "version",
    "data/0",
    "",
)
_BOMB = 1 << 26
_LARGEST = 1 << 20  # bytes of a member of a sound sample


def zip_members(content: bytes, random: Random) -> bytes:
    """Change a member of a zip archive, and write the archive anew."""
    return _zipped(_members(content), random)


def zip_directory(content: bytes, random: Random) -> bytes:
    """Change a number in a local header, in the directory, or in the record at the end."""
    magic = random.choice((b"PK\x03\x04", b"PK\x01\x02", b"PK\x01\x02", b"PK\x05\x06"))
    places = [place for place in range(len(content) - 3) if content[place : place + 4] == magic] or [0]
    place = random.choice(places)
    return content[:place] + raw.integer(content[place : place + 64], random) + content[place + 64 :]


def tar_members(content: bytes, random: Random) -> bytes:
    """Change a member of a tar archive, compressed or not."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = [(info.name, archive.extractfile(info)) for info in archive.getmembers()]
        contents = [(name, file.read() if file else b"") for name, file in members]
    buffer = io.BytesIO()
    mode: str = random.choice(("w", "w:gz"))
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in _changed(contents, random):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if random.random() < 0.05:
                info.type, info.linkname, info.size = (
                    random.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE)),
                    "/etc/passwd",
                    0,
                )
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _members(content: bytes) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(info.file_size > _LARGEST for info in archive.infolist()):
            raise ValueError("it is a bomb already")
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def _zipped(members: list[tuple[str, bytes]], random: Random) -> bytes:
    buffer = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if random.random() < 0.2 else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, data in _changed(members, random):
            info = zipfile.ZipInfo(name or "x")  # one time for all, so that the bytes follow from the number of a case
            info.compress_type = kind
            _write_quietly(archive, info, data)
    return buffer.getvalue()


def _write_quietly(archive: zipfile.ZipFile, info: zipfile.ZipInfo, data: bytes) -> None:
    """Add a member under a name that may be there already, of which zipfile warns."""
    names = archive.NameToInfo.pop(info.filename, None)
    archive.writestr(info, data)
    if names is not None:
        archive.NameToInfo[info.filename] = names


def _changed(members: list[tuple[str, bytes]], random: Random) -> list[tuple[str, bytes]]:
    place = random.randrange(len(members))
    name, data = members[place]
    changes: tuple[Callable[[], list[tuple[str, bytes]]], ...] = (
        lambda: members[:place] + members[place + 1 :],
        lambda: [*members, (name, data)],
        lambda: [*members, (name, raw.any_change(data, random))],
        lambda: [*members[:place], (random.choice(_NAMES), data), *members[place + 1 :]],
        lambda: [*members[:place], (name, raw.any_change(data, random)), *members[place + 1 :]],
        lambda: [*members[:place], (name, _inner(name, data, random)), *members[place + 1 :]],
        lambda: [*members[:place], (name, _inner(name, data, random)), *members[place + 1 :]],
        lambda: [*members[:place], (name, random.choice(members)[1]), *members[place + 1 :]],
    )
    return random.choice(changes)()


def _inner(name: str, data: bytes, random: Random) -> bytes:
    return pickles.opcodes(data, random) if name.endswith(".pkl") else raw.any_change(data, random)


@cache
def _packed_zeros() -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(bytes(_BOMB)) + packer.flush()


def bomb(content: bytes, random: Random) -> bytes:
    """Put a member of zeros into a zip archive that says less, or more, of its size than is true."""
    zeros, members = _packed_zeros(), _members(content)
    place = random.randrange(len(members))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, (name, data) in enumerate(members):
            archive.writestr(zipfile.ZipInfo(name), zeros if number == place else data)
    written = bytearray(buffer.getvalue())
    for magic, method, size in ((b"PK\x03\x04", 8, 22), (b"PK\x01\x02", 10, 24)):
        places = [at for at in range(len(written) - 3) if written[at : at + 4] == magic]
        if place < len(places):
            struct.pack_into("<H", written, places[place] + method, zipfile.ZIP_DEFLATED)
            struct.pack_into("<I", written, places[place] + size, random.choice((_BOMB, len(zeros), 2**32 - 2)))
    return bytes(written)
