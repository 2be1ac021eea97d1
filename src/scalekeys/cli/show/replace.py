"""A replacement on the terminal."""

from scalekeys.cli.show.cells import Terminal, bold, decimal, percentage, plain_table
from scalekeys.cli.show.notes import print_notes
from scalekeys.cli.work.replace import Outcome


def print_outcome(outcome: Outcome) -> None:
    """Print what the filters are now, what that is like, and how many numbers it takes."""
    console, chosen = Terminal(), outcome.chosen
    print_notes(console, outcome.notes, chosen.bank.left_out, more="by --json")
    layers = "1 layer" if len(chosen.bank.layers) == 1 else f"{len(chosen.bank.layers)} layers"
    chosen_from = f", chosen by those of {outcome.names.chosen_from}" if outcome.names.chosen_from else ""
    console.print(
        bold(chosen.bank.model) + f": {int(chosen.replaced.sum())} of {len(chosen.bank)} depthwise filters "
        f"in {layers} are replaced{chosen_from}",
        soft_wrap=True,
    )
    table = plain_table("model", "filters", "median r2", "numbers", "before")
    for row in chosen.to_pandas().to_dict("records"):
        table.add_row(
            row["model"], str(row["filters"]), decimal(row["median_r2"]), str(row["numbers"]), str(row["taps"])
        )
    console.print(table)
    share = percentage(outcome.numbers / outcome.taps)
    console.print(f"depthwise parameters: {outcome.taps} before, {outcome.numbers} now ({share})")
    console.print(f"written: {outcome.names.output}", soft_wrap=True)
