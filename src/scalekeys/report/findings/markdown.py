"""The page of findings and the table of networks as Markdown."""

from collections.abc import Mapping
from typing import Any

from scalekeys.report.atlas.summary import AtlasSummary
from scalekeys.report.findings.finding import Comparison, Findings, in_markdown, last_part
from scalekeys.report.page.document import render
from scalekeys.report.page.words import NONE, number, number_in, significant

_TOLD = ("architecture", "task", "training_data", "metric", "metric_value", "licence", "license", "origin")
"""Columns of metadata that the table of networks shows, where an atlas has them."""


def page(found: Findings, summary: AtlasSummary, version: str) -> str:
    """Return the page of findings."""
    return str(
        render(
            "findings/findings.md.j2",
            findings=[{"finding": finding, "verdict": found.verdict(finding.tests[0])} for finding in found.findings],
            tests=[_row(test, adjusted) for test, adjusted in found.adjusted.items()],
            counted=sum(value is not None for value in found.adjusted.values()),
            counts=summary.counts,
            with_keys=any(not finding.queries for finding in found.findings),
            version=version,
        )
    )


def networks_page(summary: AtlasSummary) -> str:
    """Return the table of all networks with their metadata, and of what could not be read."""
    known = [column for column in _TOLD if any(column in row for row in summary.about.values())]
    rows = [
        [
            _cell(last_part(row["source"])),
            *(_cell(summary.about[row["source"]].get(column)) for column in known),
            str(row["filters"]),
            _cell(row["kernels"]),
            str(row["dead"]),
            _formation(row),
            number(row["r2"]),
            number(row["r2_matched"]),
            number(row["r2_white"]),
        ]
        for row in summary.rows("networks")
    ]
    head = [
        "network",
        *known,
        "filters",
        "kernels",
        "dead",
        "formation",
        "median r\N{SUPERSCRIPT TWO}",
        "of matched noise",
        "of white noise",
    ]
    failures = [[_cell(last_part(row["source"])), _cell(row["reason"])] for row in summary.rows("failures")]
    return str(render("findings/networks.md.j2", head=head, rows=rows, failures=failures))


def _formation(row: Mapping[str, Any]) -> str:
    if row["formation"] is None:
        return NONE
    return number_in(row["formation"], row["formation_low"], row["formation_high"])


def _cell(value: Any) -> str:
    """Return a value as it may stand in a table of Markdown."""
    if value is None:
        return ""
    return in_markdown(f"{value:g}" if isinstance(value, float) else str(value))


def _row(test: Comparison, adjusted: float | None) -> list[str]:
    interval = NONE if test.low is None or test.high is None else f"{number(test.low, 3)} to {number(test.high, 3)}"
    return [
        in_markdown(test.what),
        str(test.networks),
        str(test.designs),
        number(test.value, 3),
        interval,
        significant(test.p, 2),
        significant(adjusted, 2),
        test.verdict(adjusted),
    ]
