"""Independent work on several processors: whole chunks in threads, instead of every operation shared among threads.

The operations of a search are many and short, so that handing parts of each of them to other threads, and waiting for
all, costs more than it gains.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def in_threads(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield the results of a function for each item, in order, computed by so many threads of one processor each.

    Parameters
    ----------
    function : callable
    items : iterable
    threads : int
        With one thread, or one item, everything runs in the calling thread.

    Examples
    --------
    >>> list(in_threads(lambda n: n * n, [1, 2, 3], threads=2))
    [1, 4, 9]
    """
    work = list(items)
    if min(threads, len(work)) < 2:
        yield from map(function, work)
        return
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(function, work)
    finally:
        torch.set_num_threads(before)  # what a thread sets for itself, threads that start later inherit
