"""The command line. Each verb parses, calls and writes; it holds no science."""

import sys

from scalekeys.cli.app import app
from scalekeys.errors import ScaleKeysError


def main() -> None:
    """Run the command line; a mistake in the input becomes one line on standard error and exit status 1."""
    try:
        app()
    except ScaleKeysError as error:
        sys.exit(f"scalekeys: {error}")


__all__ = ["app", "main"]
