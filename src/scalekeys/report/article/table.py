"""A table as data, and the three forms in which it is written."""

import csv
import io
import math
import re
from dataclasses import dataclass

from markupsafe import Markup

from scalekeys.files.csv_cells import safe_cell
from scalekeys.report.article import typeset
from scalekeys.report.page import render
from scalekeys.report.page.words import NONE, number, significant

_WIDE, _WIDEST = 8, 12
_LONG = 30
_POWER = re.compile("\N{MULTIPLICATION SIGN}10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


class Deviation(float):
    """A number of which only the size matters: it is shown with two significant digits, whatever the table says."""


Cell = str | int | float | None


@dataclass(frozen=True)
class Table:
    """A table.

    Parameters
    ----------
    name : str
        Of its files and its label.
    caption : str
        A sentence of ours.
    columns : tuple of str
        Headings, with symbols in plain letters.
    rows : tuple of tuple
        Texts, numbers, and None where there is no value.
    digits : int
        Decimals that are shown; files of data have all.
    group : str
        The column whose value changes from one block of rows to the next.
    """

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    digits: int = 4
    group: str = ""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Whether each column holds numbers."""
        return tuple(all(not isinstance(row[i], str) for row in self.rows) for i in range(len(self.columns)))

    @property
    def starts_block(self) -> tuple[bool, ...]:
        """Whether each row is the first of a block after another block."""
        if not self.group:
            return (False,) * len(self.rows)
        keys = [row[self.columns.index(self.group)] for row in self.rows]
        return tuple(i > 0 and key != keys[i - 1] for i, key in enumerate(keys))


def to_csv(table: Table) -> str:
    """Write a table as comma-separated values with every digit; what is missing or not finite is empty.

    Examples
    --------
    >>> print(to_csv(Table("t", "A table.", ("filter", "sigma"), (("1", 0.1), ("2", None)))), end="")
    filter,sigma
    1,0.1
    2,
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(safe_cell, table.columns))
    writer.writerows([["" if _missing(cell) else safe_cell(cell) for cell in row] for row in table.rows])
    return text.getvalue()


def to_tex(table: Table, source: str) -> str:
    r"""Write a table for LaTeX with the package booktabs; the source of the filters is for readers of it alone.

    Examples
    --------
    >>> print(to_tex(Table("t", "A table.", ("filter", "sigma"), (("1", -0.1),)), "a_b"), end="")
    % \usepackage{booktabs}
    \begin{table}[htbp]
      \centering
      \caption{A table. Filters: a\_b.}
      \label{tab:t}
      \begin{tabular}{lr}
        \toprule
        filter & $\sigma$ \\
        \midrule
        1 & $-0.1000$ \\
        \bottomrule
      \end{tabular}
    \end{table}
    """
    lines = [r"% \usepackage{booktabs}", r"\begin{table}[htbp]", r"  \centering"]
    if len(table.columns) > _WIDE:
        small = len(table.columns) > _WIDEST
        lines.append(r"  \scriptsize\setlength{\tabcolsep}{3pt}" if small else r"  \footnotesize")
    lines += [
        rf"  \caption{{{typeset.tex(table.caption)} Filters: {typeset.escape_tex(source)}.}}",
        rf"  \label{{tab:{table.name}}}",
        rf"  \begin{{tabular}}{{{''.join(_alignment(table, i) for i in range(len(table.columns)))}}}",
        r"    \toprule",
        _tex_row([typeset.tex(column) for column in table.columns]),
        r"    \midrule",
    ]
    for row, first in zip(table.rows, table.starts_block, strict=True):
        lines += [r"    \midrule"] if first else []
        lines.append(_tex_row([_tex_cell(cell, table.digits) for cell in row]))
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""])


def to_html(table: Table) -> Markup:
    """Render a table for a page, in a box of its own that scrolls."""
    return render(
        "article/table.html.j2",
        name=table.name,
        caption=typeset.html(table.caption),
        heads=list(zip(map(typeset.html, table.columns), table.numeric, strict=True)),
        rows=[
            (
                first,
                [(_html_cell(cell, table.digits), numeric) for cell, numeric in zip(row, table.numeric, strict=True)],
            )
            for row, first in zip(table.rows, table.starts_block, strict=True)
        ],
    )


def _missing(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, float) and not math.isfinite(cell))


def _shown(cell: Cell, digits: int) -> str:
    if cell is None:
        return NONE
    if isinstance(cell, Deviation):
        return significant(cell, 2)
    return number(cell, digits) if isinstance(cell, float) else str(cell)


def _html_cell(cell: Cell, digits: int) -> Markup | str:
    return typeset.html(cell) if isinstance(cell, str) else _shown(cell, digits)


def _tex_cell(cell: Cell, digits: int) -> str:
    if isinstance(cell, str):
        return typeset.tex(cell)
    if _missing(cell):
        return "--"
    text = _shown(cell, digits).replace("\N{MINUS SIGN}", "-")
    return f"${_POWER.sub(_tex_power, text)}$"


def _tex_power(match: re.Match[str]) -> str:
    return rf"\times10^{{{match[1].translate(_RAISED)}}}"


def _tex_row(cells: list[str]) -> str:
    return "    " + " & ".join(cells) + r" \\"


def _alignment(table: Table, column: int) -> str:
    if table.numeric[column]:
        return "r"
    longest = max((len(str(row[column])) for row in table.rows), default=0)
    return r"p{0.38\textwidth}" if longest > _LONG else "l"
