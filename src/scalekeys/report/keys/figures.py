"""The figures of a report on keys over layers, thresholds and numbers of keys: figures in, a figure as data out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scalekeys.clustering import FOUND_AGAIN
from scalekeys.report.keys.summary import CurvePoint, KeysSummary, LayerKeys
from scalekeys.report.keys.view import KeysView
from scalekeys.report.page import Figure
from scalekeys.report.page.families import COLOURS
from scalekeys.report.page.plots import (
    axis,
    base_layout,
    curve,
    key,
    level,
    line,
    panel_title,
    place_colour,
    place_symbol,
    rounded,
    row_bars,
    shares_layout,
)
from scalekeys.report.page.words import count, number, percent, plot_text, plural, shortened, size_words

_HOVER_WIDTH = 38
_LABEL_WIDTH = 24
_CURVE_POINTS = 101


def key_mix(summary: KeysSummary) -> Figure:
    """Draw the share of each key in each layer: one stacked bar a layer, network by network, the input at the top."""
    rows = _rows(summary)
    height = min(max(1400 / len(rows), 5), 22)
    labelled = [i for i, row in enumerate(rows) if isinstance(row, str)]
    every = int(-(-13 // height))  # a label needs 13 pixels
    ticks = sorted(
        {*labelled, *(i for i in range(0, len(rows), every) if not {i - 1, i + 1} & set(labelled) or every == 1)}
    )
    wide, narrow = _labels(rows, summary)
    layout = shares_layout(len(rows), height, ticks, [wide[i] for i in ticks])
    text = f"Stacked bars: the share of each key in {plural(len(summary.layers), 'layer')}, from input to output"
    data = [_mix_trace(summary, rows, place) for place, key in enumerate(summary.keys) if key.members]
    return Figure("key-mix", data, layout, text, narrow={"yaxis.ticktext": [narrow[i] for i in ticks]}, legend=True)


def _rows(summary: KeysSummary) -> list[LayerKeys | str]:
    """Every layer, under the name of its network where there are several."""
    if len(summary.models) < 2:
        return list(summary.layers)
    rows: list[LayerKeys | str] = []
    for layer in summary.layers:
        if not rows or (isinstance(rows[-1], LayerKeys) and rows[-1].bank != layer.bank):
            rows.append(layer.model)
        rows.append(layer)
    return rows


def _labels(rows: Sequence[LayerKeys | str], summary: KeysSummary) -> tuple[list[str], list[str]]:
    """Labels of the rows of a wide and of a narrow figure."""
    wide, narrow = [], []
    for row in rows:
        if isinstance(row, str):
            wide.append(f"<b>{plot_text(shortened(row, _LABEL_WIDTH))}</b> ")
            narrow.append(f"<b>{plot_text(shortened(row, _LABEL_WIDTH // 2))}</b> ")
        else:
            wide.append(f"{plot_text(shortened(summary.short_names[row.bank, row.layer], _LABEL_WIDTH))} ")
            narrow.append(f"{row.depth} ")
    return wide, narrow


def _mix_trace(summary: KeysSummary, rows: Sequence[LayerKeys | str], place: int) -> dict[str, Any]:
    label = summary.keys[place].label
    bars = {y: row for y, row in enumerate(rows) if isinstance(row, LayerKeys)}
    hover = [
        f"<b>{plot_text(row.layer, _HOVER_WIDTH)}</b><br>{label}: {count(row.members[place])} of "
        f"{plural(row.filters, 'filter')}, {percent(row.share_of(place))}"
        for row in bars.values()
    ]
    return row_bars(label, [row.share_of(place) for row in bars.values()], bars, place_colour(place), hover)


def coverage_over_depth(summary: KeysSummary) -> Figure:
    """Draw the share of the filters that are close to their key, layer by layer, one trace a network."""
    deepest = max(layer.depth for layer in summary.layers)
    layout = base_layout(
        height=300,
        xaxis=axis("depth", range=[-0.6, deepest + 0.6], showgrid=False, nticks=12, tickformat="d"),
        yaxis=axis("share covered", range=[-0.02, 1.04], tickformat=".0%", tickvals=[0, 0.5, 1]),
        shapes=[level(summary.coverage, colour="control", width=1.5)],
    )
    data = [_coverage_trace(summary, bank) for bank in range(len(summary.models))]
    text = f"Dots: the share of filters within {number(summary.threshold)} of their key, layer by layer over depth"
    return Figure("coverage", data, layout, text, legend=len(summary.models) > 1)


def _coverage_trace(summary: KeysSummary, bank: int) -> dict[str, Any]:
    mine = [layer for layer in summary.layers if layer.bank == bank]
    return {
        "mode": "lines+markers",
        "name": summary.models[bank],
        "x": [layer.depth for layer in mine],
        "y": rounded((layer.coverage for layer in mine), 5),
        "line": {"color": "var(--line)", "width": 1},
        "marker": {"size": 9, "color": _model_colour(summary, bank), "symbol": place_symbol(bank)},
        "hovertext": [
            f"<b>{plot_text(layer.layer, _HOVER_WIDTH)}</b><br>{size_words(layer.size)}, {percent(layer.coverage)} of "
            f"{plural(layer.filters, 'filter')}"
            for layer in mine
        ],
    }


def correlation_curve(view: KeysView) -> Figure:
    """Draw the share of the filters that reach a correlation with their key, against that correlation."""
    summary = view.summary
    bounds = np.linspace(0, 1, _CURVE_POINTS)
    style = {"color": "var(--control)", "width": 1.5, "dash": "dash"}
    layout = base_layout(
        height=300,
        xaxis=axis("correlation with the key", range=[0, 1], dtick=0.2),
        yaxis=axis("share that reaches it", range=[0, 1.04], tickformat=".0%", tickvals=[0, 0.5, 1]),
        shapes=[line((view.threshold,) * 2, (0, 1), line=style, layer="above")],
    )
    data = []
    for bank, model in enumerate(summary.models):
        reached = np.sort(view.correlation[(view.bank == bank) & (view.assignment >= 0)])
        share = 1 - np.searchsorted(reached, bounds) / max(len(reached), 1)
        data.append(_curve_trace(model, bounds, share, _model_colour(summary, bank)))
    text = "Line: the share of filters whose correlation with their key reaches a value, against that value"
    return Figure("correlations", data, layout, text, legend=len(summary.models) > 1)


def _curve_trace(model: str, bounds: np.ndarray, share: np.ndarray, colour: str) -> dict[str, Any]:
    return {
        "mode": "lines",
        "name": model,
        "x": bounds.round(4).tolist(),
        "y": share.round(5).tolist(),
        "line": {"color": colour, "width": 2.5},
        "hovertext": [
            f"{percent(float(y))} of the filters reach {number(float(x))}" for x, y in zip(bounds, share, strict=True)
        ],
    }


def _model_colour(summary: KeysSummary, bank: int) -> str:
    return "var(--ink)" if len(summary.models) == 1 else f"var(--family-{(bank * 5 + 5) % COLOURS + 1})"


def number_of_keys(summary: KeysSummary) -> Figure:
    """Draw explained energy against both controls, and stability, over the number of keys; mark the recommended one."""
    points = summary.curve
    ks = [point.k for point in points]
    layout = base_layout(
        height=430,
        margin={"l": 44, "r": 12, "t": 30, "b": 44},
        xaxis=axis(
            "number of keys k",
            anchor="y2",
            range=[min(ks) - 0.5, max(ks) + 0.5],
            tick0=ks[0],
            dtick=max(1, round((max(ks) - min(ks)) / 16)),
            showgrid=False,
        ),
        yaxis=axis(domain=[0.5, 1], range=[0, 1.04], tickvals=[0, 0.5, 1], tickformat=".0%"),
        yaxis2=axis(domain=[0, 0.36], range=[0, 1.06], tickvals=[0, 0.5, 1]),
        shapes=_marks(summary),
        annotations=[
            panel_title(
                1,
                key("●", "ink", "energy explained")
                + key("○", "matched", "matched noise")
                + key("○", "control", "white"),
            ),
            panel_title(0.36, key("◆", "along-x", "agreement of restarts") + key("◆", "along-y", "of halves")),
        ],
    )
    hover = [_hover(point) for point in points]
    data = [
        curve(ks, [getattr(point, name) for point in points], f"var(--{colour})", hover, symbol=symbol)
        | {"yaxis": axes}
        for name, axes, colour, symbol in (
            ("white_noise", "y", "control", "circle-open"),
            ("matched_noise", "y", "matched", "circle-open"),
            ("explained", "y", "ink", "circle"),
            ("stability_halves", "y2", "along-y", "diamond-tall"),
            ("stability_restarts", "y2", "along-x", "diamond-wide"),
        )
    ]
    text = (
        "Lines over the number of keys: energy explained, both kinds of noise, and stability; "
        f"{summary.best_k} is recommended"
    )
    return Figure("number-of-keys", data, layout, text)


def _marks(summary: KeysSummary) -> list[dict[str, Any]]:
    """Mark the recommended number with a band, the number on this page, and what counts as found again, with lines."""
    best, used = summary.best_k, len(summary.keys)
    marks = []
    if best is not None:
        band = {"type": "rect", "x0": best - 0.4, "x1": best + 0.4, "y0": 0, "y1": 1, "yref": "paper", "layer": "below"}
        marks.append(band | {"fillcolor": "var(--grid)"})
    marks.append(level(FOUND_AGAIN) | {"yref": "y2"})
    if used != best:
        marks.append(
            line((used, used), (0, 1), line={"color": "var(--muted)", "width": 1, "dash": "dot"}, yref="paper")
        )
    return marks


def _hover(point: CurvePoint) -> str:
    return (
        f"<b>k = {point.k}</b><br>explained {percent(point.explained)}, matched noise "
        f"{percent(point.matched_noise)}, white {percent(point.white_noise)}"
        f"<br>stability over restarts {number(point.stability_restarts)}, halves {number(point.stability_halves)}"
    )
