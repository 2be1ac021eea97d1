"""Mutations of bytes, whatever they mean."""

import struct
from random import Random

ODD = (
    0,
    1,
    -1,
    2,
    7,
    127,
    128,
    255,
    256,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    -(2**31),
    -(2**63),
)
"""Integers at the ends of types."""


def flip(content: bytes, random: Random) -> bytes:
    """Flip a bit."""
    changed = bytearray(content)
    if changed:
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwrite(content: bytes, random: Random) -> bytes:
    """Overwrite a stretch with zeros, ones or noise."""
    start, length = _stretch(content, random)
    filling = random.choice((bytes(length), b"\xff" * length, random.randbytes(length)))
    return content[:start] + filling + content[start + length :]


def cut(content: bytes, random: Random) -> bytes:
    """Cut the end off."""
    return content[: random.randrange(len(content) + 1)]


def remove(content: bytes, random: Random) -> bytes:
    """Remove a stretch."""
    start, length = _stretch(content, random)
    return content[:start] + content[start + length :]


def repeat(content: bytes, random: Random) -> bytes:
    """Insert a copy of a stretch somewhere else."""
    start, length = _stretch(content, random)
    place = random.randrange(len(content) + 1)
    return content[:place] + content[start : start + length] + content[place:]


def insert(content: bytes, random: Random) -> bytes:
    """Insert noise."""
    place = random.randrange(len(content) + 1)
    return content[:place] + random.randbytes(random.randint(1, 16)) + content[place:]


def integer(content: bytes, random: Random) -> bytes:
    """Overwrite a number of 1, 2, 4 or 8 bytes with one at the end of a type."""
    size, order = random.choice((1, 2, 4, 4, 8)), random.choice("<<<>")
    if len(content) < size:
        return content
    place = random.randrange(len(content) - size + 1)
    place -= random.choice((0, place % size))
    kind = {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
    number = struct.pack(order + kind, random.choice(ODD) % 256**size)
    return content[:place] + number + content[place + size :]


def empty(_content: bytes, _random: Random) -> bytes:
    """Leave nothing."""
    return b""


CHANGES = (flip, flip, overwrite, cut, remove, repeat, insert, integer, integer, integer)


def any_change(content: bytes, random: Random) -> bytes:
    """Change bytes in one of the ways above; seldom, leave nothing."""
    change = empty if random.random() < 0.002 else random.choice(CHANGES)
    return change(content, random)


def _stretch(content: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(content) + 1)
    return start, min(random.choice((1, 2, 4, 8, 16, 64, 256)), len(content) - start)
