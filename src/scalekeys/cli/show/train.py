"""What a person sees of a training: progress on standard error, the last figures on standard output."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from scalekeys.cli.show.cells import Terminal, decimal, percentage, plain_table, print_whole
from scalekeys.cli.show.notes import print_notes
from scalekeys.training.precision import said_of_precision


class Bars:
    """Shows how far an epoch and the whole training are, how fast it goes, and what each epoch gave."""

    def __init__(self, progress: Progress, *, is_main: bool) -> None:
        self.is_main = is_main
        self._progress = progress
        self._whole = progress.add_task("training", total=None, note="")
        self._epoch = progress.add_task("epoch", total=None, note="")
        self._counted = False

    def begin(self, epoch: int, epochs: int, images: int) -> None:
        """Start the bar of an epoch."""
        if not self._counted:  # what was done before an interruption says nothing about the time that is left
            self._progress.update(self._whole, total=(epochs - epoch + 1) * images)
            self._counted = True
        self._progress.reset(self._epoch, total=images, description=f"epoch {epoch}/{epochs}")

    def advance(self, images: int) -> None:
        """Move both bars on."""
        for task in (self._whole, self._epoch):
            self._progress.advance(task, images)
        speed = next(task.speed for task in self._progress.tasks if task.id == self._epoch)
        if speed is not None:
            self._progress.update(self._epoch, note=f"{speed:.0f} images/s")

    def end(self, row: dict[str, float]) -> None:
        """Print what an epoch gave."""
        tested = f"top-1 {percentage(row['top1'])}, " if "top1" in row else ""
        self._progress.print(
            f"epoch {row['epoch']:.0f}: loss {row['train_loss']:.3f}, {tested}{row['images_per_second']:.0f} images/s",
            highlight=False,
        )


@contextmanager
def watching() -> Iterator[Bars]:
    """Show the progress of a training while a block runs; silent where there is no terminal, and in other processes."""
    console, is_main = Terminal(stderr=True), os.environ.get("RANK", "0") == "0"
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
    )
    shown = console.is_terminal and is_main
    with Progress(*columns, console=console if shown else Console(quiet=True), disable=not shown) as progress:
        yield Bars(progress, is_main=is_main)


def print_rows(rows: Sequence[dict[str, float]], folder: Path) -> None:
    """Print the figures of the last epochs, and where everything is."""
    table = plain_table("epoch", "train loss", "test loss", "top-1", "top-5", "median r2", "images/s")
    for row in rows[-5:]:
        table.add_row(
            f"{row['epoch']:.0f}",
            decimal(row["train_loss"]),
            decimal(row.get("test_loss")),
            percentage(row.get("top1")),
            percentage(row.get("top5")),
            decimal(row.get("r2")),
            f"{row['images_per_second']:.0f}",
        )
    console = Terminal()
    print_notes(console, said_of_precision(folder), (), more="")
    print_whole(console, table)
    console.say(f"weights: {folder / 'network.safetensors'}\nmetrics: {folder / 'metrics.csv'}")
