"""The opcodes of a pickle that stand for values: numbers, texts and bytes, in binary form and in lines."""

import codecs
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from scalekeys.checkpoints.formats.pickled.machine import STAYS, Machine, PickleError
from scalekeys.checkpoints.formats.pickled.stand_ins import Long
from scalekeys.checkpoints.formats.stored.sources import MemoryBytes

Read: TypeAlias = Callable[[Machine], Any]
_LONGEST_INTEGER = 1 << 10


def number_of(code: str) -> Read:
    """Return what reads a number, in a format of :mod:`struct`."""
    unpack, size = struct.Struct(code).unpack_from, struct.calcsize(code)

    def read(machine: Machine) -> Any:
        found = unpack(machine.buffer, machine.position)[0]
        machine.position += size
        return found

    return read


def _long(code: str) -> Read:
    def read(machine: Machine) -> int:
        count = machine.number(code)
        if count > _LONGEST_INTEGER:
            raise PickleError(f"an integer of {count} bytes")
        return int.from_bytes(machine.take(count), "little", signed=True)

    return read


def _string(code: str, decode: Callable[[bytes], str | bytes], *, is_text: bool = False) -> Read:
    def read(machine: Machine) -> str | bytes | Long:
        content = machine.string(code)
        return decode(content) if isinstance(content, bytes) else Long(content, is_text=is_text)

    return read


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def _old_string(content: bytes) -> str:
    """Python 2 knew one kind of string, for texts and bytes."""
    return content.decode("latin-1")


def _quoted(line: bytes) -> str | Long:
    line = line.strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b'"', b"'"):
        raise PickleError("a string without quotes")
    content = codecs.escape_decode(line[1:-1])[0]
    return _old_string(content) if len(content) < STAYS else Long(MemoryBytes(content))


def _integer(line: bytes) -> int:
    return line == b"01" if line in (b"00", b"01") else int(line)


LITERALS: dict[bytes, Read] = {
    b"N": lambda _: None,
    b"\x88": lambda _: True,
    b"\x89": lambda _: False,
    b")": lambda _: (),
    **{code: number_of(size) for code, size in ((b"J", "<i"), (b"K", "<B"), (b"M", "<H"), (b"G", ">d"))},
    **{code: _long(size) for code, size in ((b"\x8a", "<B"), (b"\x8b", "<i"))},
    **{code: _string(size, _text, is_text=True) for code, size in ((b"X", "<I"), (b"\x8c", "<B"), (b"\x8d", "<Q"))},
    **{code: _string(size, bytes) for code, size in ((b"B", "<I"), (b"C", "<B"), (b"\x8e", "<Q"), (b"\x96", "<Q"))},
    **{code: _string(size, _old_string) for code, size in ((b"T", "<i"), (b"U", "<B"))},
    b"I": lambda machine: _integer(machine.line()),
    b"L": lambda machine: int(machine.line().rstrip(b"L")),
    b"F": lambda machine: float(machine.line()),
    b"S": lambda machine: _quoted(machine.line()),
    b"V": lambda machine: machine.line().decode("raw-unicode-escape"),
}
"""What reads the value that each such opcode stands for."""
