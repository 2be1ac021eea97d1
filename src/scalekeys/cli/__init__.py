"""The command line. Each verb parses, calls and writes; it holds no science."""

import errno
import io
import os
import sys
from typing import NoReturn

from scalekeys.cli.app import app
from scalekeys.errors import ScaleKeysError, one_line

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE, errno.EBADF)


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
            if sys.stdout is not None:  # it is None where it was closed by who started the command
                sys.stdout.flush()
    except ScaleKeysError as error:
        sys.exit(f"scalekeys: {error}")
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    """Say which file, or that the standard output, made the system refuse; readers and writers have told all else."""
    if error.filename is not None:
        sys.exit(one_line(f"scalekeys: {os.fsdecode(error.filename)}: {error.strerror or error}"))
    if error.errno not in _UNWRITABLE:
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is to fail at the very end
    if error.errno == errno.EPIPE:  # who reads it has seen enough
        sys.exit(1)
    sys.exit(f"scalekeys: the standard output cannot be written ({error.strerror}); write to another one")


__all__ = ["app", "main"]
