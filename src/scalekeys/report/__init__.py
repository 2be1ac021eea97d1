"""From results to one self-contained page: figures in numbers, plots, pictures of filters, and words."""

from scalekeys.report.api import render_report, write_report
from scalekeys.report.summary import (
    NEGLIGIBLE,
    FamilySummary,
    LayerSummary,
    Quality,
    SizeSummary,
    Summary,
    negligible,
    summarize,
)

__all__ = [
    "NEGLIGIBLE",
    "FamilySummary",
    "LayerSummary",
    "Quality",
    "SizeSummary",
    "Summary",
    "negligible",
    "render_report",
    "summarize",
    "write_report",
]
