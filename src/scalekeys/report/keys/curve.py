"""The figure of the number of keys: what each number explains against both kinds of noise, and how stable it is."""

from typing import Any

from scalekeys.clustering import FOUND_AGAIN
from scalekeys.report.keys.summary import CurvePoint, KeysSummary
from scalekeys.report.page import Figure
from scalekeys.report.page.plots import axis, base_layout, curve, key, level, line, panel_title
from scalekeys.report.page.words import number, percent


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
