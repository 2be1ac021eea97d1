"""What the HDF5 library does not check: it follows some damages of a file in a circle, for ever."""

import re
import struct

from scalekeys.checkpoints.formats.stored.sources import Buffer

_HEAP = b"GCOL\x01"  # signature and version of a global heap
_HEAP_HEADER = struct.Struct("<4sB3sQ")  # and its size
_OBJECT = struct.Struct("<HHIQ")  # number, references, nothing, size


def check_heaps(content: Buffer) -> None:
    r"""Check that the objects of each global heap, where texts of any length are kept, stand one behind the other.

    Raises ValueError if they do not.

    >>> heap = _HEAP_HEADER.pack(b"GCOL", 1, bytes(3), 56) + _OBJECT.pack(1, 1, 0, 2) + b"ab".ljust(8, b"\0")
    >>> check_heaps(heap + _OBJECT.pack(0, 0, 0, 16))
    >>> check_heaps(heap + _OBJECT.pack(0, 0, 0, 0))
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
