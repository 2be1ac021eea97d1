"""Tells whether code out of a file was executed."""

import sys
from typing import Any

_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "ctypes.dlopen")
_fired: list[str] = []
_watching: list[bool] = []


def fire(*_arguments: Any) -> None:
    """Say that code ran; payloads call it."""
    _fired.append("fire")


def watch() -> None:
    """Listen from now on, to the end of the process, for programs that are started and for imports of payloads."""

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FORBIDDEN or (event == "import" and str(arguments[0]).startswith("fuzz.canary_")):
            _fired.append(event)

    sys.addaudithook(listen)
    _watching.append(True)


def is_watching() -> bool:
    """Tell whether :func:`watch` was called."""
    return bool(_watching)


def executed() -> str:
    """Return what has run since the last call; empty if nothing has."""
    said = ", ".join(_fired)
    _fired.clear()
    return said
