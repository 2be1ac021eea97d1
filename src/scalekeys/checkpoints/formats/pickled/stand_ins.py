"""What a pickle is made of when nothing in it is imported: names, objects of named classes, and long strings.

A pickle is a program that names the classes and functions it wants to call. Here none of them is imported, let alone
called: a name is a :class:`Name`, and what calling it would have made is a :class:`StandIn` that remembers the name
and the arguments. No list of trusted names is therefore needed. Names that could only be meant to run something are
still refused aloud, because a user should know that a file tried.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from scalekeys.checkpoints.core.inventory import Unmade
from scalekeys.checkpoints.formats.stored.sources import Bytes
from scalekeys.errors import printable

_RUNNING_MODULES = frozenset(
    (
        *("os", "posix", "nt", "subprocess", "sys", "pty", "popen2", "shutil", "runpy", "importlib", "imp", "ctypes"),
        *("codeop", "webbrowser", "socket", "multiprocessing", "asyncio", "timeit", "pdb", "bdb", "cProfile"),
        *("pip", "ftplib", "smtplib", "pickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "zipimport"),
        "doctest",
    )
)
_RUNNING_BUILTINS = frozenset(
    ("eval", "exec", "execfile", "compile", "__import__", "open", "input", "breakpoint", "globals", "vars", "delattr")
)
_RUNNING = frozenset(
    (
        *("torch.load", "torch.hub.load", "torch.jit.load", "numpy.load", "joblib.load", "pandas.read_pickle"),
        *("io.open", "_io.open", "platform.popen", "commands.getoutput", "urllib.request.urlopen"),
        *("code.interact", "pkgutil.resolve_name"),
    )
)


@dataclass(frozen=True)
class Name(Unmade):
    """The name of a class or function, which is not imported."""

    module: str
    name: str

    @property
    def dotted(self) -> str:
        """Module and name, with a dot between them."""
        return f"{self.module}.{self.name}"

    @property
    def type_name(self) -> str:
        """What the type of a class is called."""
        return "type"

    @property
    def runs(self) -> bool:
        """Whether nothing but running something can be meant by it."""
        if self.module == "builtins":
            return self.name.partition(".")[0] in _RUNNING_BUILTINS
        return self.module.partition(".")[0] in _RUNNING_MODULES or self.dotted in _RUNNING


@dataclass(eq=False, slots=True)
class StandIn(Unmade):
    """Stands in for an object of a class that is not imported."""

    name: Name
    """What would have been called to make it."""
    arguments: tuple[Any, ...] = ()
    """What with."""
    state: Any = None
    """What its attributes would have been set from."""
    items: dict[Any, Any] | None = None
    """What was put in as into a dict."""
    elements: list[Any] | None = field(default=None)
    """What was put in as into a list or set."""

    @property
    def type_name(self) -> str:
        """The name of the class, with its module."""
        return printable(self.name.dotted[:80])

    @property
    def attributes(self) -> dict[Any, Any]:
        """The attributes by name, as far as the state is of the usual kind."""
        state = self.state
        if isinstance(state, tuple) and len(state) == 2:  # of a class with slots: its dict, and the slots
            return {key: value for part in state if isinstance(part, dict) for key, value in part.items()}
        return state if isinstance(state, dict) else {}


@dataclass(frozen=True, eq=False)
class Long(Unmade):
    """A long string of a pickle that stays in its file: bytes, or the text that they stand for in UTF-8."""

    content: Bytes
    """As they lie in the file."""
    is_text: bool = False
    """Whether they are UTF-8."""
    latin: bool = False
    """Whether the text stands for bytes, character by character, as older pickles have them."""

    @cached_property
    def text(self) -> str:
        """The text, of which there is one in memory however often it is asked for."""
        return bytes(self.content.read(0, self.content.size)).decode("utf-8", "surrogatepass")

    @property
    def type_name(self) -> str:
        """What the type of such a string is called."""
        return "str" if self.is_text and not self.latin else "bytes"

    def as_bytes(self) -> Bytes:
        """Return the bytes that are meant; raises TypeError if it is a text that stands for no bytes."""
        if self.is_text and not self.latin:
            raise TypeError("a text where bytes are wanted")
        return Latin1(self.content) if self.latin else self.content


class Latin1(Bytes):
    """Bytes that are kept as a text of as many characters, in UTF-8; there are at most `size` of them."""

    def __init__(self, text: Bytes) -> None:
        self.text, self.size = text, text.size

    def _copied(self, start: int, count: int) -> bytearray:
        meant = bytes(self.text.read(0, self.text.size)).decode("utf-8").encode("latin-1")
        return bytearray(meant[start : start + count])


_LONGEST_KEY = 1 << 16  # bytes
ATOMS = (str, int, float, bool, bytes, type(None), complex, Name)


def as_key(value: Any) -> Hashable:
    """Return what stands in a dict for a key: itself, or a stand-in where hashing it may never end.

    >>> as_key(("a", 1))
    ('a', 1)
    """
    if isinstance(value, ATOMS) or (isinstance(value, tuple) and all(isinstance(item, ATOMS) for item in value)):
        return value
    if isinstance(value, Long) and value.is_text and value.content.size <= _LONGEST_KEY:
        return value.text
    return Key(value)


@dataclass(frozen=True, eq=False)
class Key:
    """Stands in for a key of a dict that may be too deep to be hashed."""

    value: Any = field(repr=False)
