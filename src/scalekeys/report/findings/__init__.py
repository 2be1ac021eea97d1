"""Claims about receptive fields, tested on all networks of an atlas: a page in Markdown, figures and tables."""

from scalekeys.report.findings.api import write_findings
from scalekeys.report.findings.finding import Finding, Findings

__all__ = ["Finding", "Findings", "write_findings"]
