"""Tables on the terminal, and what stands in their cells."""

from collections.abc import Collection

from rich.table import Table


def plain_table(*headers: str, left: Collection[int] = (0,)) -> Table:
    """Make a table without lines, its columns to the right but for those at the positions `left`."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, header in enumerate(headers):
        table.add_column(header, justify="left" if index in left else "right")
    return table


def decimal(value: float | None) -> str:
    """Write a number with three decimals, a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def percentage(value: float | None) -> str:
    """Write a share as a percentage, a dash for None."""
    return "-" if value is None else f"{100 * value:.1f} %"
