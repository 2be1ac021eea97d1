"""What is known of each source: one line of JSON for each outcome, appended as it comes.

The last line on a source counts. Each line ends with a checksum of itself. A line that was cut short by a death, or is
damaged, is passed over: its source is done again, or taken from the tables of the last run.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints
from zlib import crc32

from scalekeys.atlas.layout import is_content
from scalekeys.atlas.references import Reference
from scalekeys.atlas.task import Failed, Read
from scalekeys.errors import AtlasError
from scalekeys.files import exists, new_file, parse_json, read_bytes, writing_to
from scalekeys.filters import LeftOut

T = TypeVar("T")

_MOST = 2**31  # of layers and filters


@dataclass(frozen=True)
class Entry:
    """What is known of a source."""

    reference: Reference
    signature: str
    """That of the source when it was read."""
    outcome: Read | Failed

    def line(self) -> str:
        """Return it as a line of the journal."""
        kind = "read" if isinstance(self.outcome, Read) else "failed"
        known = {**asdict(self.reference), "signature": self.signature, kind: asdict(self.outcome)}
        return json.dumps(known | {"check": _check_of(known)}) + "\n"

    @classmethod
    def parsed(cls, line: str) -> "Entry | None":
        """Return what a line says; None where it is damaged. Lines of earlier versions have no checksum."""
        try:
            known = parse_json(line)
            check = known.pop("check", None)
            if check is not None and check != _check_of(known):
                return None
            failed, signature = known.pop("failed", None), known.pop("signature")
            outcome = _typed(Read, known.pop("read")) if failed is None else _typed(Failed, failed)
            reference = _typed(Reference, known)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        readable = not isinstance(outcome, Read) or (is_content(outcome.content) and reference.source.isprintable())
        return cls(reference, signature, outcome) if readable and isinstance(signature, str) else None


class Journal:
    """The entries of an atlas by source, and the file that keeps them.

    `path`: need not exist.
    Raises AtlasError if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        text = read_bytes(path, AtlasError).decode(errors="replace") if exists(path) else ""
        self._whole = text == "" or text.endswith("\n")
        for line in text.split("\n"):
            if entry := Entry.parsed(line):
                self.entries[entry.reference.source] = entry

    def append(self, entry: Entry) -> None:
        """Add an entry; raises OutputError if it cannot be written."""
        line = entry.line() if self._whole else "\n" + entry.line()
        with writing_to(self.path), self.path.open("ab") as file:
            file.write(line.encode())
        self._whole = True
        self.entries[entry.reference.source] = entry

    def compact(self) -> None:
        """Keep one line for each source, sorted by source; raises OutputError if it cannot be written."""
        self.entries = dict(sorted(self.entries.items()))
        with new_file(self.path, force=True) as temporary:
            temporary.write_text("".join(entry.line() for entry in self.entries.values()), encoding="utf-8")
        self._whole = True


def _check_of(known: Mapping[str, Any]) -> str:
    return f"{crc32(json.dumps(known).encode()):08x}"


def _typed(kind: type[T], values: Any) -> T:
    """Make a dataclass of values from JSON, each of which must be of the type of its field.

    Raises ValueError if one is not, there are others than fields, or a field without a default is missing.
    """
    hints, known = get_type_hints(kind), fields(kind)  # type: ignore[arg-type]
    needed = {field.name for field in known if field.default is MISSING}
    if not isinstance(values, dict) or not needed <= set(values) <= {field.name for field in known}:
        raise ValueError("there are other values than fields")
    return kind(**{name: _checked(value, hints[name], encodable=name != "source") for name, value in values.items()})


def _checked(value: Any, hint: Any, *, encodable: bool) -> Any:
    """Return a value of JSON as the type of a field wants it; raises ValueError if it is not of that type."""
    if hint == tuple[LeftOut, ...] and isinstance(value, list):
        return tuple(_typed(LeftOut, one) for one in value)
    if not _is(value, hint, encodable=encodable):
        raise ValueError("a value is of another type")
    return tuple(value) if isinstance(value, list) else value


def _is(value: Any, hint: Any, *, encodable: bool) -> bool:
    """Tell whether a value of JSON is a number, a word, or a list or mapping of them, as the type of a field says."""
    if hint is int:
        return type(value) is int and 0 <= value < _MOST
    if hint is str:
        return isinstance(value, str) and not (encodable and any("\ud800" <= sign <= "\udfff" for sign in value))
    if hint in (tuple[str, ...], tuple[int, ...]):
        return isinstance(value, list) and all(_is(one, get_args(hint)[0], encodable=True) for one in value)
    return isinstance(value, dict) and all(_is(one, str, encodable=True) for pair in value.items() for one in pair)
