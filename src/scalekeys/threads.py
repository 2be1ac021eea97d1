"""Threads of PyTorch: short operations on one of them, and independent pieces of work side by side.

The operations of a search are many and short. Handing parts of each of them to other threads, and waiting for all,
costs more than it gains, and many times more where another process keeps one of the processors busy: the threads that
are done spin until the one that is held up is done too.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

_SETTING = Lock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch work on one thread in what the calling thread does inside, and as before afterwards.

    It may be nested, used in several threads at once, and stand before a function as a decorator.

    :func:`torch.set_num_threads` sets two numbers: that of the calling thread, and the one with which threads begin
    that come to PyTorch for the first time afterwards. Only the first is changed here, so that no other thread keeps
    the number that was meant for this one.

    >>> before = torch.get_num_threads()
    >>> with one_thread():
    ...     torch.get_num_threads()
    1
    >>> torch.get_num_threads() == before
    True
    """
    before = _set_own(1)
    try:
        yield
    finally:
        _set_own(before)


def in_threads(function: Callable[[T], R], items: Iterable[T], threads: int | None = None) -> Iterator[R]:
    """Yield the results of a function for each item, in order: each item on one thread, several items at a time.

    `threads`: how many items at a time; by default as many as PyTorch may use threads in the calling thread. The
    results do not depend on it. With one thread, or one item, everything runs in the calling thread.

    >>> list(in_threads(lambda n: n * n, [1, 2, 3], threads=2))
    [1, 4, 9]
    """
    work = list(items)
    workers = min(torch.get_num_threads() if threads is None else threads, len(work))
    if workers < 2:
        for item in work:
            with one_thread():
                result = function(item)
            yield result
        return
    with ThreadPoolExecutor(workers, initializer=_set_own, initargs=(1,)) as pool:
        yield from pool.map(function, work)


def _set_own(number: int) -> int:
    """Set the number of threads of the calling thread and of no other, and return what it was."""
    with _SETTING:
        before = torch.get_num_threads()
        if number != before:
            with ThreadPoolExecutor(1) as newcomer:
                inherited = newcomer.submit(torch.get_num_threads).result()
                torch.set_num_threads(number)
                newcomer.submit(torch.set_num_threads, inherited).result()
    return before
