"""Where tasks run: in this process, in processes of this machine, or on a Ray cluster; one interface for all.

A function that never raises is applied to each task, a bounded number at a time. Where a worker dies of a task, the
task is given to another one; where that dies too, the task is lost, and the others go on.
"""

import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

from scalekeys.errors import AtlasError

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS = 2
"""How many workers may die of a task before it is lost."""

_STARTS = 3  # workers that may die one after the other before they begin


@dataclass(frozen=True)
class Lost:
    """The result of a task of which workers have died."""

    reason: str = "the worker process died each time that it was tried (out of memory, or killed)"


class Engine(Protocol):
    """Applies a function to tasks."""

    def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Generator[tuple[T, R | Lost], None, None]:
        """Yield each task with its result, in the order in which they are done; to be closed where it is given up.

        `function`: of the top level of a module; never raises.
        `tasks`: taken from as workers get free.
        Raises AtlasError if there are no workers to be had.
        """


class InProcess:
    """One task after the other, here."""

    def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Generator[tuple[T, R | Lost], None, None]:
        """See :class:`Engine`."""
        for task in tasks:
            yield task, function(task)


class Processes:
    """Processes of this machine, started afresh (never forked).

    `workers`: how many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Generator[tuple[T, R | Lost], None, None]:
        """See :class:`Engine`."""
        crew = _Crew(function, iter(tasks))
        try:
            yield from crew.work(self.workers)
        finally:
            crew.dismiss()


class _Worker:
    """A process, the pipe to it, its task, and how many workers have died of this task before."""

    def __init__(self, function: Callable[[Any], Any], task: Any, deaths: int) -> None:
        context = get_context("spawn")
        self.connection, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(there, function), daemon=True)
        resource_tracker.ensure_running()  # as its start would unblock the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:  # what the keyboard says is for the driver; the process inherits that
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        there.close()
        self.task, self.deaths, self.started = task, deaths, False

    def begin(self) -> None:
        """Hand over the task; a process that is dead by now is noticed when it is listened to."""
        with suppress(OSError):
            self.connection.send(self.task)

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.connection.close()


class _Crew:
    """Workers, each with a task; one without is let go of, as there are no more then."""

    def __init__(self, function: Callable[[Any], Any], tasks: Iterator[Any]) -> None:
        self._function, self._tasks = function, tasks
        self._workers: dict[Any, _Worker] = {}  # by connection
        self._failed_starts = 0

    def work(self, size: int) -> Iterator[tuple[Any, Any]]:
        """Yield each task with its result, with so many workers."""
        for task in islice(self._tasks, size):
            self._hire(task)
        while self._workers:
            for connection in wait(list(self._workers)):
                yield from self._hear(self._workers[connection])

    def dismiss(self) -> None:
        """Stop all workers."""
        for worker in self._workers.values():
            worker.stop()
        self._workers.clear()

    def _hire(self, task: Any, deaths: int = 0) -> None:
        worker = _Worker(self._function, task, deaths)
        self._workers[worker.connection] = worker

    def _hear(self, worker: _Worker) -> Iterator[tuple[Any, Any]]:
        """Take what a worker says: that it has started, a result, or nothing any more."""
        try:
            said = worker.connection.recv()
        except (EOFError, OSError):
            yield from self._replace(worker)
            return
        if not worker.started:
            worker.started, self._failed_starts = True, 0
            worker.begin()
            return
        yield worker.task, said
        for task in islice(self._tasks, 1):
            worker.task, worker.deaths = task, 0
            worker.begin()
            return
        del self._workers[worker.connection]
        worker.stop()

    def _replace(self, worker: _Worker) -> Iterator[tuple[Any, Any]]:
        """Give the task of a dead worker to a new one, or go on with the next task."""
        del self._workers[worker.connection]
        worker.stop()
        self._failed_starts += not worker.started
        if self._failed_starts >= _STARTS:
            raise AtlasError(
                "worker processes do not start; in a script, build below `if __name__ == '__main__':`, "
                "or give workers=0 to work in this process"
            )
        deaths = worker.deaths + worker.started
        if deaths < ATTEMPTS:
            self._hire(worker.task, deaths)
            return
        yield worker.task, Lost()
        for task in islice(self._tasks, 1):
            self._hire(task)


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    """Work off tasks until nobody is listening any more."""
    with suppress(EOFError, OSError):
        connection.send(None)
        while True:
            connection.send(function(connection.recv()))
