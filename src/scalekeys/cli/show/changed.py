"""What the verbs that change a network print alike."""

from collections.abc import Mapping
from pathlib import Path

from scalekeys.cli.show.cells import Terminal, decimal, percentage, plain_table, print_whole
from scalekeys.filters import Replacement


def print_models(console: Terminal, chosen: Replacement) -> None:
    """Print how many filters each model describes, how well, and by how many numbers."""
    table = plain_table("model", "filters", "median r2", "numbers", "before")
    for row in chosen.to_pandas().to_dict("records"):
        table.add_row(
            row["model"], str(row["filters"]), decimal(row["median_r2"]), str(row["numbers"]), str(row["taps"])
        )
    print_whole(console, table)


def print_left(console: Terminal, left: Mapping[str, str]) -> None:
    """Print which layers are as they were, and why."""
    for layer, reason in left.items():
        console.say(f"left: {layer}, because {reason}")


def print_counts(console: Terminal, what: str, before: int, now: int) -> None:
    """Print how many numbers or operations there were and are."""
    console.say(f"{what}: {before} before, {now} now ({percentage(now / before)})")


def print_matched(console: Terminal, images: int) -> None:
    """Print on how many images statistics were matched, if on any."""
    if images:
        console.say(f"statistics are matched to those of the original on {images} images")


def print_written(console: Terminal, output: Path, loading: str) -> None:
    """Print what was written, and the Python statement that loads it."""
    console.say(f"written: {output}\nload:    {loading}")
