"""The result of a verb on standard output: for a person, or as JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import typer

from scalekeys.cli.show.progress import working
from scalekeys.cli.work import Step


class Result(Protocol):
    """What a verb came to."""

    def to_dict(self) -> Any:
        """Return the figures that ``--json`` writes."""


def carry_out(work: Callable[[Step], Result], shown: Callable[..., None], *where: Path, as_json: bool) -> None:
    """Do the work of a verb under a line of progress, and print the result."""
    with working() as step:
        result = work(step)
    print_result(result, shown, *where, as_json=as_json)


def print_result(result: Result, shown: Callable[..., None], *where: Path, as_json: bool) -> None:
    """Print a result as JSON, or let a function show it and where it was written."""
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
    else:
        shown(result, *where)
