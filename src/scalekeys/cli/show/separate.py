"""A network with separable layers on the terminal."""

from scalekeys.cli.show.cells import Terminal, bold, percentage, plain_table, print_whole
from scalekeys.cli.show.changed import print_counts, print_left, print_matched, print_written
from scalekeys.cli.show.notes import print_notes
from scalekeys.cli.work.network_file import loading
from scalekeys.cli.work.separate import Outcome
from scalekeys.errors import counted
from scalekeys.networks.changing.separate.separation import SeparatedLayer
from scalekeys.shapes import size_text


def print_outcome(outcome: Outcome) -> None:
    """Print which layers are separable now, what that loses and saves, and why others are as they were."""
    console, found = Terminal(), outcome.separation
    print_notes(console, outcome.notes)
    layers = counted(len(found.layers), "layer")
    console.say(bold(outcome.task.network) + f": {layers} of {len(found.layers) + len(found.left)} separated")
    lost = "responses lost" if outcome.images else "energy lost"
    table = plain_table("layer", "kernel", "outer products", lost, "ms before", "ms now", "share")
    for one in found.layers:
        loss = percentage(one.energy if one.error is None else one.error)
        table.add_row(one.layer, size_text(one.kernel_size), str(one.rank), loss, *_times(one))
    print_whole(console, table)
    print_left(console, found.left)
    print_counts(console, "depthwise parameters", *found.numbers)
    if found.multiplications is not None:
        print_counts(console, "multiplications", *found.multiplications)
    if found.times is not None:
        times, (low, high) = found.times, found.times.quartiles
        console.say(
            f"the whole network in {found.runtime}, on one thread: {times.before:.2f} ms before, {times.after:.2f} ms "
            f"now ({percentage(times.ratio)}; half of the runs between {percentage(low)} and {percentage(high)})"
        )
    print_matched(console, outcome.images)
    print_written(console, outcome.task.output, loading(outcome.task.output, by="load_separated"))


def _times(layer: SeparatedLayer) -> tuple[str, str, str]:
    if layer.before is None or layer.after is None:
        return ("-",) * 3
    return f"{layer.before:.3f}", f"{layer.after:.3f}", percentage(layer.after / layer.before)
