"""The tables of the page about the trainings, written into it between their marks."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cifar_sections.plan import MATCHED
from cifar_sections.summary import REFERENCES, points, with_spread

_HEADINGS = ("depthwise filters", "top-1, percent", "by seed", "to free", "to families", "to matched noise")
_TABLE = re.compile(r"(<!-- table (\w+) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def write_tables(page: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Replace what stands between ``<!-- table BUDGET -->`` and ``<!-- end -->`` by the table of this budget."""
    page.write_text(_TABLE.sub(lambda found: found[1] + table_of(found[2], rows), page.read_text()))


def table_of(budget: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table of the conditions of a budget, the most accurate first."""
    mine = sorted((row for row in rows if row["budget"] == budget), key=lambda row: -row["top1_mean"])
    cells = [_HEADINGS, ["---"] * len(_HEADINGS), *(_cells(row) for row in mine)]
    table = "".join(f"| {' | '.join(row)} |\n" for row in cells)
    pairs = {frozenset((row["condition"], other)) for row in mine for other in row["differences"]}
    trainings = [hours for row in mine for hours in row["hours"]]
    compared = f"{len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'} compared"
    return f"\n{table}\n{len(trainings)} trainings, {sum(trainings):.1f} hours; {compared}.\n\n"


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['filters']} (`{row['condition']}`)",
        with_spread(row["top1_mean"], row["top1_std"]),
        ", ".join(f"{100 * accuracy:.1f}" for accuracy in row["top1"]),
        *(points(row["differences"].get(reference)) or "" for reference in REFERENCES[:2]),
        points(row["differences"].get(MATCHED.get(row["condition"]))) or "",
    ]
