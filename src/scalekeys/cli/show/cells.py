"""Tables on the terminal, and what stands in their cells."""

from collections.abc import Collection
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from scalekeys.errors import printable

_LONGEST = 500


class Terminal(Console):
    """A console that shows text as it is: no markup, no pictograms, and control characters as escape sequences.

    Parameters
    ----------
    stderr : bool
        Write to standard error rather than to standard output.
    width : int, optional
        Of lines where the output is no terminal.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)
        if width is not None and not self.is_terminal:
            self.width = max(self.width, width)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make lines of printable text."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)

    def say(self, text: str | Text) -> None:
        """Print a text, its lines as long as they are."""
        self.print(text, soft_wrap=True)


def bold(text: str) -> Text:
    """Return a text in bold letters."""
    return Text(printable(text), "bold")


def plain_table(*headers: str, left: Collection[int] = (0,)) -> Table:
    """Make a table without lines, its columns to the right but for those at the positions `left`."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, header in enumerate(headers):
        table.add_column(header, justify="left" if index in left else "right")
    return table


def print_whole(console: Terminal, table: Table) -> None:
    """Print a table on lines as long as its cells need, so that no name is broken."""
    needed = Measurement.get(console, console.options.update(max_width=_LONGEST), table).maximum
    width, console.width = console.width, max(console.width, needed)
    console.print(table)
    console.width = width


def decimal(value: float | None) -> str:
    """Write a number with three decimals, a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def percentage(value: float | None) -> str:
    """Write a share as a percentage, a dash for None."""
    return "-" if value is None else f"{100 * value:.1f} %"
