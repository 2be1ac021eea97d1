"""The figures of a network report over layers and scales: an analysis in, a figure as data out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scalekeys.report.analysis.summary import LayerSummary
from scalekeys.report.analysis.view import Analysis
from scalekeys.report.page import Figure
from scalekeys.report.page.plots import (
    axis,
    base_layout,
    by_kind,
    family_colour,
    family_symbol,
    key,
    line,
    panel_title,
    shares_layout,
)
from scalekeys.report.page.words import (
    SIGMA_X,
    SIGMA_Y,
    count,
    distinct_parts,
    number,
    percent,
    plot_text,
    plural,
    shortened,
    size_name,
)

MAX_POINTS = 4000
"""Points that the scatter plot shows at most; beyond it an evenly spaced subset of the filters is drawn."""

_HOVER_WIDTH = 38
_LABEL_WIDTH = 24
_TICKS = (0, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7, 9, 11, 13, 17, 21, 27, 31, 41, 51)


def family_mix(analysis: Analysis) -> Figure:
    """Draw which families won in each layer: one stacked bar a layer, the input at the top."""
    layers = analysis.summary.layers
    row = min(max(1400 / len(layers), 5), 22)
    ticks = list(range(0, len(layers), int(-(-13 // row))))  # a label needs 13 pixels
    names = [shortened(name, _LABEL_WIDTH) for name in distinct_parts([layer.name for layer in layers])]
    layout = shares_layout(len(layers), row, ticks, [f"{plot_text(names[i])} " for i in ticks])
    used = by_kind(family.family for family in analysis.summary.families if family.filters)
    return Figure(
        "family-mix",
        [_mix_trace(layers, family) for family in used],
        layout,
        f"Stacked bars: the share of each family in {plural(len(layers), 'layer')}, from input to output",
        narrow={"yaxis.ticktext": [f"{layers[i].depth} " for i in ticks]},
        legend=True,
    )


def _mix_trace(layers: Sequence[LayerSummary], family: str) -> dict[str, Any]:
    shares = [layer.families[family] / max(layer.quality.fitted, 1) for layer in layers]
    return {
        "type": "bar",
        "orientation": "h",
        "name": family,
        "x": [round(share, 5) for share in shares],
        "y": list(range(len(layers))),
        "marker": {"color": family_colour(family), "line": {"width": 0}},
        "hoverinfo": "text",
        "hovertext": [
            f"<b>{plot_text(layer.name, _HOVER_WIDTH)}</b><br>{family}: {count(layer.families[family])} of "
            f"{plural(layer.quality.fitted, 'filter')}, {percent(share)}"
            for layer, share in zip(layers, shares, strict=True)
        ],
    }


def depth_profile(analysis: Analysis) -> Figure:
    """Draw the median r2 and the median scales of each layer over depth, with the control."""
    layers = analysis.summary.layers
    hover = [_layer_hover(layer) for layer in layers]
    r2 = ([layer.quality.median_r2 for layer in layers], [layer.quality.control_median_r2 for layer in layers])
    sigma = ([layer.median_sigma_x for layer in layers], [layer.median_sigma_y for layer in layers])
    filled, hollow = (
        {"color": "var(--ink)"},
        {"color": "var(--control)", "symbol": "circle-open", "line": {"width": 1.5}},
    )
    along_x = {"color": "var(--along-x)", "symbol": "diamond-wide"}
    along_y = {"color": "var(--along-y)", "symbol": "diamond-tall"}
    ticks = list(range(0, len(layers), max(1, len(layers) // 12)))
    layout = base_layout(
        height=400,
        margin={"l": 44, "r": 12, "t": 30, "b": 44},
        xaxis=axis("depth", anchor="y2", tickvals=ticks, ticktext=[str(layers[i].depth) for i in ticks]),
        yaxis=axis(domain=[0.57, 1], range=[0, 1.04], tickvals=[0, 0.5, 1], fixedrange=True),
        yaxis2=axis(domain=[0, 0.43], rangemode="tozero", nticks=4, fixedrange=True),
        annotations=[
            panel_title(1, key("●", "ink", "median r²") + key("○", "control", "noise")),
            panel_title(0.43, key("◆", "along-x", f"median {SIGMA_X}") + key("◆", "along-y", f"median {SIGMA_Y}")),
        ],
    )
    layout["xaxis"] |= {"range": [-0.6, len(layers) - 0.4], "showgrid": False, "fixedrange": True, "tickangle": 0}
    data = [*_dumbbells(*r2, "y", filled, hollow, hover), *_dumbbells(*sigma, "y2", along_x, along_y, hover)]
    return Figure("depth-profile", data, layout, "Dots: median r² and median scales of each layer over depth")


def _layer_hover(layer: LayerSummary) -> str:
    filters = plural(layer.quality.filters, "filter")
    return (
        f"<b>{plot_text(layer.name, _HOVER_WIDTH)}</b><br>{size_name(layer.size)}, {filters}"
        f"<br>median r² {number(layer.quality.median_r2)}, noise {number(layer.quality.control_median_r2)}"
        f"<br>median {SIGMA_X} {number(layer.median_sigma_x)}, {SIGMA_Y} {number(layer.median_sigma_y)}"
    )


def _dumbbells(
    first: list[float | None],
    second: list[float | None],
    yaxis: str,
    style: dict[str, Any],
    other: dict[str, Any],
    hover: list[str],
) -> list[dict[str, Any]]:
    """Two markers a layer, joined by a line."""
    stems: dict[str, list[float | None]] = {"x": [], "y": []}
    for place, (a, b) in enumerate(zip(first, second, strict=True)):
        if a is not None and b is not None:
            stems["x"] += [place, place, None]
            stems["y"] += [round(a, 4), round(b, 4), None]
    common: dict[str, Any] = {"type": "scatter", "yaxis": yaxis}
    stem = {**common, **stems, "mode": "lines", "line": {"color": "var(--line)", "width": 2}, "hoverinfo": "skip"}
    markers = [
        {
            **common,
            "mode": "markers",
            "x": list(range(len(values))),
            "y": [None if value is None else round(value, 4) for value in values],
            "marker": {"size": 8, **marker},
            "hoverinfo": "text",
            "hovertext": hover,
        }
        for values, marker in ((second, other), (first, style))
    ]
    return [stem, *markers]


def scale_scatter(analysis: Analysis) -> tuple[Figure, int, int]:
    """Draw sigma_x against sigma_y, one marker a filter.

    Returns
    -------
    figure : Figure
    eligible, shown : int
        How many filters have a scale along both axes, and how many of them are drawn.
    """
    eligible = np.flatnonzero(analysis.fitted & np.isfinite(analysis.sigma).all(1))
    shown = eligible
    if len(eligible) > MAX_POINTS:
        shown = eligible[np.linspace(0, len(eligible) - 1, MAX_POINTS).round().astype(int)]
    families = analysis.fit.family[shown]
    style = {"size": 7, "opacity": 0.6} if len(shown) > 500 else {"size": 10, "opacity": 0.85}
    traces = [
        _scatter_trace(analysis, family, shown[families == family], style)
        for family in by_kind(family.family for family in analysis.summary.families)
        if (families == family).any()
    ]
    largest = float(analysis.sigma[shown].max(initial=1.0))
    end = 1.04 * largest**0.5
    scale = {"range": [-0.03 * end, end], "tickangle": 0, **_ticks(largest, 0.05)}
    layout = base_layout(
        height=570,
        margin={"l": 52, "r": 12, "t": 26, "b": 44},  # the top leaves room for the button that saves a picture
        xaxis=axis(f"{SIGMA_X} in pixels", **scale),
        yaxis=axis(f"{SIGMA_Y} in pixels", **scale),
        shapes=[line((0, end), (0, end), line={"color": "var(--muted)", "width": 1, "dash": "dot"})],
        dragmode="zoom",
    )
    few = {f"{name}.{entry}": v for name in ("xaxis", "yaxis") for entry, v in _ticks(largest, 0.09).items()}
    text = f"Scatter plot: the scales of {plural(len(shown), 'filter')} along x and y, coloured by family"
    figure = Figure("scales", traces, layout, text, narrow={**few, "height": 400}, legend=True)
    return figure, len(eligible), len(shown)


def _ticks(largest: float, gap: float) -> dict[str, list[Any]]:
    """Place ticks on an axis that is spaced by the square root, with a least gap as a share of its length."""
    chosen: list[float] = []
    for tick in _TICKS:
        if not chosen or (tick <= 1.001 * largest and tick**0.5 - chosen[-1] ** 0.5 >= gap * largest**0.5):
            chosen.append(tick)
    return {"tickvals": [round(tick**0.5, 4) for tick in chosen], "ticktext": [f"{tick:g}" for tick in chosen]}


def _scatter_trace(analysis: Analysis, family: str, indices: np.ndarray, style: dict[str, float]) -> dict[str, Any]:
    sigma, r2 = analysis.sigma[indices], analysis.r2[indices]
    names = {place: plot_text(layer.name, _HOVER_WIDTH) for place, layer in enumerate(analysis.summary.layers)}
    hover = [
        f"<b>{names[layer]}</b><br>channel {channel}, {size_name(kernel)}, {family}"
        f"<br>{SIGMA_X} {number(sx)}, {SIGMA_Y} {number(sy)}, r² {number(value)}"
        for layer, channel, kernel, (sx, sy), value in zip(
            analysis.layer[indices].tolist(),
            analysis.channel[indices].tolist(),
            analysis.size[indices].tolist(),
            sigma.tolist(),
            r2.tolist(),
            strict=True,
        )
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": family,
        "x": np.sqrt(sigma[:, 0]).round(4).tolist(),
        "y": np.sqrt(sigma[:, 1]).round(4).tolist(),
        "marker": {"color": family_colour(family), "symbol": family_symbol(family), **style},
        "hoverinfo": "text",
        "hovertext": hover,
    }
