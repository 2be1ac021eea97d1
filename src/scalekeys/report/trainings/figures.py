"""The figures of a report on trainings: a comparison in, a figure as data out."""

from collections.abc import Sequence
from math import log10
from typing import Any

from scalekeys.report.page import Figure
from scalekeys.report.page.plots import axis, base_layout, curve, place_colour, place_symbol
from scalekeys.report.page.words import SIGMA, count, number, percent, plot_text, plural
from scalekeys.report.trainings.numbers import with_spread
from scalekeys.training.comparison import Comparison, Condition, Spread

_HOVER_WIDTH = 38


def accuracy_by_parameters(comparison: Comparison) -> Figure | None:
    """Draw accuracy against the number of depthwise parameters that are learned: a point a condition."""
    points = []
    for place, condition in enumerate(comparison.conditions):
        learned, spread = condition.learned, condition.spread("accuracy")
        if learned is not None and spread is not None:
            points.append((place, condition, learned.depthwise, spread))
    if not points:
        return None
    most = max(parameters for _, _, parameters, _ in points)
    ticks = [0, *(10**power for power in range(1, len(str(most)) + 1) if 10**power <= 10 * most)]
    layout = base_layout(
        height=380,
        xaxis=axis(
            "depthwise parameters that are learned",
            tickvals=[_place(tick) for tick in ticks],
            ticktext=[count(tick) for tick in ticks],
            range=[-0.25, _place(most) + 0.25],
        ),
        yaxis=axis("top-1 accuracy", tickformat=".1%", range=_around([one for *_, one in points])),
    )
    data = [_point(*point) for point in points]
    text = f"Points: the accuracy of {plural(len(points), 'condition')} against their number of depthwise parameters"
    return Figure("accuracy-by-parameters", data, layout, text, legend=True)


def _around(spreads: Sequence[Spread]) -> list[float]:
    """Return a range of accuracies that leaves room above and below, also about a single one."""
    low = min(one.mean - (one.std or 0.0) for one in spreads)
    high = max(one.mean + (one.std or 0.0) for one in spreads)
    margin = max(0.01, 0.15 * (high - low))
    return [round(low - margin, 4), round(high + margin, 4)]


def _place(parameters: int) -> float:
    """Return where a number stands on a logarithmic axis that begins with 0."""
    return round(log10(1 + parameters), 5)


def _point(place: int, condition: Condition, parameters: int, spread: Spread) -> dict[str, Any]:
    return {
        "mode": "markers",
        "name": condition.name,
        "x": [_place(parameters)],
        "y": [round(spread.mean, 5)],
        "error_y": {"array": [round(spread.std or 0.0, 5)], "visible": spread.std is not None},
        "marker": {"size": 11, "color": place_colour(place), "symbol": place_symbol(place)},
        "hovertext": [
            f"<b>{plot_text(condition.name, _HOVER_WIDTH)}</b><br>{with_spread(spread)}<br>"
            f"{plural(parameters, 'depthwise parameter')}, {plural(spread.runs, 'run')}"
        ],
    }


def accuracy_over_epochs(comparison: Comparison) -> Figure | None:
    """Draw top-1 accuracy over epochs, of averaged weights where all runs have them."""
    column = "average_top1" if comparison.is_averaged else "top1"
    return _over_epochs(comparison, column, "accuracy-over-epochs", "top-1 accuracy", shares=True)


def r2_over_epochs(comparison: Comparison) -> Figure | None:
    """Draw over epochs how well the eight families explain the depthwise filters."""
    return _over_epochs(comparison, "r2", "r2-over-epochs", "median r²", shares=False)


def formation_over_epochs(comparison: Comparison) -> Figure | None:
    """Draw over epochs how far the depthwise filters have formed."""
    return _over_epochs(comparison, "formation", "formation-over-epochs", "formation", shares=False)


def _over_epochs(comparison: Comparison, column: str, name: str, title: str, *, shares: bool) -> Figure | None:
    conditions = enumerate(comparison.conditions)
    curves = [(place, one, points) for place, one in conditions if (points := one.curve(column))]
    if not curves:
        return None
    last = max(points[-1][0] for _, _, points in curves)
    entries: dict[str, Any] = {"tickformat": ".0%"} if shares else {"range": [-0.02, 1.04]}
    layout = base_layout(
        height=360,
        xaxis=axis("epoch", range=[0.5, last + 0.5], tickformat="d", nticks=12, showgrid=False),
        yaxis=axis(title, **entries),
    )
    data = [_epochs(*told, shares=shares) for told in curves]
    return Figure(name, data, layout, f"Lines: {title} over {plural(last, 'epoch')}, one a condition", legend=True)


def _epochs(place: int, condition: Condition, points: list[tuple[int, float]], *, shares: bool) -> dict[str, Any]:
    hover = [
        f"<b>{plot_text(condition.name, _HOVER_WIDTH)}</b><br>epoch {epoch}: "
        f"{percent(value) if shares else number(value, 3)}"
        for epoch, value in points
    ]
    return _line(place, condition, [epoch for epoch, _ in points], [value for _, value in points], hover)


def _line(place: int, condition: Condition, x: list[int], y: list[float], hover: list[str]) -> dict[str, Any]:
    line = curve(x, y, place_colour(place), hover, symbol=place_symbol(place), size=7)
    return line | {"name": condition.name}


def scales_over_depth(comparison: Comparison) -> Figure | None:
    """Draw the median scale of each layer: learned as such, or fitted to weights that were learned freely."""
    data = [
        trace
        for place, condition in enumerate(comparison.conditions)
        if condition.depthwise.learn != "none" and (trace := _scale_trace(place, condition))
    ]
    if not data:
        return None
    layers = max(max(trace["x"]) for trace in data)
    layout = base_layout(
        height=380,
        xaxis=axis("depth", range=[-0.6, layers + 0.6], tickformat="d", nticks=12, showgrid=False),
        yaxis=axis(f"median {SIGMA}, pixels", rangemode="tozero"),
    )
    return Figure("scales", data, layout, "Lines: the median scale of each layer over depth", legend=True)


def _scale_trace(place: int, condition: Condition) -> dict[str, Any] | None:
    """Draw the scales of the first run of a condition that has any; dashed where they were fitted to free weights."""
    run = next((run for run in condition.counted if run.scales), None)
    if run is None or run.filters is None:
        return None
    depths = {layer.name: depth for depth, layer in enumerate(run.filters)}
    hover = [
        f"<b>{plot_text(scale.layer, _HOVER_WIDTH)}</b><br>{plot_text(condition.name, _HOVER_WIDTH)}<br>median "
        f"{number(scale.median)}, half of {plural(scale.filters, 'filter')} from {number(scale.lower)} to "
        f"{number(scale.upper)}"
        for scale in run.scales
    ]
    heights = [round(scale.median, 4) for scale in run.scales]
    trace = _line(place, condition, [depths[scale.layer] for scale in run.scales], heights, hover)
    trace["line"]["dash"] = "dash" if condition.depthwise.learn == "all" else "solid"
    return trace
