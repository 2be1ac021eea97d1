"""Ray: the same tasks on the processors of a cluster whose machines share the folders of checkpoints and atlas."""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

from scalekeys.atlas.engines import ATTEMPTS, Lost
from scalekeys.errors import AtlasError
from scalekeys.optional import first_line, require

T = TypeVar("T")
R = TypeVar("R")

LOCAL = "local"
"""The address for which a cluster is started on this machine, and stopped in the end."""

_PER_PROCESSOR = 2  # tasks under way, so that no processor waits for the driver


class Ray:
    """Tasks of one processor each on a Ray cluster.

    `address`: of a cluster, as Ray takes it (``"auto"``, ``"HOST:6379"``, ``"ray://HOST:10001"``), or ``"local"`` for
    one that is started here.
    `workers`: how many processors to use; 0 for all.

    Raises MissingExtraError if Ray is not installed.
    """

    def __init__(self, address: str, workers: int = 0) -> None:
        self.address, self.workers = address, workers
        self._ray = require("ray", extra="ray")

    def run(self, function: Callable[[T], R], tasks: Iterable[T]) -> Generator[tuple[T, R | Lost], None, None]:
        """See :class:`scalekeys.atlas.engines.Engine`."""
        ray, waiting = self._ray, iter(tasks)
        with _connected(ray, self.address, self.workers):
            remote = ray.remote(num_cpus=1, max_retries=ATTEMPTS - 1)(function)
            most = self.workers or _PER_PROCESSOR * int(ray.cluster_resources().get("CPU", 1))
            running: dict[Any, T] = {}
            while True:
                running |= {remote.remote(task): task for task in islice(waiting, most - len(running))}
                if not running:
                    return
                for done in ray.wait(list(running))[0]:
                    yield running.pop(done), _result(ray, done)


@contextmanager
def _connected(ray: Any, address: str, workers: int) -> Iterator[None]:
    """Connect with a cluster while a block runs, where the program is not connected already."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own = {"num_cpus": workers or None, "include_dashboard": False} if address == LOCAL else {"address": address}
    try:
        ray.init(**own, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray has no common class for what keeps it from connecting
        raise AtlasError(f"Ray at {address!r} does not answer ({first_line(error)}); is it up?") from error
    try:
        yield
    finally:
        ray.shutdown()


def _result(ray: Any, done: Any) -> Any:
    """Return a result, or that the worker or its machine died; what concerns the whole cluster ends the run."""
    errors = ray.exceptions
    try:
        return ray.get(done)
    except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError, errors.ObjectLostError):
        return Lost()
    except (errors.RayTaskError, errors.RuntimeEnvSetupError) as error:
        last = str(error).strip().rpartition("\n")[2]
        raise AtlasError(f"a Ray worker cannot run this version of scalekeys ({last}); install it there") from error
    except errors.RayError as error:
        last = str(error).strip().rpartition("\n")[2]
        raise AtlasError(
            f"the Ray cluster cannot go on ({last or type(error).__name__}); what is done is kept, so run again"
        ) from error
