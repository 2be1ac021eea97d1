"""An analysis on the terminal."""

from pathlib import Path
from typing import Any

from rich.table import Table

from scalekeys.cli.show.cells import Terminal, bold, decimal, percentage, plain_table, print_whole
from scalekeys.cli.show.notes import CONTROLS, print_notes
from scalekeys.errors import counted
from scalekeys.fitting import LadderGroup, Standing
from scalekeys.fitting.formation import LIKE_NOISE
from scalekeys.fitting.ladder_steps import Difference
from scalekeys.report.analysis.summary import Quality, Summary
from scalekeys.report.page.document import paragraphs

LADDER = (
    "each step is the best of the models up to it, on a sample of filters; models of more numbers explain more of\n"
    "anything, noise included, so what counts is the last column: the gain less that of matched noise (95 %)"
)

_STATUSES = {
    "polynomial": "an infinite scale: the kernel shows no decay inside its window",
}


def print_summary(summary: Summary, folder: Path) -> None:
    """Print what was found, and where the report is."""
    console = Terminal()
    print_notes(console, summary.notes, summary.left_out, more="in report.html")
    quality = summary.quality
    dead = f" ({summary.dead} dead)" if summary.dead else ""
    layers = counted(len(summary.layers), "layer")
    console.print(
        bold(summary.model) + f": {quality.filters} filters{dead} in {layers}, "
        f"{percentage(quality.share_explained)} of their energy explained "
        f"(matched noise: {percentage(quality.matched_share_explained)}, "
        f"white noise: {percentage(quality.white_share_explained)})"
    )
    print_whole(console, _size_table(summary))
    console.print(CONTROLS)
    print_whole(console, _family_table(summary))
    if summary.ladder:
        network = summary.ladder.network
        console.say(f"ladder: {_words('columns')}, and by how many points it exceeds matched noise")
        print_whole(console, _ladder_table(network))
        console.say(f"{LADDER}\nverdict: {_words('verdict', steps=network.steps)}")
    if summary.formation and summary.formation.white:
        console.say(_formation(summary.formation.white, summary))
    if summary.orientation:
        console.say(_orientation(summary))
    others = [_status(word, count) for word, count in summary.statuses.items() if word != "ok"]
    if others:
        console.print("status: " + ", ".join(others))
    files = {"report": "report.html", "table": "filters.parquet"}
    for word, name in (files | ({"ladder": "ladder.parquet"} if summary.ladder else {})).items():
        console.say(f"{word + ':':8}{folder / name}")


def _status(word: str, count: int) -> str:
    return f"{count} {word} ({_STATUSES[word]})" if word in _STATUSES else f"{count} {word}"


def _formation(standing: Standing, summary: Summary) -> str:
    """Say how far the network has formed, and how many of its layers are like noise."""
    told = [layer.formation.white for layer in summary.layers if layer.formation and layer.formation.white]
    unformed = sum(layer.word == LIKE_NOISE for layer in told)
    return (
        f"formation: {standing.value:.2f} ({standing.low:.2f} to {standing.high:.2f}; 0 is white noise), "
        f"{standing.word}; {unformed} of {len(told)} layers like noise"
    )


def _orientation(summary: Summary) -> str:
    """Say which share of the filters gains from a free angle, by kernel size, beside both controls."""
    shares = (
        f"{one.size} {percentage(one.real.share)} (matched {percentage(one.matched.share)}, "
        f"white {percentage(one.white.share)}: {one.verdict.value})"
        for one in summary.orientation
    )
    return "better explained at an angle to the axes: " + ", ".join(shares)


def _size_table(summary: Summary) -> Table:
    table = plain_table("kernel", "filters", "median r2", "matched", "white", "explained", "matched", "white")
    rows = [(row.size, row.quality) for row in summary.sizes]
    for size, quality in [*rows, ("all", summary.quality)] if len(rows) > 1 else rows:
        table.add_row(size, str(quality.filters), *_quality_cells(quality))
    return table


def _quality_cells(quality: Quality) -> tuple[str, ...]:
    return (
        decimal(quality.median_r2),
        decimal(quality.matched_median_r2),
        decimal(quality.white_median_r2),
        percentage(quality.share_explained),
        percentage(quality.matched_share_explained),
        percentage(quality.white_share_explained),
    )


def _words(macro: str, **facts: Any) -> str:
    """Return what the page says too."""
    (text,) = paragraphs("analysis/ladder.txt.j2", macro, **facts)
    return text


def _ladder_table(group: LadderGroup) -> Table:
    table = plain_table("step", "numbers", "explained", "matched", "white", "adds", "matched", "beyond matched")
    for step in group.steps:
        shares = (*vars(step.explained).values(), step.gain.filters, step.gain.matched)
        table.add_row(step.model, str(step.numbers), *map(percentage, shares), _points(step.beyond_matched))
    return table


def _points(found: Difference) -> str:
    """Write a difference of shares in percentage points, with its interval where there is one."""
    if found.value is None or found.low is None or found.high is None:
        return "-"
    value, low, high = (f"{100 * one:+.1f}" for one in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def _family_table(summary: Summary) -> Table:
    scales = [f"sigma {axis}" for axis in summary.axis_names]
    table = plain_table("family", "filters", "share", "matched", "white", "median r2", *scales)
    for row in summary.families:
        table.add_row(
            row.family,
            str(row.filters),
            percentage(row.share),
            percentage(row.matched_share),
            percentage(row.white_share),
            decimal(row.median_r2),
            *(decimal(row.median_sigma[axis]) for axis in summary.axis_names),
        )
    return table
