"""What a person sees on the terminal: progress on standard error, a summary on standard output."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from scalekeys.cli.show.cells import Terminal
from scalekeys.cli.work import Step
from scalekeys.errors import printable

_BARS_OF_HUBS = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")


@contextmanager
def working() -> Iterator[Step]:
    """Show a progress line on standard error while a block runs; silent when it is not a terminal.

    Gives ``step(text, total=None)``, which starts the next step and returns a function that advances it.
    """
    console = Terminal(stderr=True)
    if not console.is_terminal:
        os.environ.update(dict.fromkeys(_BARS_OF_HUBS, "1"))
    columns = (
        SpinnerColumn("line" if console.options.ascii_only else "dots"),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def step(text: str, total: int | None = None) -> Callable[[int], None]:
            for task in progress.task_ids:
                progress.remove_task(task)
            task = progress.add_task(printable(text), total=total)
            return lambda amount: progress.advance(task, amount)

        yield step
