"""Many cases in several processes, and what has come of them."""

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fuzz.limits import SECONDS
from fuzz.verdict import SOUND

_LENGTH = 200
_PARTS_OF_A_PROCESS = 50
_START = 120  # seconds that a process may take to import and to make its samples
_STEP = 1.0
_NONE = -1  # no case yet


@dataclass
class Tally:
    """Verdicts of each target, and the findings."""

    counts: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    findings: list[tuple[str, int, str, str]] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """How many cases were run."""
        return sum(counts.total() for counts in self.counts.values())

    def rows(self) -> list[dict[str, int | str]]:
        """Return one row a target, with a column for each kind of verdict."""
        kinds = sorted({kind for counts in self.counts.values() for kind in counts} - set(SOUND))
        return [
            {"format": target, "cases": counts.total(), **{kind: counts[kind] for kind in (*SOUND, *kinds)}}
            for target, counts in sorted(self.counts.items())
        ]


@dataclass(frozen=True)
class _Part:
    """Cases of one target, by their numbers."""

    target: str
    start: int
    count: int

    def without(self, number: int) -> list["_Part"]:
        """Return what is before a case and behind it; nothing if no case was begun."""
        if number == _NONE:
            return []
        before, behind = number - self.start, self.start + self.count - number - 1
        parts = (_Part(self.target, self.start, before), _Part(self.target, number + 1, behind))
        return [part for part in parts if part.count > 0]


@dataclass(frozen=True)
class _Answer:
    """What has come of a part of the work, and the case that has ended the process, if one has."""

    counts: dict[str, int]
    findings: list[tuple[int, str, str]]
    fatal: int | None = None


class _Worker:
    """A process that runs cases, and is replaced when it dies or has done enough."""

    def __init__(self) -> None:
        self._status, name = tempfile.mkstemp()
        self._name = Path(name)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            text=True,
        )
        self.parts = 0

    def run(self, target: str, start: int, count: int) -> _Answer:
        """Run a part of the work; after a fatal case the process is gone."""
        os.pwrite(self._status, b"%-20d" % _NONE, 0)
        with suppress(BrokenPipeError):  # that the process is dead is noticed below
            self._pipe(self._process.stdin).write(json.dumps([target, start, count]) + "\n")
            self._pipe(self._process.stdin).flush()
        self.parts += 1
        before, since = _NONE, time.monotonic()
        while not (line := self._line()):
            number = int(os.pread(self._status, 20, 0))
            if number != before:
                before, since = number, time.monotonic()
            dead = self._process.poll() is not None
            if dead or time.monotonic() - since > (_START if number == _NONE else 3 * SECONDS):
                self.stop()
                said = f"the process ended with {self._process.returncode}" if dead else "not even a signal stopped it"
                return _Answer({}, [(number, "crashed" if dead else "slow", said)], number)
        answer = json.loads(line)
        return _Answer(answer["counts"], [tuple(one) for one in answer["findings"]])

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        with suppress(BrokenPipeError), self._process:  # which closes the pipes and waits
            pass
        os.close(self._status)
        self._name.unlink()

    def _line(self) -> str:
        """Return an answer; empty if there is none within a moment."""
        stream = self._pipe(self._process.stdout)
        return stream.readline() if select.select([stream], [], [], _STEP)[0] else ""

    @staticmethod
    def _pipe(stream: IO[str] | None) -> IO[str]:
        if stream is None:
            raise ValueError("the process was started without a pipe")
        return stream


def run(
    targets: Sequence[str], *, jobs: int, seconds: float | None = None, cases: int | None = None, first: int = 0
) -> Tally:
    """Run cases of each target in turn.

    Parameters
    ----------
    targets : sequence of str
    jobs : int
        Processes at a time.
    seconds : float, optional
        When to begin no further part.
    cases : int, optional
        How many of each target; without, until the time is over.
    first : int
        Number of the first case.
    """
    tally, lock = Tally(), threading.Lock()
    end = time.monotonic() + seconds if seconds is not None else float("inf")
    parts = _parts(targets, first, cases)

    def work(_job: int) -> None:
        worker = _Worker()
        while time.monotonic() < end:
            with lock:
                part = next(parts, None)
            if part is None:
                break
            worker = _run_part(worker, part, tally, lock)
        worker.stop()

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, range(jobs)))
    return tally


def _parts(targets: Sequence[str], first: int, cases: int | None) -> Iterator[_Part]:
    start = first
    while cases is None or start < first + cases:
        count = _LENGTH if cases is None else min(_LENGTH, first + cases - start)
        yield from (_Part(target, start, count) for target in targets)
        start += count


def _run_part(worker: _Worker, part: _Part, tally: Tally, lock: threading.Lock) -> _Worker:
    """Run a part of the work, however many processes die of it; return the one to go on with."""
    pieces = [part]
    while pieces:
        piece = pieces.pop()
        answer = worker.run(piece.target, piece.start, piece.count)
        with lock:
            tally.counts[piece.target].update(answer.counts)
            tally.findings += [(piece.target, *finding) for finding in answer.findings]
        if answer.fatal is not None:
            with lock:
                tally.counts[piece.target][answer.findings[0][1]] += 1
            pieces += piece.without(answer.fatal)  # the verdicts of the process have died with it
            worker = _Worker()
        elif worker.parts >= _PARTS_OF_A_PROCESS:
            worker.stop()
            worker = _Worker()
    return worker
