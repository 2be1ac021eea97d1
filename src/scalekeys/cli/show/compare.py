"""A comparison of trainings on the terminal."""

from pathlib import Path

from scalekeys.cli.show.cells import Terminal, decimal, percentage, plain_table, print_whole
from scalekeys.cli.show.notes import print_notes
from scalekeys.training.comparison import Comparison, Spread


def print_conditions(comparison: Comparison, folder: Path) -> None:
    """Print a line for each condition, and where everything is."""
    console = Terminal()
    for run in comparison.runs:
        print_notes(console, run.notes, of=run.name)
    table = plain_table("condition", "runs", "averaged", "last weights", "depthwise parameters", "median r2")
    for column in table.columns[1:]:
        column.no_wrap = True
    for condition in comparison.conditions:
        learned = condition.learned
        plain, r2 = condition.spread("top1"), condition.spread("r2")
        table.add_row(
            condition.name,
            str(len(condition.counted)),
            _with_spread(condition.spread("average_top1")),
            percentage(None if plain is None else plain.mean),
            "-" if learned is None else str(learned.depthwise),
            decimal(None if r2 is None else r2.mean),
        )
    print_whole(console, table)
    console.say(f"report: {folder / 'report.html'}\ntable:  {folder / 'runs.csv'}")


def _with_spread(spread: Spread | None) -> str:
    if spread is None or spread.std is None:
        return percentage(None if spread is None else spread.mean)
    return f"{100 * spread.mean:.1f} +- {percentage(spread.std)}"
