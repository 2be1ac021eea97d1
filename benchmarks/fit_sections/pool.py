"""Many scipy searches over several processes, in chunks whose results are kept.

What scipy finds depends on the filters, the starts and the seed alone, never on the package that is measured: a rerun
after a change of the package, or after an interruption, finds the chunks that are done in a folder of temporary files.
"""

import hashlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from fit_sections.oracle import NAMES, Array, multistart
from fit_sections.oracle_others import absolute_multistart, jet_multistart
from fit_sections.record import Progress

Kind: TypeAlias = Literal["l2", "l1", "jet2"]
CACHE = Path(tempfile.gettempdir()) / "scalekeys-fit-benchmark"

_EDITION = 2  # of the searches; a change of them must not find what earlier ones left
_CHUNKS: dict[Kind, int] = {"l2": 20, "l1": 2, "jet2": 40}
_SEARCHES: dict[Kind, tuple[Callable[[Array, int, int], Array], ...]] = {
    "l2": tuple(partial(multistart, name) for name in NAMES),
    "l1": tuple(partial(absolute_multistart, name) for name in NAMES),
    "jet2": (partial(jet_multistart, 2),),
}
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Found:
    """What scipy found: shape (filters, families, starts, loss and two parameters), and the seconds of all searches."""

    ends: Array
    seconds: float

    @property
    def ms_a_start(self) -> float:
        """Milliseconds of one search."""
        return 1e3 * self.seconds / self.ends[..., 0].size


@dataclass(frozen=True)
class _Chunk:
    kind: Kind
    targets: Array
    starts: int
    seed: int

    @property
    def file(self) -> Path:
        label = f"{_EDITION} {self.kind} {self.targets.shape} {self.starts} {self.seed}"
        return CACHE / f"{hashlib.sha256(label.encode() + self.targets.tobytes()).hexdigest()}.npz"


def search(kind: Kind, targets: Sequence[Array], starts: int, seed: int, processes: int) -> Found:
    """Search every filter (see :func:`fit_sections.oracle.unit`) from many starts."""
    stack = np.stack(targets)
    size = _CHUNKS[kind]
    chunks = [_Chunk(kind, stack[first : first + size], starts, seed) for first in range(0, len(stack), size)]
    progress = Progress(f"scipy, {kind}, {stack.shape[1]}x{stack.shape[2]}", len(stack))
    progress.skip(sum(len(chunk.targets) for chunk in chunks if chunk.file.exists()))
    missing = [chunk for chunk in chunks if not chunk.file.exists()]
    CACHE.mkdir(exist_ok=True)
    if missing:
        with _one_thread_each(), multiprocessing.get_context("spawn").Pool(processes) as pool:
            for done in pool.imap_unordered(_work, missing):
                progress.advance(done)
    return _gathered(chunks)


def _work(chunk: _Chunk) -> int:
    start = time.perf_counter()
    rows = [[find(target, chunk.starts, chunk.seed) for find in _SEARCHES[chunk.kind]] for target in chunk.targets]
    seconds = time.perf_counter() - start
    temporary = chunk.file.with_suffix(f".{os.getpid()}.npz")
    np.savez(temporary, ends=np.array(rows), seconds=np.array(seconds))
    temporary.replace(chunk.file)
    return len(rows)


def _gathered(chunks: Sequence[_Chunk]) -> Found:
    parts, seconds = [], 0.0
    for chunk in chunks:
        with np.load(chunk.file) as saved:
            parts.append(saved["ends"])
            seconds += float(saved["seconds"])
    return Found(np.concatenate(parts), seconds)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let the processes that are started here compute with one thread each."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
