"""What has happened to a case."""

import shutil
import traceback
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzz import canary
from fuzz.case import Files, Target, files_of, write
from fuzz.limits import TooSlow, limited_time
from scalekeys.errors import ScaleKeysError

LONGEST_MESSAGE = 500
SOUND = ("read", "refused")
"""Verdicts that are no findings."""


@dataclass(frozen=True)
class Verdict:
    """``read``, ``refused``, or the kind of a finding, with what was said or where it came from."""

    kind: str
    detail: str = ""

    @property
    def is_finding(self) -> bool:
        """Whether there is something to mend."""
        return self.kind not in SOUND


def judge(target: Target, number: int, samples: list[Files], folder: Path) -> Verdict:
    """Run one case in an empty folder, which is removed afterwards."""
    random = Random(f"{target.name}:{number}")
    files = files_of(samples, target.mutations, random)
    shutil.rmtree(folder, ignore_errors=True)
    write(files, folder / "input")
    before = _listing(folder)
    verdict = _used(target, folder, random)
    if said := canary.executed():
        return Verdict("executed", said)
    after = _listing(folder)
    if verdict.kind == "refused" and (more := sorted(after - before)):
        return Verdict("partial", f"left {more[0]} behind")
    return verdict


def _used(target: Target, folder: Path, random: Random) -> Verdict:
    try:
        with limited_time():
            target.use(folder, random)
    except ScaleKeysError as error:
        return _refusal(error)
    except TooSlow:
        return Verdict("slow", _place(traceback.format_exc()))
    except MemoryError:
        return Verdict("memory", _place(traceback.format_exc()))
    except BaseException as error:  # everything else is a finding too, whatever it is
        kind = "memory" if "allocate memory" in str(error) else "foreign"
        return Verdict(kind, f"{type(error).__name__} at {_place(traceback.format_exc())}: {str(error)[:120]!r}")
    return Verdict("read")


def _refusal(error: ScaleKeysError) -> Verdict:
    said = str(error)
    if len(said) > LONGEST_MESSAGE or not said.isprintable() or not said.strip():
        return Verdict("message", f"{type(error).__name__} of {len(said)} characters: {said[:150]!r}")
    return Verdict("refused", said)


def _place(text: str) -> str:
    """Return the last line of scalekeys in a traceback."""
    lines = [line.strip() for line in text.splitlines() if "/scalekeys/" in line and line.strip().startswith("File")]
    if not lines:
        return "?"
    file, line, *_ = lines[-1].removeprefix("File ").split(", ")
    return f"{Path(file.strip(chr(34))).name}:{line.removeprefix('line ')}"


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
