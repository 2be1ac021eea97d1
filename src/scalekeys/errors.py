"""One base class for everything a user can do wrong, and a handful of leaves.

Every message says what was given, what is allowed and what to do. The command line prints it as one line and exits
with status 1; a library user catches :class:`ScaleKeysError`.
"""

import difflib
from collections.abc import Iterable, Sequence

LONGEST = 480
"""The most characters of a message; with the name of the program before it, a line stays below 500."""


class ScaleKeysError(Exception):
    """Base class of every error that scalekeys raises on purpose; its text is one printable line of bounded length."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class CheckpointError(ScaleKeysError):
    """A source of weights is missing, damaged, unsafe or holds no depthwise filters."""


class FilterError(ScaleKeysError, ValueError):
    """Filters have a shape, a type or a value that the operation cannot use."""


class DataError(ScaleKeysError):
    """Images or their labels are missing, damaged, or not those of the network."""


class ModelError(ScaleKeysError, ValueError):
    """A fit was asked for with a model, criterion or option that does not exist or makes no sense."""


class MissingExtraError(ScaleKeysError, ImportError):
    """An optional dependency is not installed; the message says which ``pip install`` brings it."""


class OutputError(ScaleKeysError):
    """A result cannot be written where the user asked for it."""


class AtlasError(ScaleKeysError):
    """An atlas is missing, busy or made by a newer version, or is asked what it cannot answer."""


class RecipeError(ScaleKeysError, ValueError):
    """A recipe of a training, or the data that it names, cannot be used."""


class TrainingError(ScaleKeysError):
    """A training went wrong and was stopped; what it saved before is intact."""


def printable(text: str) -> str:
    r"""Write control characters, and the bytes of a file name that are no text, as escape sequences.

    >>> print(printable("a\nb\x1b[31m"), printable("caf\udce9.pth"))
    a\nb\x1b[31m caf\udce9.pth
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def shortened(text: str, most: int = LONGEST) -> str:
    """Leave out the middle of a text that has more than so many characters.

    >>> shortened("abcdefghijkl", 9)
    'abc...jkl'
    """
    if len(text) <= most:
        return text
    end = (most - 3) // 2
    return f"{text[: most - 3 - end]}...{text[len(text) - end :]}"


def one_line(text: str) -> str:
    """Make one printable line of bounded length of a text."""
    return shortened(printable(shortened(text, 2 * LONGEST)))


def listed(items: Sequence[str], *, limit: int = 10, word: str = "and") -> str:
    """Join names for a sentence, a word before the last, and count what goes beyond `limit`.

    >>> listed(["a", "b", "c"]), listed("abcdef", limit=2), listed("ab", word="or")
    ('a, b and c', 'a, b and 4 more', 'a or b')
    """
    shown = list(items[:limit])
    if len(items) > limit:
        shown.append(f"{len(items) - limit} more")
    return f"{', '.join(shown[:-1])} {word} {shown[-1]}" if len(shown) > 1 else "".join(shown)


def check_choice(name: str, value: object, allowed: Sequence[object]) -> None:
    """Refuse a value of an option that is none of those allowed; raises ModelError.

    >>> check_choice("padding", "half", ("valid", "same"))
    Traceback (most recent call last):
        ...
    scalekeys.errors.ModelError: padding must be one of 'valid', 'same', got 'half'
    """
    if value not in allowed:
        raise ModelError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def counted(number: int, noun: str) -> str:
    """Write a number of things in a message.

    >>> counted(1, "layer"), counted(3, "layer")
    ('1 layer', '3 layers')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def perhaps(name: str, known: Iterable[str]) -> str:
    """Ask whether a known name was meant that is nearly the one given; empty if none is.

    >>> perhaps("spares6", ["sparse6", "jet2"])
    ' (did you mean sparse6?)'
    """
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f" (did you mean {close[0]}?)" if close else ""
