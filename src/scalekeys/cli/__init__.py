"""The command line. Each verb parses, calls and writes; it holds no science."""

import errno
import io
import os
import sys

from scalekeys.cli.app import app
from scalekeys.errors import ScaleKeysError, one_line


def main() -> None:
    """Run the command line; a mistake in the input becomes one line on standard error and exit status 1.

    So does an output that cannot take what is written to it. Letters that a terminal does not know become escape
    sequences.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            app()
        finally:
            _flush()
    except ScaleKeysError as error:
        sys.exit(f"scalekeys: {error}")
    except OSError as error:  # of a file that the user named, and no reader or writer has words for
        if error.filename is None:
            raise
        sys.exit(one_line(f"scalekeys: {os.fsdecode(error.filename)}: {error.strerror or error}"))


def _flush() -> None:
    """Write what is left of the output, and refuse an output that takes it not; nothing fails at the very end then."""
    if sys.stdout is None:  # it was closed by who started the command
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:  # who reads it has seen enough
            sys.exit(1)
        sys.exit(f"scalekeys: the standard output cannot be written ({error.strerror or error}); write to another one")


__all__ = ["app", "main"]
