"""The figure of the number of keys: what each number explains against both kinds of noise, and how stable it is."""

from typing import Any

from scalekeys.clustering import FOUND_AGAIN
from scalekeys.report.keys.summary import CurvePoint, KeysSummary
from scalekeys.report.page import Figure
from scalekeys.report.page.plots import axis, base_layout, key, line, panel_title
from scalekeys.report.page.words import number, percent


def number_of_keys(summary: KeysSummary) -> Figure:
    """Draw explained energy against both controls, and stability, over the number of keys; mark the recommended one."""
    points = summary.curve
    ks = [point.k for point in points]
    layout = base_layout(
        height=430,
        margin={"l": 44, "r": 12, "t": 30, "b": 44},
        xaxis=axis("number of keys k", anchor="y2", range=[min(ks) - 0.5, max(ks) + 0.5], dtick=_step(ks)),
        yaxis=axis(domain=[0.5, 1], range=[0, 1.04], tickvals=[0, 0.5, 1], tickformat=".0%", fixedrange=True),
        yaxis2=axis(domain=[0, 0.36], range=[0, 1.06], tickvals=[0, 0.5, 1], fixedrange=True),
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
    layout["xaxis"] |= {"showgrid": False, "fixedrange": True, "tickangle": 0, "tick0": ks[0]}
    hover = [_hover(point) for point in points]
    data = [
        _trace(ks, [point.white_noise for point in points], "y", hover, "control", "circle-open"),
        _trace(ks, [point.matched_noise for point in points], "y", hover, "matched", "circle-open"),
        _trace(ks, [point.explained for point in points], "y", hover, "ink", "circle"),
        _trace(ks, [point.stability_halves for point in points], "y2", hover, "along-y", "diamond-tall"),
        _trace(ks, [point.stability_restarts for point in points], "y2", hover, "along-x", "diamond-wide"),
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
        marks.append(band | {"fillcolor": "var(--grid)", "line": {"width": 0}})
    again = line((0, 1), (FOUND_AGAIN,) * 2, line={"color": "var(--muted)", "width": 1, "dash": "dash"})
    marks.append(again | {"xref": "x domain", "yref": "y2"})
    if used != best:
        marks.append(
            line((used, used), (0, 1), line={"color": "var(--muted)", "width": 1, "dash": "dot"}, yref="paper")
        )
    return marks


def _trace(
    ks: list[int], values: list[float] | list[float | None], axes: str, hover: list[str], colour: str, symbol: str
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": ks,
        "y": [None if value is None else round(value, 5) for value in values],
        "yaxis": axes,
        "line": {"color": f"var(--{colour})", "width": 1.5},
        "marker": {
            "size": 8,
            "color": f"var(--{colour})",
            "symbol": symbol,
            "line": {"width": 1.5 if "open" in symbol else 0},
        },
        "hoverinfo": "text",
        "hovertext": hover,
    }


def _hover(point: CurvePoint) -> str:
    return (
        f"<b>k = {point.k}</b><br>explained {percent(point.explained)}, matched noise "
        f"{percent(point.matched_noise)}, white {percent(point.white_noise)}"
        f"<br>stability over restarts {number(point.stability_restarts)}, halves {number(point.stability_halves)}"
    )


def _step(ks: list[int]) -> int:
    return max(1, round((max(ks) - min(ks)) / 16))
