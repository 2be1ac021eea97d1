"""The figures of a network report over layers and scales: an analysis in, a figure as data out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scalekeys.fitting import LadderGroup, Standing
from scalekeys.fitting.ladder_steps import Compared
from scalekeys.report.analysis.summary import LayerSummary
from scalekeys.report.analysis.view import Analysis
from scalekeys.report.page import Figure
from scalekeys.report.page.families import by_kind, family_colour
from scalekeys.report.page.plots import (
    axis,
    base_layout,
    key,
    line,
    panel_title,
    row_bars,
    shares_layout,
)
from scalekeys.report.page.scale_axis import ScaleAxis
from scalekeys.report.page.words import (
    SIGMA,
    count,
    distinct_parts,
    input_unit_of,
    number,
    number_in,
    percent,
    plot_text,
    plural,
    shortened,
    size_name,
    size_words,
)

_HOVER_WIDTH = 38
_LABEL_WIDTH = 24
_STEP_COLOURS = ("ink", "family-1", "family-13", "family-16")
_ALONG = {
    "x": {"color": "var(--along-x)", "symbol": "diamond-wide"},
    "y": {"color": "var(--along-y)", "symbol": "diamond-tall"},
    "z": {"color": "var(--along-z)", "symbol": "diamond"},
}


def family_mix(analysis: Analysis) -> Figure:
    """Draw which families won in each layer: one stacked bar a layer, the input at the top."""
    layers = analysis.summary.layers
    used = by_kind(family.family for family in analysis.summary.families if family.filters)
    return _over_layers(
        "family-mix",
        [_mix_trace(layers, family) for family in used],
        [(layer.name, layer.depth) for layer in layers],
        f"Stacked bars: the share of each family in {plural(len(layers), 'layer')}, from input to output",
    )


def ladder_profile(groups: Sequence[LadderGroup], depths: Mapping[str, int]) -> Figure:
    """Draw what each step of the ladder adds in each layer, whose depths are given by name; the input at the top."""
    steps = list({step.model: None for group in groups for step in group.steps})
    return _over_layers(
        "ladder",
        [_step_trace(groups, step, colour) for step, colour in zip(steps, _STEP_COLOURS, strict=False)],
        [(group.name, depths[group.name]) for group in groups],
        f"Stacked bars: the share of the energy that each step explains in {plural(len(groups), 'layer')}",
    )


def _over_layers(name: str, data: list[dict[str, Any]], layers: Sequence[tuple[str, int]], text: str) -> Figure:
    """Return stacked bars, one for each layer with its name, or with its depth where the figure is narrow."""
    row = min(max(1400 / len(layers), 5), 22)
    ticks = range(0, len(layers), int(-(-13 // row)))  # a label needs 13 pixels
    labels = [f"{plot_text(shortened(part, _LABEL_WIDTH))} " for part in distinct_parts([layer for layer, _ in layers])]
    layout = shares_layout(len(layers), row, ticks, [labels[i] for i in ticks])
    return Figure(name, data, layout, text, narrow={"yaxis.ticktext": [f"{layers[i][1]} " for i in ticks]}, legend=True)


def _step_trace(groups: Sequence[LadderGroup], model: str, colour: str) -> dict[str, Any]:
    none = Compared(None, None, None)
    gains = [next((step.gain for step in group.steps if step.model == model), none) for group in groups]
    hover = [
        f"<b>{plot_text(group.name, _HOVER_WIDTH)}</b><br>{model} adds {percent(gain.filters)}, matched noise "
        f"{percent(gain.matched)}"
        for group, gain in zip(groups, gains, strict=True)
    ]
    return row_bars(model, [gain.filters or 0 for gain in gains], range(len(groups)), f"var(--{colour})", hover)


def _mix_trace(layers: Sequence[LayerSummary], family: str) -> dict[str, Any]:
    shares = [layer.families[family] / max(layer.quality.fitted, 1) for layer in layers]
    hover = [
        f"<b>{plot_text(layer.name, _HOVER_WIDTH)}</b><br>{family}: {count(layer.families[family])} of "
        f"{plural(layer.quality.fitted, 'filter')}, {percent(share)}"
        for layer, share in zip(layers, shares, strict=True)
    ]
    return row_bars(family, shares, range(len(layers)), family_colour(family), hover)


def depth_profile(analysis: Analysis) -> Figure:
    """Draw the median r2 and the median scales of each layer over depth, with both controls."""
    layers, names = analysis.summary.layers, analysis.summary.axis_names
    hover = [_layer_hover(layer) for layer in layers]
    scales = [np.array([layer.median_sigma.get(axis) for layer in layers], dtype=float) for axis in names]
    spaced = ScaleAxis.of(np.concatenate(scales))
    layout = _depth_layout(
        layers,
        anchor="y2",
        height=400,
        yaxis=axis(domain=[0.57, 1], range=[0, 1.04], tickvals=[0, 0.5, 1]),
        yaxis2=axis(domain=[0, 0.43], range=spaced.range, **spaced.ticks(0.2)),
        annotations=[
            panel_title(
                1, key("●", "ink", "median r²") + key("○", "matched", "matched noise") + key("○", "control", "white")
            ),
            panel_title(0.43, "".join(key("◆", f"along-{axis}", f"median {SIGMA}<sub>{axis}</sub>") for axis in names)),
        ],
    )
    r2, matched, white = (
        [getattr(layer.quality, name) for layer in layers]
        for name in ("median_r2", "matched_median_r2", "white_median_r2")
    )
    data = [
        _stems([r2, matched], "y"),
        _markers(white, "y", _hollow("control"), hover),
        _markers(matched, "y", _hollow("matched"), hover),
        _markers(r2, "y", {"color": "var(--ink)"}, hover),
    ]
    places = [spaced.places(values) for values in scales]
    data += [_stems(places, "y2")] if len(places) > 1 else []
    data += [_markers(values, "y2", _ALONG[axis], hover) for axis, values in zip(names, places, strict=True)]
    return Figure("depth-profile", data, layout, "Dots: median r² and median scales of each layer over depth")


def input_scale_profile(analysis: Analysis) -> Figure | None:
    """Draw the median scales of each layer over depth in pixels of the input; None where no pitch tells more."""
    layers, names = analysis.summary.layers, analysis.summary.axis_names
    if not any(
        layer.pitch and (max(layer.pitch) != 1 or min(layer.pitch) != 1 or layer.dilation != 1) for layer in layers
    ):
        return None
    scales = [np.array([layer.sigma_in_input.get(axis) for layer in layers], dtype=float) for axis in names]
    spaced = ScaleAxis.of(np.concatenate(scales))
    unit = input_unit_of(analysis.summary.axes)
    signs = "".join(key("◆", f"along-{axis}", f"median {SIGMA}<sub>{axis}</sub>, {unit}") for axis in names)
    layout = _depth_layout(
        layers,
        height=260,
        yaxis=axis(range=spaced.range, **spaced.ticks(0.12)),
        annotations=[panel_title(1, signs)],
    )
    places = [spaced.places(values) for values in scales]
    hover = [_input_scale_hover(layer, unit) for layer in layers]
    data = [_stems(places, "y")] if len(places) > 1 else []
    data += [_markers(values, "y", _ALONG[axis], hover) for axis, values in zip(names, places, strict=True)]
    return Figure("scales-in-input", data, layout, f"Dots: median scales of each layer in {unit}, over depth")


def _input_scale_hover(layer: LayerSummary, unit: str) -> str:
    text = "pitch not known"
    if layer.pitch:
        scales = ", ".join(f"{SIGMA}<sub>{axis}</sub> {number(value)}" for axis, value in layer.sigma_in_input.items())
        text = f"pitch {size_name('x'.join(f'{one:g}' for one in layer.pitch))}<br>median {scales} {unit}"
    return f"<b>{plot_text(layer.name, _HOVER_WIDTH)}</b><br>{size_words(layer.size)}<br>{text}"


def formation_profile(analysis: Analysis) -> Figure:
    """Draw the formation of each layer over depth, with its interval, and where it stands beside matched noise."""
    layers = analysis.summary.layers
    layout = _depth_layout(
        layers,
        height=260,
        yaxis=axis(range=[-1.04, 1.04], tickvals=[-1, -0.5, 0, 0.5, 1]),
        annotations=[
            panel_title(1, key("●", "ink", "formation, with 95 %") + key("○", "matched", "beside matched noise"))
        ],
        shapes=[line((-0.6, len(layers) - 0.4), (0, 0), line={"color": "var(--muted)", "width": 1})],
    )
    hover = [_formation_hover(layer) for layer in layers]
    white, matched = ([getattr(layer.formation, name, None) for layer in layers] for name in ("white", "matched"))
    ends = [[getattr(standing, end, None) for standing in white] for end in ("low", "high")]
    data = [
        _stems(ends, "y"),
        _markers([getattr(standing, "value", None) for standing in matched], "y", _hollow("matched"), hover),
        _markers([getattr(standing, "value", None) for standing in white], "y", {"color": "var(--ink)"}, hover),
    ]
    return Figure("formation-profile", data, layout, "Dots with intervals: how far each layer has formed, over depth")


def _formation_hover(layer: LayerSummary) -> str:
    group, text = layer.formation, "no filter counts"
    if group and group.white:
        text = f"{group.white.word}: {_standing(group.white)}"
        text += f"<br>beside matched noise: {_standing(group.matched)}" if group.matched else ""
    return f"<b>{plot_text(layer.name, _HOVER_WIDTH)}</b><br>{size_words(layer.size)}<br>{text}"


def _standing(one: Standing) -> str:
    return number_in(one.value, one.low, one.high)


def _layer_hover(layer: LayerSummary) -> str:
    filters, quality = plural(layer.quality.filters, "filter"), layer.quality
    scales = ", ".join(f"{SIGMA}<sub>{axis}</sub> {number(value)}" for axis, value in layer.median_sigma.items())
    return (
        f"<b>{plot_text(layer.name, _HOVER_WIDTH)}</b><br>{size_words(layer.size)}, {filters}"
        f"<br>median r² {number(quality.median_r2)}, matched noise {number(quality.matched_median_r2)}, "
        f"white {number(quality.white_median_r2)}<br>median {scales}"
    )


def _depth_layout(layers: Sequence[LayerSummary], *, anchor: str = "y", **entries: Any) -> dict[str, Any]:
    """Return the layout of figures over the depth of layers, and further entries; about twelve depths are labelled."""
    ticks = range(0, len(layers), max(1, len(layers) // 12))
    depth = axis(
        "depth",
        anchor=anchor,
        range=[-0.6, len(layers) - 0.4],
        tickvals=list(ticks),
        ticktext=[str(layers[i].depth) for i in ticks],
        showgrid=False,
    )
    return base_layout(margin={"l": 44, "r": 12, "t": 30, "b": 44}, xaxis=depth, **entries)


def _hollow(colour: str) -> dict[str, Any]:
    return {"color": f"var(--{colour})", "symbol": "circle-open", "line": {"width": 1.5}}


def _stems(rows: Sequence[Sequence[float | None]], yaxis: str) -> dict[str, Any]:
    """Join the lowest and the highest mark of each layer by a line."""
    x: list[float | None] = []
    y: list[float | None] = []
    for place, values in enumerate(zip(*rows, strict=True)):
        known = [value for value in values if value is not None]
        if len(known) > 1:
            x += [place, place, None]
            y += [round(min(known), 4), round(max(known), 4), None]
    style = {"color": "var(--muted)", "width": 1.5}
    return {"yaxis": yaxis, "mode": "lines", "x": x, "y": y, "line": style}


def _markers(values: Sequence[float | None], yaxis: str, marker: dict[str, Any], hover: list[str]) -> dict[str, Any]:
    return {
        "yaxis": yaxis,
        "mode": "markers",
        "x": list(range(len(values))),
        "y": [None if value is None else round(value, 4) for value in values],
        "marker": {"size": 8, **marker},
        "hovertext": hover,
    }
