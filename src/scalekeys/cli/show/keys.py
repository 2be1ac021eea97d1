"""The keys on the terminal."""

from pathlib import Path

from rich.table import Table

from scalekeys.cli.show.cells import Terminal, bold, decimal, percentage, plain_table
from scalekeys.cli.show.controls import CONTROLS
from scalekeys.cli.show.notes import print_notes
from scalekeys.report.keys import KeysSummary


def print_keys(summary: KeysSummary, folder: Path) -> None:
    """Print the keys, what they explain and cover, the recommended number, and where the files are."""
    console = Terminal()
    print_notes(console, summary.notes, summary.not_read, more="in report.html")
    negligible = f", {summary.negligible} of all are negligible" if summary.negligible else ""
    left_out = f" ({summary.left_out} left out{negligible})" if summary.left_out else ""
    console.print(
        bold(", ".join(summary.models)) + f": {summary.clustered} filters{left_out} "
        f"in {len(summary.layers)} layer{'' if len(summary.layers) == 1 else 's'}",
    )
    console.print(_key_table(summary))
    console.print(
        f"explained: {percentage(summary.explained)} of their energy (matched noise: "
        f"{percentage(summary.matched_noise)}, white noise: {percentage(summary.white_noise)})\n{CONTROLS}\n"
        f"covered: {percentage(summary.coverage)} correlate with their key by {summary.threshold:g} or more",
    )
    if summary.best_k is not None:
        console.print(f"recommended k = {summary.best_k}: {summary.reason}", soft_wrap=True)
    tables = "keys.npy" if summary.size.count("x") == 2 else "keys.npy, keys.csv"  # no table has three axes
    for word, name in (("report", "report.html"), ("keys", tables), ("members", "members.parquet")):
        console.print(f"{word + ':':8} {folder / name}", soft_wrap=True)


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
