"""Distributions of filters against controls: r2, in one panel a kernel size, and the angles of those that gain."""

from typing import Any

import numpy as np

from scalekeys.report.analysis.gains import Gain, Gains
from scalekeys.report.analysis.summary import SizeSummary
from scalekeys.report.analysis.view import Analysis
from scalekeys.report.page import Figure
from scalekeys.report.page.plots import axis, base_layout, line, panel_title
from scalekeys.report.page.words import number, percent, plural, size_words

BINS = 40
"""Bins of the histograms of r2 between 0 and 1."""

STEP = 7.5
"""Degrees between the angles of oriented templates, and so between the bins of their histogram."""

_PANEL, _GAP, _TOP, _BOTTOM = 110, 40, 24, 44  # pixels


def r2_histograms(analysis: Analysis) -> Figure:
    """Draw the distribution of r2 for each kernel size, filters against both controls, in panels of one figure."""
    sizes = [size for size in analysis.summary.sizes if size.quality.fitted]
    inner = (_PANEL + _GAP) * len(sizes) - _GAP
    layout = base_layout(
        height=inner + _TOP + _BOTTOM,
        margin={"l": 52, "r": 12, "t": _TOP, "b": _BOTTOM},
        shapes=[],
        annotations=[],
    )
    data: list[dict[str, Any]] = []
    for place, size in enumerate(sizes):
        suffix = str(place + 1) if place else ""
        top = 1 - place * (_PANEL + _GAP) / inner
        data += _panel_traces(analysis, size.size, suffix)
        _add_panel(layout, size, suffix, (top - _PANEL / inner, top), last=place == len(sizes) - 1)
    return Figure(
        "r2", data, layout, "Histograms: r² of the filters and of both kinds of noise, by kernel size", legend=True
    )


def _add_panel(
    layout: dict[str, Any], size: SizeSummary, suffix: str, domain: tuple[float, float], *, last: bool
) -> None:
    """Add axes, a title and the medians of one panel to a layout."""
    quality = size.quality
    bottom, top = (round(edge, 5) for edge in domain)
    layout[f"xaxis{suffix}"] = axis("r², share of energy explained" if last else "", range=[0, 1], anchor=f"y{suffix}")
    layout[f"xaxis{suffix}"] |= {"showgrid": False, "showticklabels": last, "ticks": "outside"}
    layout[f"yaxis{suffix}"] = axis(domain=[bottom, top], anchor=f"x{suffix}", tickformat=".0%", nticks=4)
    medians = (quality.median_r2, "ink"), (quality.matched_median_r2, "matched"), (quality.white_median_r2, "control")
    for median, colour in medians:
        if median is not None:
            mark = line((median, median), (0, 1), line={"color": f"var(--{colour})", "width": 1.5, "dash": "dash"})
            layout["shapes"].append(mark | {"xref": f"x{suffix}", "yref": f"y{suffix} domain", "layer": "above"})
    noise = f"matched noise {number(quality.matched_median_r2)}, white {number(quality.white_median_r2)}"
    told = f"median {number(quality.median_r2)}, {noise}, {plural(quality.fitted, 'filter')}"
    title = f"<b>{size_words(size.size)}</b>  {told}"
    layout["annotations"].append(panel_title(top, title))


def _panel_traces(analysis: Analysis, size: str, suffix: str) -> list[dict[str, Any]]:
    edges = np.linspace(0, 1, BINS + 1)
    mine = analysis.size == size
    filters, matched, white = (
        np.histogram(values[mine & np.isfinite(values)], edges)[0]
        for values in (analysis.r2, analysis.matched_r2, analysis.white_r2)
    )
    share, of_matched, of_white = (counts / max(counts.sum(), 1) for counts in (filters, matched, white))
    axes = {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}
    bars = {
        **axes,
        "type": "bar",
        "name": "filters",
        "x": (edges[:-1] + 0.5 / BINS).round(5).tolist(),
        "y": share.round(5).tolist(),
        "width": 1 / BINS,
        "marker": {"color": "var(--ink-soft)", "line": {"color": "var(--surface)", "width": 1}},
        "hovertext": [
            f"r² {number(low, 3)} to {number(low + 1 / BINS, 3)}<br>{plural(n, 'filter')}, {percent(s)}"
            f"<br>matched noise {percent(m)}, white {percent(w)}"
            for low, n, s, m, w in zip(
                *(values.tolist() for values in (edges[:-1], filters, share, of_matched, of_white)), strict=True
            )
        ],
    }
    steps = (("matched noise", "matched", of_matched), ("white noise", "control", of_white))
    return [bars, *(_steps(name, colour, shares, edges) | axes for name, colour, shares in steps)]


def _steps(name: str, colour: str, shares: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
    return {
        "mode": "lines",
        "name": name,
        "x": edges.round(5).tolist(),
        "y": [*shares.round(5).tolist(), 0.0],
        "line": {"shape": "hv", "color": f"var(--{colour})", "width": 2},
    }


def angle_histogram(gains: Gains) -> Figure:
    """Draw at which angles the filters that gain from a free angle lie, beside matched noise."""
    edges = np.arange(STEP / 2, 90, STEP)
    filters, matched = (np.histogram(one.angle[one.clear], edges)[0] for one in (gains.real, gains.matched))
    share, of_matched = filters / _measured(gains.real), matched / _measured(gains.matched)
    places = (edges[:-1] + STEP / 2).tolist()
    bars = {
        "type": "bar",
        "name": "filters",
        "x": places,
        "y": share.round(6).tolist(),
        "width": STEP,
        "marker": {"color": "var(--ink-soft)", "line": {"color": "var(--surface)", "width": 1}},
        "hovertext": [
            f"{number(angle, 1)}°<br>{plural(n, 'filter')}, {percent(s, 2)}<br>matched noise {percent(m, 2)}"
            for angle, n, s, m in zip(places, filters.tolist(), share.tolist(), of_matched.tolist(), strict=True)
        ],
    }
    layout = base_layout(
        height=300,
        xaxis=axis("angle to an axis", range=[0, 90], tickvals=[0, 22.5, 45, 67.5, 90], ticksuffix="°"),
        yaxis=axis("share of filters", tickformat=".1%", nticks=4),
    )
    layout["xaxis"] |= {"showgrid": False, "ticks": "outside"}
    text = "Histogram: the angles of filters that gain from a free angle, and of matched noise"
    return Figure("angles", [bars, _steps("matched noise", "matched", of_matched, edges)], layout, text, legend=True)


def _measured(one: Gain) -> int:
    """How many filters have an angle, at least 1."""
    return max(int(np.isfinite(one.gain).sum()), 1)
