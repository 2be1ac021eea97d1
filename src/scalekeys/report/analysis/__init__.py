"""From the fit of one network to a page: what its filters are, at which scales, and how well theory fits them."""

from scalekeys.report.analysis.api import render_report, write_report
from scalekeys.report.analysis.summary import (
    FamilySummary,
    LayerSummary,
    Quality,
    SizeSummary,
    Summary,
    summarize,
)

__all__ = [
    "FamilySummary",
    "LayerSummary",
    "Quality",
    "SizeSummary",
    "Summary",
    "render_report",
    "summarize",
    "write_report",
]
