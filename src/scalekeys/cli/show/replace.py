"""A replacement on the terminal."""

from scalekeys.cli.show.cells import Terminal, bold
from scalekeys.cli.show.changed import print_counts, print_models, print_written
from scalekeys.cli.show.notes import print_notes
from scalekeys.cli.work.replace import Outcome
from scalekeys.errors import counted


def print_outcome(outcome: Outcome) -> None:
    """Print what the filters are now, what that is like, and how many numbers it takes."""
    console, chosen = Terminal(), outcome.chosen
    print_notes(console, outcome.notes, chosen.bank.left_out, more="by --json")
    chosen_from = f", chosen by those of {outcome.names.chosen_from}" if outcome.names.chosen_from else ""
    console.say(
        bold(chosen.bank.model) + f": {int(chosen.replaced.sum())} of {len(chosen.bank)} depthwise filters "
        f"in {counted(len(chosen.bank.layers), 'layer')} are replaced{chosen_from}"
    )
    print_models(console, chosen)
    print_counts(console, "depthwise parameters", outcome.taps, outcome.numbers)
    print_written(console, outcome.names.output, outcome.loading)
