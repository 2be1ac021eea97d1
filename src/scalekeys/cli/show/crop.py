"""A cropped network on the terminal."""

from scalekeys.cli.show.cells import Terminal, bold, percentage, plain_table, print_whole
from scalekeys.cli.show.changed import print_counts, print_left, print_matched, print_written
from scalekeys.cli.show.notes import print_notes
from scalekeys.cli.work.crop import Outcome
from scalekeys.cli.work.network_file import loading
from scalekeys.networks.changing.crop import CroppedLayer
from scalekeys.shapes import size_text


def print_outcome(outcome: Outcome) -> None:
    """Print which layers are smaller now, what code has to give them, and what could not be cropped."""
    console = Terminal()
    print_notes(console, outcome.notes)
    count = "1 layer has" if len(outcome.layers) == 1 else f"{len(outcome.layers)} layers have"
    console.say(bold(outcome.task.network) + f": {count} smaller kernels")
    table = plain_table("layer", "kernel", "now", "padding", "energy cut", "numbers saved")
    for one in outcome.layers:
        sizes = size_text(one.before), size_text(one.kernel_size), _padding(one)
        table.add_row(one.layer, *sizes, percentage(one.energy), str(one.saved))
    print_whole(console, table)
    print_left(console, outcome.left)
    print_counts(console, "depthwise parameters", *outcome.numbers)
    print_matched(console, outcome.images)
    print_written(console, outcome.task.output, loading(outcome.task.output))
    less = (
        ", where the column says by how much the padding changes, times the dilation"
        if outcome.layers[0].padding is None
        else ""
    )
    console.say(
        "The code that builds the network has to give these layers their new kernel size and padding" + less + ", "
        "before it loads this file."
    )


def _padding(layer: CroppedLayer) -> str:
    """Write what the padding is now, or how much less where weights alone are known."""
    if layer.padding is None:
        return ", ".join(f"-{side}" for side in layer.padding_less)
    return layer.padding if isinstance(layer.padding, str) else size_text(layer.padding)
