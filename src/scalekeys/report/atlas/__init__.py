"""The report on an atlas: scales, families and what they go with, over many networks."""

from scalekeys.report.atlas.api import render_atlas_report, write_atlas_report

__all__ = ["render_atlas_report", "write_atlas_report"]
