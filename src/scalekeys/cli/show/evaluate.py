"""An evaluation on the terminal."""

from rich.table import Table

from scalekeys.cli.show.cells import Terminal, percentage, plain_table, print_whole
from scalekeys.cli.show.notes import print_notes
from scalekeys.cli.work.evaluate import Outcome
from scalekeys.networks import Evaluation

_MEANINGFUL = 5
"""With so many classes or fewer every image is among the first five."""


def print_outcome(outcome: Outcome) -> None:
    """Print the accuracies with their intervals, how images were prepared, and how fast it was."""
    console = Terminal()
    print_notes(console, outcome.notes)
    figures = ", ".join(f"{name} {_short(value)}" for name, value in outcome.preparation.items())
    lines = [f"images: {outcome.task.data} ({figures})"]
    if outcome.recalibrated:
        by = "" if outcome.reference is None else ", matched to the reference"
        lines.append(f"recalibrated on {outcome.recalibrated} images without their labels{by}")
    for line in lines:
        console.say(line)
    print_whole(console, _table(outcome))
    if outcome.difference is not None:
        low, high = outcome.difference.interval
        console.say(
            f"difference: {100 * outcome.difference.value:+.1f} points of top-1, with 95 % confidence from "
            f"{100 * low:+.1f} to {100 * high:+.1f} ({outcome.difference.gained} images gained, "
            f"{outcome.difference.lost} lost)"
        )
    if outcome.evaluation.non_finite:
        console.say(f"{outcome.evaluation.non_finite} images gave numbers that are not finite, and count as wrong")
    console.say(f"{outcome.images_per_second:.1f} images/s")


def _table(outcome: Outcome) -> Table:
    headers = ("network", "images", "top-1", "95 %") + (("top-5", "95 %") if _has_top5(outcome.evaluation) else ())
    table = plain_table(*headers)
    table.add_row(outcome.task.network, *_cells(outcome.evaluation))
    if outcome.reference is not None:
        table.add_row("reference", *_cells(outcome.reference))
    return table


def _cells(evaluation: Evaluation) -> list[str]:
    cells = [str(evaluation.count), percentage(evaluation.top1), _interval(*evaluation.top1_interval)]
    if _has_top5(evaluation):
        cells += [percentage(evaluation.top5), _interval(*evaluation.top5_interval)]
    return cells


def _has_top5(evaluation: Evaluation) -> bool:
    return evaluation.classes > _MEANINGFUL


def _interval(low: float, high: float) -> str:
    return f"{100 * low:.1f}-{100 * high:.1f}"


def _short(value: object) -> str:
    if isinstance(value, tuple | list):
        return " ".join(_short(part) for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
