"""A pruned network on the terminal."""

from scalekeys.cli.show.cells import Terminal, bold, percentage, plain_table, print_whole
from scalekeys.cli.show.changed import print_written
from scalekeys.cli.show.notes import print_notes
from scalekeys.cli.work.network_file import loading
from scalekeys.cli.work.prune import Outcome


def print_outcome(outcome: Outcome) -> None:
    """Print how many dead filters were removed, why others were left, and what the network costs now."""
    console, pruning = Terminal(), outcome.pruning
    print_notes(console, outcome.notes)
    console.say(bold(outcome.task.network) + f": {pruning.removed} of {len(pruning.dead)} dead filters are removed")
    table = plain_table("", "before", "now", "share")
    for name in ("filters", "parameters", "multiplications"):
        before, now = getattr(pruning, name)
        table.add_row(
            "depthwise filters" if name == "filters" else name, str(before), str(now), percentage(now / before)
        )
    print_whole(console, table)
    for reason, count in pruning.reasons.items():
        console.say(f"left: {count}, because {reason}")
    console.say(f"outputs differ by {pruning.difference:.1e} of the largest one")
    print_written(console, outcome.task.output, loading(outcome.task.output, by="load_pruned"))
