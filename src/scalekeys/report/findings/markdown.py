"""The page of findings and the table of networks as Markdown."""

from typing import Any

from scalekeys.report.atlas.summary import AtlasSummary
from scalekeys.report.findings.finding import Findings, in_markdown, last_part
from scalekeys.report.page.document import render
from scalekeys.version import __version__

_TOLD = ("architecture", "task", "training_data", "metric", "metric_value", "licence", "license", "origin")
"""Columns of metadata that the table of networks shows, where an atlas has them."""


def page(found: Findings, summary: AtlasSummary) -> str:
    """Return the page of findings."""
    return str(render("findings/findings.md.j2", found=found, counts=summary.counts, version=__version__, cell=_cell))


def networks_page(summary: AtlasSummary) -> str:
    """Return the table of all networks with their metadata, and of what could not be read."""
    brought = [column for column in _TOLD if any(column in row for row in summary.about.values())]
    context = {"summary": summary, "brought": brought, "cell": _cell, "last_part": last_part}
    return str(render("findings/networks.md.j2", **context))


def _cell(value: Any) -> str:
    """Return a value as it may stand in a table of Markdown."""
    if value is None:
        return ""
    return in_markdown(f"{value:g}" if isinstance(value, float) else str(value))
