"""From keys to one self-contained page: what they are, who belongs to them, where they occur, and what they miss."""

from scalekeys.report.keys.api import render_keys_report, write_keys_report
from scalekeys.report.keys.summary import CurvePoint, KeysSummary, KeySummary, LayerKeys

__all__ = ["CurvePoint", "KeySummary", "KeysSummary", "LayerKeys", "render_keys_report", "write_keys_report"]
