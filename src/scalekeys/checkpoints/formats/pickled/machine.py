"""The state of a pickle that is being read: its stack, its memo, and the bounds that it must keep."""

import struct
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from scalekeys.checkpoints.formats.pickled.stand_ins import Name, StandIn
from scalekeys.checkpoints.formats.stored.sources import Buffer, Bytes

MOST_OPCODES = 1 << 24
MOST_OBJECTS = 1 << 21
_MOST_MARKS = 1 << 14
_LONGEST_NAME = 1 << 10
STAYS = 1 << 12  # bytes from which on a string is not copied from its file

_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # of Python 2, whose names protocol 2 still uses

Known: TypeAlias = Mapping[str, Callable[..., Any]]


class PickleError(ValueError):
    """A pickle is damaged, or too large to be one of weights."""


class UnsafePickleError(PickleError):
    """A pickle names something that can only be meant to run."""

    def __init__(self, name: Name) -> None:
        super().__init__(f"it wants to run {name.dotted!r}")
        self.name = name


class Machine:
    """Reads pickles from a buffer, one after the other.

    `buffer`: what holds them.
    `content`: the same bytes where they stay when the buffer is gone.
    `known`: what to do in the place of calling a class or function, by its dotted name; each is a function of ours. All
    others give a :class:`StandIn`.
    `persistent`: gives what a persistent identity stands for.
    """

    def __init__(self, buffer: Buffer, content: Bytes, known: Known, persistent: Callable[[Any], Any]) -> None:
        self.buffer, self.content, self.known, self.persistent = buffer, content, known, persistent
        self.position = 0
        self.unknown: dict[str, Name] = {}
        self._end = len(buffer)
        self._names: dict[tuple[str, str], Name] = {}
        self.steps = self._objects = 0
        self.begin()

    def steps_left(self) -> int:
        """Return how many opcodes may still be run."""
        return MOST_OPCODES - self.steps

    def begin(self) -> None:
        """Forget what the last pickle has left on the stack."""
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        start = self.skip(count)
        return bytes(self.buffer[start : start + count])

    def number(self, code: str) -> Any:
        """Return the next number, in a format of :mod:`struct`."""
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def string(self, code: str) -> bytes | Bytes:
        """Return the next string, whose length comes first: where it is long, as bytes that stay in the file."""
        count = self.number(code)
        if count < STAYS:
            return self.take(count)
        return self.content.part(self.skip(count), count)

    def line(self) -> bytes:
        """Return the next bytes up to the end of the line."""
        reach = 256
        line, end, _ = bytes(self.buffer[self.position : self.position + reach]).partition(b"\n")
        while not end and reach < self._end - self.position:
            reach *= 4
            line, end, _ = bytes(self.buffer[self.position : self.position + reach]).partition(b"\n")
        if not end:
            raise PickleError("a line without an end")
        self.position += len(line) + 1
        return line

    def add_object(self, count: int = 1) -> None:
        """Count an object that takes memory, or several."""
        self._objects += count
        if self._objects > MOST_OBJECTS:
            raise PickleError(f"more than {MOST_OBJECTS} objects")

    def mark(self) -> None:
        """Begin a new part of the stack."""
        if len(self.marks) > _MOST_MARKS:
            raise PickleError(f"more than {_MOST_MARKS} marks")
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        """Return what lies above the last mark, and take it off the stack."""
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def name(self, module: Any, name: Any) -> Name:
        """Return the name of a class or function; raises UnsafePickleError if it can only be meant to run."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleError("a name that is no text")
        module = _OLD_MODULES.get(module, module)
        if (found := self._names.get((module, name))) is None:
            if len(module) + len(name) > _LONGEST_NAME:
                raise PickleError("a name that is too long")
            found = self._names[module, name] = Name(module, name)
            if found.runs:
                raise UnsafePickleError(found)
        return found

    def call(self, function: Any, arguments: Any) -> Any:
        """Return what stands for the result of a call."""
        if not isinstance(arguments, tuple):
            raise PickleError("arguments that are no tuple")
        if isinstance(function, Name):
            if (known := self.known.get(function.dotted)) is not None:
                self.add_object(len(arguments))
                self.add_object(sum(len(one) for one in arguments if isinstance(one, dict | list | tuple)))
                return known(*arguments)
            self.unknown.setdefault(function.dotted, function)
            self.add_object()
            return StandIn(function, arguments)
        if not isinstance(function, StandIn):
            raise PickleError(f"a call of something of type {type(function).__name__}")
        self.add_object()
        return StandIn(function.name, arguments)

    def skip(self, count: int) -> int:
        """Go on by some bytes, which must be there, and return where they start."""
        start = self.position
        if not 0 <= count <= self._end - start:
            raise PickleError(f"a length of {count} bytes, where {self._end - start} are left")
        self.position += count
        return start
