"""What a person sees on the terminal: progress on standard error, a summary on standard output."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from scalekeys.cli.cells import Terminal, bold, decimal, percentage, plain_table
from scalekeys.cli.left_out import print_notes
from scalekeys.errors import printable
from scalekeys.report.summary import FamilySummary, Quality, Summary

_BARS_OF_HUBS = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")


@contextmanager
def working() -> Iterator[Callable[..., Callable[[int], None]]]:
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


def print_summary(summary: Summary, folder: Path) -> None:
    """Print what was found, and where the report is."""
    console = Terminal()
    print_notes(console, summary.notes, summary.left_out, more="in report.html")
    quality = summary.quality
    dead = f" ({summary.dead} dead)" if summary.dead else ""
    layers = "1 layer" if len(summary.layers) == 1 else f"{len(summary.layers)} layers"
    console.print(
        bold(summary.model) + f": {quality.filters} depthwise filters{dead} in {layers}, "
        f"{percentage(quality.share_explained)} of their energy explained "
        f"(noise of the same norms: {percentage(quality.control_share_explained)})"
    )
    console.print(_size_table(summary))
    console.print(_family_table(summary.families))
    others = [f"{count} {word}" for word, count in summary.statuses.items() if word != "ok"]
    if others:
        console.print("status: " + ", ".join(others))
    console.print(f"report: {folder / 'report.html'}\ntable:  {folder / 'filters.parquet'}", soft_wrap=True)


def _size_table(summary: Summary) -> Table:
    table = plain_table("kernel", "filters", "median r2", "control", "explained", "control")
    rows = [(row.size, row.quality) for row in summary.sizes]
    for size, quality in [*rows, ("all", summary.quality)] if len(rows) > 1 else rows:
        table.add_row(size, str(quality.filters), *_quality_cells(quality))
    return table


def _quality_cells(quality: Quality) -> tuple[str, ...]:
    return (
        decimal(quality.median_r2),
        decimal(quality.control_median_r2),
        percentage(quality.share_explained),
        percentage(quality.control_share_explained),
    )


def _family_table(families: tuple[FamilySummary, ...]) -> Table:
    table = plain_table("family", "filters", "share", "control", "median r2", "sigma x", "sigma y")
    for row in families:
        table.add_row(
            row.family,
            str(row.filters),
            percentage(row.share),
            percentage(row.control_share),
            decimal(row.median_r2),
            decimal(row.median_sigma_x),
            decimal(row.median_sigma_y),
        )
    return table
