"""From results to one self-contained page: figures in numbers, plots, pictures of filters, and words."""

from scalekeys.report.api import render_report, write_report
from scalekeys.report.summary import (
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
