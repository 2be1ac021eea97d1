"""What an atlas holds and answers, on the terminal."""

from decimal import Decimal
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from scalekeys.atlas import Answer
from scalekeys.cli.show.cells import Terminal, plain_table, print_whole
from scalekeys.cli.work.atlas import rows as rows_of
from scalekeys.errors import counted, listed, printable

if TYPE_CHECKING:
    from scalekeys.atlas import Export, Summary
    from scalekeys.report.findings import Findings

_MOST_ROWS, _MOST_FAILURES = 100, 5
_PLAIN_WIDTH = 10_000


def print_summary(summary: "Summary", folder: Path) -> None:
    """Print what an atlas holds after a run."""
    run = f"this run: {counted(summary.analysed, 'source')} looked into, {summary.kept} unchanged since an earlier one"
    print_holdings(summary, folder, run)


def print_holdings(summary: "Summary", folder: Path, run: str = "") -> None:
    """Print what an atlas holds, and what a run did."""
    console = Terminal()
    networks = counted(summary.networks, "network")
    duplicates = f" ({summary.duplicates} more under another name)" if summary.duplicates else ""
    console.say(f"{networks}{duplicates} with {summary.filters} filters")
    if run:
        console.say(run)
    if summary.failures:
        console.say(f"not read: {len(summary.failures)} ({folder / 'failures.parquet'})")
        for _, reason in summary.failures[:_MOST_FAILURES]:
            console.say(f"  {reason}")
    if summary.left_out:
        path = folder / "left_out.parquet"
        console.say(f"left out: {len(summary.left_out)} tensors or layers of networks ({path})")
        for source, one in summary.left_out[:_MOST_FAILURES]:
            console.say(f"  {source}: {one.name} ({one.reason})")
    console.say(f'tables: {folder}\nask:    scalekeys atlas query {quote(str(folder))} "select * from networks"')


def print_export(export: "Export", folder: Path) -> None:
    """Print what was exported, and what of it its owner may want to look at before it is shared."""
    console = Terminal()
    lines = [
        f"{counted(export.networks, 'source')}, {counted(export.filters, 'filter')}, "
        f"{counted(export.failures, 'failure')}, {export.left_out} left out: "
        f"{export.files} files, {export.size / 2**20:.1f} MiB"
    ]
    if export.renamed:
        lines.append(f"sources: folders are removed from {export.renamed} names (--keep-paths keeps them)")
    if export.path_columns:
        lines.append(f"metadata: paths are written as they are in {listed(export.path_columns)}")
    lines.append(f"card:   {folder / 'README.md'}")
    console.say("\n".join(lines))


def print_rows(answer: Answer) -> None:
    """Print the first rows of an answer as a table."""
    console = Terminal(width=_PLAIN_WIDTH)
    rows = list(islice(rows_of(answer), _MOST_ROWS + 1))
    words = [index for index, value in enumerate(rows[0] if rows else ()) if isinstance(value, str)]
    table = plain_table(*answer.columns, left=words)
    for row in rows[:_MOST_ROWS]:
        table.add_row(*map(_cell, row))
    print_whole(console, table)
    if len(rows) > _MOST_ROWS:
        console.say("... and more; -o FILE.csv or -o FILE.parquet takes all rows")


def print_findings(found: "Findings", folder: Path) -> None:
    """Print the verdict on each claim, with what it rests on."""
    console = Terminal(width=_PLAIN_WIDTH)
    table = plain_table("claim", "verdict", "value", "interval", left=(0, 1))
    for finding in found.findings:
        test = finding.tests[0]
        interval = "-" if test.low is None or test.high is None else f"{test.low:.3f} to {test.high:.3f}"
        table.add_row(finding.title, found.verdict(test), f"{test.value:.3f}", interval)
    print_whole(console, table)
    console.say(f"page: {folder / 'README.md'}")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float | Decimal):
        return f"{value:.4g}"
    return printable(str(value))
