"""What is known of each source: one line of JSON for each outcome, appended as it comes.

The last line on a source counts. A line that was cut short by a death is passed over, and its source done again.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scalekeys.atlas.references import Reference
from scalekeys.atlas.task import Failed, Read
from scalekeys.errors import AtlasError
from scalekeys.files import new_file, writing_to
from scalekeys.filters import LeftOut


@dataclass(frozen=True)
class Entry:
    """What is known of a source.

    Parameters
    ----------
    reference : Reference
    signature : str
        That of the source when it was read.
    outcome : Read or Failed
    """

    reference: Reference
    signature: str
    outcome: Read | Failed

    def line(self) -> str:
        """Return it as a line of the journal."""
        kind = "read" if isinstance(self.outcome, Read) else "failed"
        known = {**asdict(self.reference), "signature": self.signature, kind: asdict(self.outcome)}
        return json.dumps(known) + "\n"

    @classmethod
    def parsed(cls, line: str) -> "Entry | None":
        """Return what a line says; None where it is damaged."""
        try:
            known: dict[str, Any] = json.loads(line)
            reference = Reference(known["source"], known["metadata"])
            if "failed" in known:
                return cls(reference, known["signature"], Failed(**known["failed"]))
            read = Read(**known["read"])
            left_out = tuple(
                LeftOut(one["name"], tuple(one["shape"]), one["reason"]) for one in known["read"].get("left_out", ())
            )
            return cls(reference, known["signature"], replace(read, notes=tuple(read.notes), left_out=left_out))
        except (ValueError, KeyError, TypeError):
            return None


class Journal:
    """The entries of an atlas by source, and the file that keeps them.

    Parameters
    ----------
    path : Path
        Need not exist.

    Raises
    ------
    AtlasError
        If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, Entry] = {}
        try:
            text = path.read_bytes().decode(errors="replace") if path.exists() else ""
        except OSError as error:
            raise AtlasError(f"{path}: cannot be read ({error.strerror or error})") from None
        self._whole = text == "" or text.endswith("\n")
        for line in text.splitlines():
            if entry := Entry.parsed(line):
                self.entries[entry.reference.source] = entry

    def append(self, entry: Entry) -> None:
        """Add an entry.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        line = entry.line() if self._whole else "\n" + entry.line()
        with writing_to(self.path), self.path.open("ab") as file:
            file.write(line.encode())
        self._whole = True
        self.entries[entry.reference.source] = entry

    def compact(self) -> None:
        """Keep one line for each source, sorted by source.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        self.entries = dict(sorted(self.entries.items()))
        with new_file(self.path, force=True) as temporary:
            temporary.write_text("".join(entry.line() for entry in self.entries.values()), encoding="utf-8")
        self._whole = True
