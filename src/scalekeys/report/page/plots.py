"""What all figures share: layout, axes, traces, texts and lines.

Figures are plain dicts in the part of the vocabulary of plotly that ``plots.js`` draws. Colours are names of the
stylesheet, so that the script of the page can draw the same figure in the light and in the dark scheme.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from scalekeys.report.page.families import COLOURS

_SYMBOLS = ("circle", "diamond-tall", "square", "triangle-up", "diamond-wide", "triangle-down")
_TOUCHING = 8  # bars of this height or less have no gap between them


def place_colour(place: int) -> str:
    """Return the colour of the thing at a place; beyond the colours of the stylesheet they begin again.

    Examples
    --------
    >>> place_colour(0), place_colour(COLOURS)
    ('var(--family-1)', 'var(--family-1)')
    """
    return f"var(--family-{place % COLOURS + 1})"


def place_symbol(place: int) -> str:
    """Return the mark of the thing at a place; beyond the last one they begin again."""
    return _SYMBOLS[place % len(_SYMBOLS)]


def base_layout(**entries: Any) -> dict[str, Any]:
    """Return a layout with the usual margins, and further entries."""
    return {"margin": {"l": 52, "r": 12, "t": 12, "b": 44}, **entries}


def axis(title: str = "", **entries: Any) -> dict[str, Any]:
    """Return an axis with a title and further entries."""
    return {"title": title, **entries}


def row_axis(rows: int, ticks: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """Return an axis of so many rows from the top, some of them labelled."""
    return axis(range=[rows - 0.5, -0.5], tickvals=list(ticks), ticktext=list(labels), showgrid=False)


def shares_layout(rows: int, row: float, ticks: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """Return the layout of stacked bars of shares, one for each row from the top.

    Parameters
    ----------
    rows : int
    row : float
        Height of a row in pixels.
    ticks, labels : sequence
        The rows with a label.
    """
    return base_layout(
        barmode="stack",
        bargap=0.18 if row > _TOUCHING else 0,
        height=round(row * rows) + 48,
        margin={"l": 8, "r": 24, "t": 34, "b": 8},
        xaxis=axis(
            range=[0, 1],
            tickvals=[0, 0.25, 0.5, 0.75, 1],
            tickformat=".0%",
            side="top",
            ticks="outside",
            showgrid=False,
        ),
        yaxis=row_axis(rows, ticks, labels),
    )


def row_bars(
    name: str, shares: Iterable[float], rows: Iterable[int], colour: str, hover: Iterable[str]
) -> dict[str, Any]:
    """Return the bars of one thing in the rows of :func:`shares_layout`."""
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": rounded(shares, 5),
        "y": list(rows),
        "marker": {"color": colour},
        "hovertext": list(hover),
    }


def curve(
    x: Iterable[float],
    y: Iterable[float | None],
    colour: str,
    hover: Iterable[str],
    *,
    symbol: str = "circle",
    size: int = 8,
) -> dict[str, Any]:
    """Return marks that a line joins; there is no mark where a value is None."""
    return {
        "mode": "lines+markers",
        "x": list(x),
        "y": rounded(y, 5),
        "line": {"color": colour, "width": 1.5},
        "marker": {"size": size, "color": colour, "symbol": symbol},
        "hovertext": list(hover),
    }


def rounded(values: Iterable[float | None], digits: int) -> list[float | None]:
    """Round numbers for the data of a figure; None stays.

    Examples
    --------
    >>> rounded([0.123456, None], 4)
    [0.1235, None]
    """
    return [None if value is None else round(value, digits) for value in values]


def panel_title(top: float, text: str) -> dict[str, Any]:
    """Return a text above a panel whose upper edge is at a height of the figure, for the annotations of a layout."""
    return {"text": text, "x": 0, "y": top, "yshift": 3}


def key(sign: str, colour: str, text: str) -> str:
    """Return an entry of a legend inside a text of a plot: a sign in a colour of the stylesheet, and words."""
    return f'<span style="color:var(--{colour})">{sign}</span> {text}    '


def line(x: tuple[float, float], y: tuple[float, float], **entries: Any) -> dict[str, Any]:
    """Return a straight line, for the shapes of a layout."""
    return {"type": "line", "x0": x[0], "x1": x[1], "y0": y[0], "y1": y[1], "layer": "below", **entries}


def level(height: float, *, colour: str = "muted", width: float = 1) -> dict[str, Any]:
    """Return a dashed line at a height across a panel, for the shapes of a layout."""
    style = {"color": f"var(--{colour})", "width": width, "dash": "dash"}
    return line((0, 1), (height, height), line=style, xref="x domain")
