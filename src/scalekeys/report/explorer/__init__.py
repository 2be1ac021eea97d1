"""The explorer: every filter of a network on one sheet, and one of them beside the models that a reader chooses."""

from scalekeys.report.explorer.section import explorer_section
from scalekeys.report.explorer.widget import explore

__all__ = ["explore", "explorer_section"]
