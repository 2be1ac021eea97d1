"""What goes with the metric of networks: within a series of one design, and among networks measured in the same way."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa

from scalekeys.atlas import Atlas
from scalekeys.report.atlas.summary import AtlasSummary
from scalekeys.report.findings import figures, questions
from scalekeys.report.findings.claims import told
from scalekeys.report.findings.estimates import LEVEL, order_in_series
from scalekeys.report.findings.finding import Comparison, Finding, in_markdown, sentence
from scalekeys.report.findings.questions import Names
from scalekeys.report.page.words import number

Row = Mapping[str, Any]

STATISTICS = {
    "parameters": "parameters",
    "sigma": "median scale",
    "spread": "spread of scales",
    "flat": "infinite scales",
    "r2": "mean r\N{SUPERSCRIPT TWO}",
    "beyond": "beyond matched noise",
    "formation": "formation",
    "rank1": "separable energy",
    "dead": "dead filters",
}
"""What may go with the metric; the number of parameters stands first, since it is the plainest explanation."""

_FORM = pa.schema(
    [
        *((name, pa.string()) for name in ("group", "metric", "statistic")),
        *(("networks", pa.int64()), ("rho", pa.float64()), ("p", pa.float64())),
    ]
)


def performance(atlas: Atlas, names: Names, summary: AtlasSummary) -> Finding | None:
    """Correlate statistics with the metric by rank; nothing where the metadata has no metric."""
    if not {"metric", "metric_value"} <= set(names.brought):
        return None
    query = questions.performance(names)
    table = atlas.sql(query).to_arrow()
    formation = {row["source"]: row["formation"] for row in summary.rows("networks")}
    rows = [{**row, "formation": formation.get(row["source"])} for row in table.to_pylist()]
    found = list(_orders(rows))
    if not found:
        return None
    groups = list(dict.fromkeys((row["group"], row["metric"]) for row in found))
    of_group = {group: [row for row in found if (row["group"], row["metric"]) == group] for group in groups}
    rho = {group: {row["statistic"]: row["rho"] for row in some} for group, some in of_group.items()}
    values = np.array([[rho[group].get(name, np.nan) for name in STATISTICS] for group in groups])
    labels = [_label(group, max(row["networks"] for row in some)) for (group, _), some in of_group.items()]
    tests = (_all(found, rows), *(_test(row) for row in found))
    alternative = "Rank correlation of statistics with the metric, by series."
    return Finding(
        "performance",
        **told()["performance"],
        sentence=_sentence(found, len(groups)),
        tests=tests,
        queries={"performance": query},
        tables={"performance": table, "orders": pa.Table.from_pylist(found, schema=_FORM)},
        plate=figures.correlations(labels, list(STATISTICS.values()), values, alternative),
    )


def _label(group: str, networks: int) -> str:
    """Name a group in a figure, without what stands in brackets."""
    return f"{group.split('[')[0].split('(')[0].strip()} (n = {networks})"


def _all(found: Sequence[Row], rows: Sequence[Row]) -> Comparison:
    """Return the share of all correlations with a small p; 0.05 is what chance gives at most."""
    share = sum(row["p"] < LEVEL for row in found) / len(found)
    designs = len({row["design"] for row in rows})
    what = f"performance, share of {len(found)} correlations with p below {LEVEL}"
    return Comparison(what, share, None, None, None, 0, len(rows), designs)


def _test(row: Row) -> Comparison:
    what = f"{row['group']}: {STATISTICS[row['statistic']]} and {row['metric']}"
    return Comparison(what, row["rho"], None, None, row["p"], 0, row["networks"], row["designs"])


def _orders(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Correlate within each design that has a metric, and then among all networks of each metric of several designs."""
    for columns in (("metric", "design"), ("metric",)):
        for key, group in _grouped(rows, columns):
            designs = len({row["design"] for row in group})
            if columns == ("metric",) and designs == 1:
                continue
            name = key[1] if len(key) > 1 else f"all with {key[0]}"
            for statistic in STATISTICS:
                order = order_in_series([row[statistic] for row in group], [row["metric_value"] for row in group])
                if order is not None:
                    yield {
                        "group": name,
                        "metric": key[0],
                        "statistic": statistic,
                        "designs": designs,
                        **asdict(order),
                    }


def _grouped(rows: Sequence[Row], columns: Sequence[str]) -> Iterator[tuple[list[str], list[Row]]]:
    def key(row: Row) -> list[str]:
        return [row[column] for column in columns]

    return ((values, list(members)) for values, members in groupby(sorted(rows, key=key), key=key))


def _sentence(found: Sequence[Row], groups: int) -> str:
    below = [row for row in found if row["p"] < LEVEL]
    return sentence(
        "performance",
        found=len(found),
        groups=groups,
        level=LEVEL,
        below=[
            f"{STATISTICS[row['statistic']]} in {in_markdown(row['group'])} ({number(row['rho'])})" for row in below
        ],
        always=[way for statistic in STATISTICS if (way := _always(statistic, found))],
    )


def _always(statistic: str, found: Sequence[Row]) -> str | None:
    """Say which way a statistic goes, if it goes the same way with the metric in all of three groups or more."""
    rises = [row["rho"] > 0 for row in found if row["statistic"] == statistic]
    if len(rises) < 3 or any(rises) != all(rises):
        return None
    return f"{STATISTICS[statistic]} ({'rises' if rises[0] else 'does not rise'} with it)"
