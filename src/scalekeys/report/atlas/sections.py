"""The sections of a report on an atlas: a summary in, a section out.

A new section is one function here, and one entry in :data:`SECTIONS`.
"""

from collections.abc import Callable, Mapping
from itertools import groupby
from operator import itemgetter

from markupsafe import Markup

from scalekeys.report.atlas import figures
from scalekeys.report.atlas.correlation import LEAST_NETWORKS
from scalekeys.report.atlas.orientation import by_kernel
from scalekeys.report.atlas.questions import NOISE_QUANTILE
from scalekeys.report.atlas.summary import STATISTICS, AtlasSummary, Row
from scalekeys.report.page import Section, Tile, render
from scalekeys.report.page.orientation import Verdict, meaning
from scalekeys.report.page.words import count, number, percent, plural

MOST_FAILURES = 50
"""Failures, and things left out, that are listed; the CSV files have all."""

SHORT = 32
"""Metadata with longer texts have no column in the table of networks, and stand with each network."""


def header(summary: AtlasSummary, title: str) -> Markup:
    """Render what stands above the first section: the findings in a few sentences, key figures, and cautions."""
    return render(
        "page/header.html.j2",
        kicker="An atlas of convolution kernels",
        title=title,
        lead=render("atlas/lead.html.j2", counts=summary.counts, total=summary.total),
        tiles=_tiles(summary),
        cautions=render("atlas/cautions.html.j2", counts=summary.counts, quantile=NOISE_QUANTILE),
    )


def networks(summary: AtlasSummary) -> Section:
    """List the networks: how far each has formed, beside both kinds of noise, and what is known of it."""
    by_kernel = {source: list(rows) for source, rows in groupby(summary.rows("kernels"), itemgetter("source"))}
    rows = [
        row
        | {
            "name": row["source"].rpartition("/")[2] or row["source"],
            "about": summary.about[row["source"]],
            "by_kernel": by_kernel[row["source"]],
        }
        for row in summary.rows("networks")
    ]
    body = render(
        "atlas/networks.html.j2",
        rows=rows,
        columns=_short_columns(summary.about),
        count=plural(len(rows), "network"),
        small=[row["kernel"] for row in summary.rows("explained") if row["r2"] is None and row["kernel"] != "all"],
    )
    return Section("networks", "The networks", body, short="Networks")


def explained(summary: AtlasSummary) -> Section:
    """Draw and tabulate what the models explain of kernels of each size, beside both kinds of noise."""
    rows = summary.rows("explained")
    drawn = figures.explained_by_kernel(summary) if rows else None
    body = render("atlas/explained.html.j2", rows=rows, figure=drawn)
    return Section("explained", "How much the models explain", body, short="Explained")


def scales(summary: AtlasSummary) -> Section:
    """Follow the scales of each family from the input to the output."""
    enough = any(row["filters"] >= figures.LEAST_FILTERS for row in summary.rows("scales"))
    drawn = figures.scales_over_depth(summary) if enough else None
    return Section("scales", "Scales over depth", render("atlas/scales.html.j2", figure=drawn), short="Scales")


def mix(summary: AtlasSummary) -> Section:
    """Compare the families of kernels, strides and architectures."""
    drawn = figures.family_mix(summary) if summary.tables["mix"].num_rows else None
    rows = [row for row in summary.rows("mix") if row["kind"] == "stride"]
    known = sum(row["filters"] for row in rows if row["name"] != "unknown")
    body = render("atlas/mix.html.j2", figure=drawn, filters=sum(row["filters"] for row in rows), known=known)
    return Section("mix", "Which families", body, short="Families")


def orientation(summary: AtlasSummary) -> Section:
    """Tabulate which share of the filters gains from a free angle by kernel, beside both controls."""
    rows = by_kernel(summary.rows("orientation"))
    body = render(
        "atlas/orientation.html.j2", rows=rows, meaning=meaning([found for found, _ in rows]), verdicts=list(Verdict)
    )
    return Section("orientation", "Orientation", body)


def correlations(summary: AtlasSummary) -> Section:
    """Show what goes with the metadata of the networks."""
    columns = []
    by_column = groupby(summary.correlations, key=lambda one: one.metadata)
    for place, (column, of_column) in enumerate(by_column, 1):
        found = list(of_column)
        known = [one for one in found if one.rho is not None]
        strongest = max(known, key=lambda one: abs(one.rho or 0), default=None)
        columns.append(
            {
                "name": column,
                "found": found,
                "intervals": figures.correlation_intervals(column, found, place) if known else None,
                "scatter": figures.scatter(summary, strongest, place) if strongest else None,
            }
        )
    tested = [one for one in summary.correlations if one.p_holm is not None]
    body = render(
        "atlas/correlations.html.j2",
        summary=summary,
        tested=tested,
        standing=sorted((one for one in tested if one.is_significant), key=lambda one: -abs(one.rho or 0)),
        least=LEAST_NETWORKS,
        columns=columns,
        words=STATISTICS,
    )
    return Section("metadata", "Correlations with metadata", body, short="Metadata")


def failures(summary: AtlasSummary) -> Section:
    """List what could not be read."""
    rows = summary.rows("failures")
    body = render("atlas/failures.html.j2", rows=rows[:MOST_FAILURES], more=max(0, len(rows) - MOST_FAILURES))
    return Section("failures", "What could not be read", body, short="Failures")


def left_out(summary: AtlasSummary) -> Section:
    """List what the sources hold that looks like a kernel and is not read."""
    rows = summary.rows("left_out")
    body = render("atlas/left_out.html.j2", rows=rows[:MOST_FAILURES], total=len(rows))
    return Section("left-out", "What is left out", body, short="Left out")


SECTIONS: tuple[Callable[[AtlasSummary], Section], ...] = (
    networks, explained, scales, mix, orientation, correlations, failures, left_out,
)  # fmt: skip
"""The sections of a report on an atlas, in the order of the page."""


def _short_columns(about: Mapping[str, Row]) -> dict[str, bool]:
    """Return which metadata have a column in the table of networks, and whether it is one of numbers."""
    names = dict.fromkeys(name for row in about.values() for name in row)
    columns = {name: [row[name] for row in about.values() if row[name] is not None] for name in names}
    return {
        name: not any(isinstance(value, str) for value in values)
        for name, values in columns.items()
        if values and max(len(str(value)) for value in values) <= SHORT
    }


def _tiles(summary: AtlasSummary) -> list[Tile]:
    counts, total = summary.counts, summary.total
    tiles = [
        Tile("networks", count(counts["networks"]), f"and {plural(counts['duplicates'], 'duplicate')}"),
        Tile("not read", count(counts["failures"]), "sources"),
        Tile("filters", count(counts["filters"]), f"of which {count(counts['fitted'])} fitted"),
    ]
    if total is not None:
        tiles += [
            Tile(
                "median r², families",
                number(total["r2"]),
                f"matched noise {number(total['r2_matched'])}, white {number(total['r2_white'])}",
            ),
            Tile("median r², 2-jet", number(total["r2_jet2"]), "of the same filters"),
            Tile(
                "structured",
                percent(total["structured"], 0),
                f"white noise 5 %; beyond matched noise {percent(total['beyond_matched'], 0)}",
            ),
        ]
    return tiles
