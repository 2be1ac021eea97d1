"""Locks on open files, which the system lifts when a process ends, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path


def lock(handle: int) -> bool:
    """Lock an open file or folder, and tell whether that was possible: it is not where somebody else has locked it."""
    try:
        flock(handle, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def is_locked(path: Path) -> bool | None:
    """Tell whether somebody holds a lock on a file or folder; None where that cannot be told."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        return not lock(handle)
    finally:
        os.close(handle)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for the same folder, and run the block; it must be short."""
    handle = None
    with suppress(OSError):  # where a folder cannot be opened or locked, there is no order to be had
        handle = os.open(folder, os.O_RDONLY)
        flock(handle, LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
