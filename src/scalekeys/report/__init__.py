"""From results to self-contained pages: figures in numbers, plots, pictures of filters, and words; a folder a page."""

from scalekeys.report.analysis.api import render_report, write_report
from scalekeys.report.analysis.summary import FamilySummary, LayerSummary, Quality, SizeSummary, Summary, summarize

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
