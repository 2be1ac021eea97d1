"""The keys on the terminal."""

from pathlib import Path

from rich.table import Table

from scalekeys.cli.show.cells import Terminal, bold, decimal, percentage, plain_table, print_whole
from scalekeys.cli.show.notes import CONTROLS, print_notes
from scalekeys.errors import counted
from scalekeys.report.keys import KeysSummary
from scalekeys.report.keys.elimination import EliminationSummary
from scalekeys.report.keys.summary import HeldOutSummary

_NOISES = ("matched noise", "white noise")


def print_keys(summary: KeysSummary, folder: Path) -> None:
    """Print the keys, what they explain and cover, the recommended number, and where the files are."""
    console = Terminal()
    print_notes(console, summary.notes, summary.not_read, more="in report.html")
    negligible = f", {summary.negligible} of all are negligible" if summary.negligible else ""
    left_out = f" ({summary.left_out} left out{negligible})" if summary.left_out else ""
    console.say(
        bold(", ".join(summary.models)) + f": {summary.clustered} filters{left_out} "
        f"in {counted(len(summary.layers), 'layer')}",
    )
    print_whole(console, _key_table(summary))
    console.say(
        f"explained: {percentage(summary.explained)} of their energy (matched noise: "
        f"{percentage(summary.matched_noise)}, white noise: {percentage(summary.white_noise)})\n{CONTROLS}\n"
        f"covered: {percentage(summary.coverage)} correlate with their key by {summary.threshold:g} or more",
    )
    if summary.best_k is not None:
        other = summary.best_k != len(summary.keys)
        shown = f"; shown are {len(summary.keys)}, as -k says (-k auto takes the recommended number)" if other else ""
        console.say(f"recommended k = {summary.best_k}: {summary.reason}{shown}")
    if summary.elimination is not None:
        _print_elimination(console, summary.elimination)
    if summary.held_out is not None:
        _print_held_out(console, summary.held_out)
    tables = "keys.npy" if summary.size.count("x") == 2 else "keys.npy, keys.csv"  # no table has three axes
    files = [("report", "report.html"), ("keys", tables), ("members", "members.parquet")]
    for word, name in files + [("held out", "held_out.csv")] * (summary.held_out is not None):
        console.say(f"{word + ':':8} {folder / name}")


def _key_table(summary: KeysSummary) -> Table:
    axes = list(dict.fromkeys(axis for key in summary.keys for axis in key.sigma))
    headers = ("key", "members", "share", "model", *(f"sigma {axis}" for axis in axes), "r2", "published", "corr.")
    table = plain_table(*headers, left=(3, headers.index("published")))
    for key in summary.keys:
        table.add_row(
            str(key.key),
            str(key.members),
            percentage(key.share),
            key.model or key.status,
            *(decimal(key.sigma.get(axis) if key.model else None) for axis in axes),
            decimal(key.r2),
            "-" if key.published is None else f"{key.published} {key.published_family}",
            decimal(key.published_correlation),
        )
    return table


def _print_elimination(console: Terminal, found: EliminationSummary) -> None:
    """Print what the network loses with fewer keys, beside random candidates and noise."""
    print_notes(console, found.notes)
    accuracy = found.measured == "accuracy"
    what = "top-1" if accuracy else "error of the outputs, as a share of their variance,"
    console.say(
        f"elimination by {found.by} of {found.candidates} candidates, {found.measurements} measurements; {what} on "
        f"{found.images} other images of {found.data}"
    )
    cell = percentage if accuracy else decimal
    table = plain_table("keys", "elim.", "95 %", "random", "95 %", "as good", "matched", "white")
    if accuracy:
        table.add_row("own", cell(found.original), _interval(found, found.low, found.high))
    for count in found.counts:
        cells = [str(count)]
        for source in ("eliminated", "random"):
            point = found.at(source, count)
            cells += ["-", "-"] if point is None else [cell(point.value), _interval(found, point.low, point.high)]
        drawn = found.at("random", count)
        cells.append("-" if drawn is None else f"{drawn.as_good} of {drawn.draws}")
        cells += [cell(None if one is None else one.value) for one in (found.at(name, count) for name in _NOISES)]
        table.add_row(*cells)
    print_whole(console, table)


def _print_held_out(console: Terminal, found: HeldOutSummary) -> None:
    """Print what keys of the other groups explain of each group, beside its own keys and the controls."""
    print_notes(console, found.notes)
    console.say(
        f"share of each {found.column} that {found.k} keys explain: its own; those found in all others; the eight "
        "published; those of noise in the place of the others; filters of the others, drawn at random"
    )
    table = plain_table(found.column, "networks", "own", "others", "published", "matched", "white", "random")
    for group in found.groups:
        shares = (group.own, group.held_out, group.published, group.matched_noise, group.white_noise, group.random)
        table.add_row(group.group, str(group.networks), *map(percentage, shares))
    print_whole(console, table)


def _interval(found: EliminationSummary, low: float, high: float) -> str:
    return f"{100 * low:.1f}-{100 * high:.1f}" if found.measured == "accuracy" else f"{low:.3f}-{high:.3f}"
