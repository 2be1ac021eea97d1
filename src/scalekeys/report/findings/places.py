"""Findings about where filters lie: the offsets of all one-sided filters, and scales in pixels of the image."""

from dataclasses import replace

import pyarrow as pa

from scalekeys.atlas import Atlas
from scalekeys.report.findings import figures, questions
from scalekeys.report.findings.finding import Finding, sentence
from scalekeys.report.findings.questions import Names

_STEP = 0.05


def with_all_offsets(finding: Finding, atlas: Atlas, names: Names) -> Finding:
    """Show the distribution of the offsets of all filters in the place of the means of networks."""
    query = questions.all_offsets(names)
    table = atlas.sql(query).to_arrow()
    drawn = figures.histogram(
        table.to_pylist(),
        _STEP,
        "distance of the centre from the central tap, in pixels",
        "Distributions of the distance of the centre of one-sided filters from the central tap, for trained filters "
        "and both kinds of noise.",
    )
    return replace(_with(finding, "all_offsets", query, table), plate=drawn)


def with_pitch(finding: Finding, atlas: Atlas, names: Names) -> Finding:
    """Add scales in pixels of the image, where the strides on the way to a layer are known."""
    query = questions.scales_by_pitch(names)
    table = atlas.sql(query).to_arrow()
    rows = [row for row in table.to_pylist() if row["filters"] >= questions.LEAST_FILTERS]
    if not rows:
        return finding
    more = sentence("pitch", rows=rows, filters=sum(row["filters"] for row in rows))
    return replace(_with(finding, "scales_by_pitch", query, table), sentence=f"{finding.sentence} {more}")


def _with(finding: Finding, name: str, query: str, table: pa.Table) -> Finding:
    return replace(finding, queries={**finding.queries, name: query}, tables={**finding.tables, name: table})
