"""A compressed network on the terminal."""

from scalekeys.cli.show.cells import Terminal, bold, percentage
from scalekeys.cli.show.changed import print_models, print_written
from scalekeys.cli.show.notes import print_notes
from scalekeys.cli.work.compress import Outcome
from scalekeys.cli.work.network_file import loading


def print_outcome(outcome: Outcome) -> None:
    """Print how many numbers are left, by which models, and what that costs on images that were held out."""
    console, (learned, held_out) = Terminal(), outcome.images
    print_notes(console, outcome.notes)
    share = percentage(outcome.compression.share)
    console.say(bold(outcome.task.network) + f": {share} of the depthwise numbers are left")
    print_models(console, outcome.compression.chosen)
    if outcome.before is None or outcome.after is None or outcome.difference is None:
        console.say(f"learned from {learned} images without labels; how accurate the network is was not measured")
    else:
        low, high = outcome.difference.interval
        console.say(f"learned from {learned} images, measured on the other {held_out}, which were held out")
        console.say(
            f"top-1: {percentage(outcome.before.top1)} before, {percentage(outcome.after.top1)} now; difference "
            f"{100 * outcome.difference.value:+.1f} points, with 95 % confidence from {100 * low:+.1f} to "
            f"{100 * high:+.1f}"
        )
    print_written(console, outcome.task.output, loading(outcome.task.output))
    console.say(
        "Filters are again plain kernels, so the file has the size that it had; the numbers are what a filter is made "
        "of."
    )
