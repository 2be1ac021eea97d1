"""What a case may take: time, and memory beyond what the process had."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SECONDS = 20
MEMORY = 1 << 30

_PAGE = resource.getpagesize()


class TooSlow(BaseException):
    """A case took too long; no handler of ordinary errors catches this."""


def lift_memory_limit() -> None:
    """Let this process map what it likes, while it makes samples."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def limit_memory() -> None:
    """Let this process map so much more memory than it has mapped now; asking for more is a MemoryError."""
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def limited_time() -> Iterator[None]:
    """Raise TooSlow in a block that takes too long."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlow

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
