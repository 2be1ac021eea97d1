"""The opcodes of a pickle that stand for values: numbers, texts and bytes, in binary form and in lines."""

import codecs
import struct
from collections.abc import Callable
from typing import Any

from scalekeys.checkpoints.formats.pickled.machine import STAYS, Machine, PickleError
from scalekeys.checkpoints.formats.pickled.stand_ins import Long
from scalekeys.checkpoints.formats.stored.sources import MemoryBytes

_LONGEST_INTEGER = 1 << 10


def _push(value: Any) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(value)


def _push_number(code: str) -> Callable[[Machine], None]:
    unpack, size = struct.Struct(code).unpack_from, struct.calcsize(code)

    def handle(machine: Machine) -> None:
        machine.stack.append(unpack(machine.buffer, machine.position)[0])
        machine.position += size

    return handle


def _push_long(code: str) -> Callable[[Machine], None]:
    def handle(machine: Machine) -> None:
        count = machine.number(code)
        if count > _LONGEST_INTEGER:
            raise PickleError(f"an integer of {count} bytes")
        machine.stack.append(int.from_bytes(machine.take(count), "little", signed=True))

    return handle


def _push_text(code: str) -> Callable[[Machine], None]:
    def handle(machine: Machine) -> None:
        text = machine.string(code)
        if isinstance(text, bytes):
            machine.stack.append(text.decode("utf-8", "surrogatepass"))
        else:
            machine.stack.append(Long(text, is_text=True))

    return handle


def _push_bytes(code: str) -> Callable[[Machine], None]:
    def handle(machine: Machine) -> None:
        content = machine.string(code)
        machine.stack.append(content if isinstance(content, bytes) else Long(content))

    return handle


def _push_old_string(code: str) -> Callable[[Machine], None]:
    """Python 2 knew one kind of string, for texts and bytes."""

    def handle(machine: Machine) -> None:
        content = machine.string(code)
        machine.stack.append(content.decode("latin-1") if isinstance(content, bytes) else Long(content))

    return handle


def _push_line(read: Callable[[bytes], Any]) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(read(machine.line()))


def _quoted(line: bytes) -> str | Long:
    line = line.strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b'"', b"'"):
        raise PickleError("a string without quotes")
    content = codecs.escape_decode(line[1:-1])[0]
    return content.decode("latin-1") if len(content) < STAYS else Long(MemoryBytes(content))


_CONSTANTS = {b"N": _push(None), b"\x88": _push(True), b"\x89": _push(False), b")": _push(())}
_NUMBERS = {b"J": _push_number("<i"), b"K": _push_number("<B"), b"M": _push_number("<H"), b"G": _push_number(">d")}
_INTEGERS = {b"\x8a": _push_long("<B"), b"\x8b": _push_long("<i")}
_TEXTS = {b"X": _push_text("<I"), b"\x8c": _push_text("<B"), b"\x8d": _push_text("<Q")}
_BYTES = {b"B": _push_bytes("<I"), b"C": _push_bytes("<B"), b"\x8e": _push_bytes("<Q"), b"\x96": _push_bytes("<Q")}
_OLD_STRINGS = {b"T": _push_old_string("<i"), b"U": _push_old_string("<B")}
_LINES_OF_NUMBERS = {
    b"I": _push_line(lambda line: line == b"01" if line in (b"00", b"01") else int(line)),
    b"L": _push_line(lambda line: int(line.rstrip(b"L"))),
    b"F": _push_line(float),
}
_LINES_OF_TEXT = {b"S": _push_line(_quoted), b"V": _push_line(lambda line: line.decode("raw-unicode-escape"))}
LITERALS: dict[bytes, Callable[[Machine], None]] = {
    **(_CONSTANTS | _NUMBERS | _INTEGERS | _TEXTS),
    **(_BYTES | _OLD_STRINGS | _LINES_OF_NUMBERS | _LINES_OF_TEXT),
}
"""What to do at each such opcode."""
