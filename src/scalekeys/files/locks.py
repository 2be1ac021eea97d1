"""Locks on open files, which the system lifts when a process ends, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock
from pathlib import Path


def lock(handle: int) -> None:
    """Lock an open file or folder for as long as it is open, where the file system has locks."""
    with suppress(OSError):
        flock(handle, LOCK_EX)


def is_locked(path: Path) -> bool | None:
    """Tell whether somebody holds a lock on a file or folder; None where that cannot be told.

    A shared lock is asked for, because network file systems refuse an exclusive one on what is open for reading.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:  # a link that leads nowhere
        return False
    except OSError:
        return None
    try:
        flock(handle, LOCK_SH | LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return None
    finally:
        os.close(handle)
    return False


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
