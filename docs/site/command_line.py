"""The reference of the command line: the help of each verb takes the place of a line in reference/command-line.md."""

from collections.abc import Iterator
from typing import Any

import click
import typer
from sphinx.application import Sphinx

from scalekeys.cli import app as verbs

PLACE = "<!-- the help of each verb -->"
WIDTH = 100


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("source-read", _fill_in)
    return {"parallel_read_safe": True}


def _fill_in(app: Sphinx, page: str, source: list[str]) -> None:  # noqa: ARG001
    if PLACE in source[0]:
        source[0] = source[0].replace(PLACE, "\n".join(_sections(typer.main.get_command(verbs), "scalekeys", None)))


def _sections(command: click.Command, name: str, above: click.Context | None) -> Iterator[str]:
    """Yield a section of Markdown for a command, and for each command below it."""
    context = click.Context(command, info_name=name, parent=above, terminal_width=WIDTH)
    yield f"## `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```\n"
    for verb, inner in getattr(command, "commands", {}).items():
        yield from _sections(inner, verb, context)
