"""Times of layers that were measured before on this machine, in the cache folder of the user."""

import json
import os
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

from scalekeys.errors import OutputError
from scalekeys.files import new_file

_NAME = "layer_times.json"
_FORM = 1
"""Raised when times are measured in another way, so that those of before are measured again."""


def cache_file() -> Path:
    """Return where times are kept: in ``$XDG_CACHE_HOME``, by default ``~/.cache``, under ``scalekeys``."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(home) / "scalekeys" / _NAME


def read_times() -> dict[str, list[float]]:
    """Return the times that are kept, each a pair in seconds; none where the file cannot be read."""
    try:
        found = json.loads(cache_file().read_text(encoding="utf-8"))
        return {key: [float(one) for one in pair] for key, pair in found.items() if len(pair) == 2}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def keep_times(times: dict[str, list[float]]) -> None:
    """Add times to those that are kept; where the folder cannot be written, they are forgotten."""
    path = cache_file()
    with suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path, force=True) as temporary:
            temporary.write_text(json.dumps(read_times() | times, indent=0), encoding="utf-8")


def key_of(*parts: object) -> str:
    """Return the key of what was timed; machine and form of the file are added."""
    return json.dumps([_FORM, _machine(), *map(str, parts)])


@cache
def _machine() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{platform.machine()} {model or platform.processor()}, {os.cpu_count()} cores"
