"""The figures of a report on an atlas: a summary in, a figure as data out."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from scalekeys.report.atlas.correlation import Correlation
from scalekeys.report.atlas.questions import BINS
from scalekeys.report.atlas.summary import STATISTICS, AtlasSummary, Row
from scalekeys.report.page import Figure
from scalekeys.report.page.families import by_kind, family_colour
from scalekeys.report.page.plots import (
    axis,
    base_layout,
    key,
    line,
    panel_title,
    rounded,
    row_axis,
    row_bars,
    shares_layout,
)
from scalekeys.report.page.scale_axis import ScaleAxis
from scalekeys.report.page.words import (
    SIGMA,
    count,
    number,
    percent,
    plot_text,
    plural,
    shortened,
    significant,
    size_name,
)

ALL = "all"
_COLUMNS, _PANEL = 2, 190
_KERNEL, _STATISTIC, _BAR = 26, 24, 22
"""Heights in pixels of a row of a figure."""

_LABEL_WIDTH = 26
_TITLES = {"kernel": "Kernel", "stride": "Stride", "architecture": "Architecture"}
_QUANTILES = ("q10", "q25", "q50", "q75", "q90")
LEAST_FILTERS = 20
"""Filters that a tenth of the depth needs to be drawn."""


def explained_by_kernel(summary: AtlasSummary) -> Figure:
    """Draw the median r2 of the families, with its quartiles, of the 2-jet and of both kinds of noise by kernel."""
    rows = [row for row in summary.rows("explained") if row["kernel"] != ALL]
    layout = base_layout(
        height=_KERNEL * len(rows) + 84,
        margin={"l": 8, "r": 24, "t": 34, "b": 44},
        xaxis=axis("r²", range=[-0.02, 1.02], tickvals=[0, 0.25, 0.5, 0.75, 1]),
        yaxis=row_axis(len(rows), range(len(rows)), [f"{size_name(row['kernel'])} " for row in rows]),
        annotations=[
            panel_title(
                1,
                key("●", "ink", "families, quartiles")
                + key("◆", "along-x", "2-jet")
                + key("○", "matched", "matched noise")
                + key("○", "control", "white"),
            )
        ],
    )
    data = [
        _ranges([(row["r2_lower_quartile"], row["r2_upper_quartile"]) for row in rows]),
        _medians(rows, "r2_white", "control", "circle-open"),
        _medians(rows, "r2_matched", "matched", "circle-open"),
        _medians(rows, "r2_jet2", "along-x", "diamond"),
        _medians(rows, "r2", "ink", "circle"),
    ]
    return Figure("explained", data, layout, "Dots: median r² of the models and of both kinds of noise by kernel")


def _ranges(ends: Sequence[tuple[float | None, float | None]]) -> dict[str, Any]:
    """Return a horizontal line in each row that has both ends."""
    x: list[float | None] = []
    y: list[float | None] = []
    for place, (low, high) in enumerate(ends):
        if low is not None and high is not None:
            x += [round(low, 4), round(high, 4), None]
            y += [place, place, None]
    return {"mode": "lines", "x": x, "y": y, "line": {"color": "var(--ink)", "width": 2}}


def _medians(rows: Sequence[Row], column: str, colour: str, symbol: str) -> dict[str, Any]:
    return {
        "mode": "markers",
        "x": rounded((row[column] for row in rows), 4),
        "y": list(range(len(rows))),
        "marker": {"size": 9, "color": f"var(--{colour})", "symbol": symbol},
        "hovertext": [
            f"<b>{size_name(row['kernel'])}</b>, {plural(row['filters'], 'filter')}<br>families "
            f"{number(row['r2'])}, 2-jet {number(row['r2_jet2'])}<br>matched noise {number(row['r2_matched'])}, white "
            f"{number(row['r2_white'])}"
            for row in rows
        ],
    }


def scales_over_depth(summary: AtlasSummary) -> Figure:
    """Draw bands of quantiles of the scale over relative depth, one panel for each family."""
    rows = [row for row in summary.rows("scales") if row["filters"] >= LEAST_FILTERS]
    by_family = {family: list(of_family) for family, of_family in groupby(rows, key=lambda row: row["family"])}
    families = [ALL, *by_kind(family for family in by_family if family != ALL)]
    lines = -(-len(families) // _COLUMNS)
    spaced = ScaleAxis.of(np.array([row[name] for row in rows for name in _QUANTILES], dtype=float))
    layout = base_layout(height=_PANEL * lines + 40, margin={"l": 44, "r": 12, "t": 26, "b": 44})
    titles: list[dict[str, Any]] = []
    short_titles: list[dict[str, Any]] = []
    data: list[dict[str, Any]] = []
    for place, family in enumerate(families):
        x, y = _domain(place % _COLUMNS, _COLUMNS, 0.1), _domain(lines - 1 - place // _COLUMNS, lines, 0.26)
        name = "" if place == 0 else str(place + 1)
        last = place // _COLUMNS == lines - 1 or place + _COLUMNS >= len(families)
        title = "relative depth" if last else ""
        layout[f"xaxis{name}"] = axis(title, domain=x, anchor=f"y{name}", range=[0, 1], tickvals=[0, 0.5, 1])
        layout[f"yaxis{name}"] = axis(domain=y, anchor=f"x{name}", range=spaced.range, **spaced.ticks(0.2))
        filters = sum(row["filters"] for row in by_family.get(family, ()))
        heading = f"<b>{'all families' if family == ALL else family}</b>"
        titles.append(panel_title(y[1], f"{heading}, {plural(filters, 'filter')}") | {"x": x[0]})
        short_titles.append(panel_title(y[1], heading) | {"x": x[0]})
        data += _bands(by_family.get(family, []), family, name, spaced)
    text = "Bands: quantiles of the scale over the relative depth in the network, for each family"
    layout["annotations"] = titles
    return Figure("scales-over-depth", data, layout, text, narrow={"annotations": short_titles})


def _domain(place: int, parts: int, gap: float) -> list[float]:
    side = (1 - gap * (parts - 1) / parts) / parts
    start = place * (side + gap / parts)
    return [round(start, 4), round(min(start + side, 1.0), 4)]


def _bands(rows: Sequence[Row], family: str, axis_name: str, spaced: ScaleAxis) -> list[dict[str, Any]]:
    heights = {name: spaced.places(np.array([row[name] for row in rows], dtype=float)) for name in _QUANTILES}
    colour = "var(--ink)" if family == ALL else family_colour(family)
    places = [round((row["tenth"] + 0.5) / BINS, 3) for row in rows]
    common = {"xaxis": f"x{axis_name}", "yaxis": f"y{axis_name}"}
    bands = [
        {
            **common,
            "x": [*places, *reversed(places)],
            "y": [*heights[low], *reversed(heights[high])],
            "fill": "toself",
            "fillcolor": colour,
            "line": {"width": 0},
            "mode": "lines",
            "opacity": opacity,
        }
        for low, high, opacity in (("q10", "q90", 0.2), ("q25", "q75", 0.3))
    ]
    median = {
        **common,
        "x": places,
        "y": heights["q50"],
        "mode": "lines+markers",
        "line": {"color": colour, "width": 2},
        "marker": {"color": colour, "size": 5},
        "hovertext": [
            f"<b>{plural(row['filters'], 'filter')}</b> of {plural(row['networks'], 'network')}<br>median {SIGMA} "
            f"{number(row['q50'])}, half of them {number(row['q25'])} to {number(row['q75'])}"
            for row in rows
        ],
    }
    return [*bands, median]


def family_mix(summary: AtlasSummary) -> Figure:
    """Draw the share of each family by kernel, by stride and by architecture, one stacked bar each."""
    rows = summary.rows("mix")
    bars: list[tuple[str, str] | str] = []
    for kind, title in _TITLES.items():
        bars.append(title)
        bars += list(dict.fromkeys((kind, row["name"]) for row in rows if row["kind"] == kind))
    places = {bar: place for place, bar in enumerate(bars)}
    labels = [
        f"<b>{bar}</b> " if isinstance(bar, str) else f"{plot_text(shortened(_name(*bar), _LABEL_WIDTH))} "
        for bar in bars
    ]
    layout = shares_layout(len(bars), _BAR, range(len(bars)), labels)
    data = [
        _mix_trace([row for row in rows if row["family"] == family], family, places)
        for family in by_kind(sorted({row["family"] for row in rows}))
    ]
    return Figure("mix", data, layout, "Stacked bars: families by kernel, stride and architecture", legend=True)


def _name(kind: str, name: str) -> str:
    return size_name(name) if kind == "kernel" else name


def _mix_trace(rows: Sequence[Row], family: str, places: dict[Any, int]) -> dict[str, Any]:
    hover = [
        f"<b>{plot_text(_name(row['kind'], row['name']))}</b><br>{family}: {count(row['filters'])}, "
        f"{percent(row['share'])}"
        for row in rows
    ]
    where = [places[row["kind"], row["name"]] for row in rows]
    return row_bars(family, [row["share"] for row in rows], where, family_colour(family), hover)


def correlation_intervals(column: str, found: Sequence[Correlation], number_of_figure: int) -> Figure:
    """Draw the correlations of one column of metadata with their intervals."""
    layout = base_layout(
        height=_STATISTIC * len(found) + 70,
        margin={"l": 8, "r": 24, "t": 12, "b": 44},
        xaxis=axis("rank correlation", range=[-1.05, 1.05], tickvals=[-1, -0.5, 0, 0.5, 1]),
        yaxis=row_axis(len(found), range(len(found)), [f"{STATISTICS[one.statistic]} " for one in found]),
        shapes=[line((0, 0), (-0.5, len(found) - 0.5), line={"color": "var(--muted)", "width": 1, "dash": "dot"})],
    )
    drawn = [(place, one) for place, one in enumerate(found) if one.rho is not None]
    data: list[dict[str, Any]] = [
        _ranges([(one.low, one.high) for one in found]),
        {
            "mode": "markers",
            "x": rounded((one.rho for _, one in drawn), 4),
            "y": [place for place, _ in drawn],
            "marker": {
                "color": ["var(--ink)" if one.is_significant else "var(--surface)" for _, one in drawn],
                "size": 9,
                "line": {"color": "var(--ink)", "width": 1.5},
            },
            "hovertext": [
                f"<b>{STATISTICS[one.statistic]}</b><br>{number(one.rho)}, from {number(one.low)} to "
                f"{number(one.high)}<br>{plural(one.networks, 'network')}, "
                f"{plural(one.architectures, 'architecture')}<br>p {significant(one.p, 2)}, adjusted "
                f"{significant(one.p_holm, 2)}"
                for _, one in drawn
            ],
        },
    ]
    text = f"Dots and intervals: rank correlations of {plot_text(column)} with statistics of the networks"
    return Figure(f"correlations-{number_of_figure}", data, layout, text)


def scatter(summary: AtlasSummary, one: Correlation, number_of_figure: int) -> Figure:
    """Draw a statistic of the networks against a column of metadata, one mark a network."""
    x, y = summary.values(one.metadata), summary.values(one.statistic)
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    names = summary.tables["networks"]["source"].to_pylist()
    data = {
        "mode": "markers",
        "x": [float(f"{value:.6g}") for value in x[known]],
        "y": [float(f"{value:.6g}") for value in y[known]],
        "marker": {"color": "var(--along-x)", "size": 7, "opacity": 0.6},
        "hovertext": [f"<b>{plot_text(shortened(names[i], 40))}</b>" for i in known],
    }
    layout = base_layout(
        height=_STATISTIC * len(STATISTICS) + 70,
        xaxis=axis(plot_text(one.metadata), nticks=6),
        yaxis=axis(STATISTICS[one.statistic], nticks=5),
    )
    text = f"Scatter plot: {STATISTICS[one.statistic]} against {plot_text(one.metadata)} over networks"
    return Figure(f"scatter-{number_of_figure}", [data], layout, text)
