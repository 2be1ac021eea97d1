"""What all figures share: layout, axes, texts and lines.

Figures are plain dicts in the vocabulary of plotly. Colours are names of the stylesheet, so that the script of the page
can draw the same figure in the light and in the dark scheme.
"""

from collections.abc import Sequence
from typing import Any

from scalekeys.report.page.families import COLOURS

_TOUCHING = 8  # bars of this height or less have no gap between them


def place_colour(place: int) -> str:
    """Return the colour of the thing at a place; beyond the colours of the stylesheet they begin again.

    Examples
    --------
    >>> place_colour(0), place_colour(COLOURS)
    ('var(--family-1)', 'var(--family-1)')
    """
    return f"var(--family-{place % COLOURS + 1})"


def base_layout(**entries: Any) -> dict[str, Any]:
    """Return a layout in the style of the page, with further entries."""
    return {
        "paper_bgcolor": "var(--surface)",
        "plot_bgcolor": "var(--surface)",
        "font": {"family": "var(--sans)", "size": 12, "color": "var(--text)"},
        "hoverlabel": {
            "bgcolor": "var(--raised)",
            "bordercolor": "var(--line)",
            "font": {"family": "var(--sans)", "size": 12, "color": "var(--text)"},
            "align": "left",
        },
        "hovermode": "closest",
        "showlegend": False,
        "margin": {"l": 52, "r": 12, "t": 12, "b": 44},
        **entries,
    }


def axis(title: str = "", **entries: Any) -> dict[str, Any]:
    """Return an axis in the style of the page, with further entries."""
    return {
        "title": {"text": title, "font": {"size": 12, "color": "var(--muted)"}, "standoff": 8},
        "tickfont": {"size": 11, "color": "var(--muted)"},
        "gridcolor": "var(--grid)",
        "linecolor": "var(--line)",
        "zeroline": False,
        "automargin": True,
        **entries,
    }


def row_axis(rows: int, ticks: Sequence[int], labels: Sequence[str]) -> dict[str, Any]:
    """Return an axis of so many rows from the top, some of them labelled."""
    return axis(range=[rows - 0.5, -0.5], tickvals=list(ticks), ticktext=list(labels), showgrid=False, fixedrange=True)


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
            fixedrange=True,
        ),
        yaxis=row_axis(rows, ticks, labels),
    )


def panel_title(top: float, text: str) -> dict[str, Any]:
    """Return a text above a panel whose upper edge is at a height of the figure, for the annotations of a layout."""
    return {
        "text": text,
        "showarrow": False,
        "font": {"size": 12, "color": "var(--text)"},
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": top,
        "yshift": 3,
        "xanchor": "left",
        "yanchor": "bottom",
    }


def key(sign: str, colour: str, text: str) -> str:
    """Return an entry of a legend inside a text of a plot: a sign in a colour of the stylesheet, and words."""
    return f'<span style="color:var(--{colour})">{sign}</span> {text}    '


def line(x: tuple[float, float], y: tuple[float, float], **entries: Any) -> dict[str, Any]:
    """Return a straight line, for the shapes of a layout."""
    return {"type": "line", "x0": x[0], "x1": x[1], "y0": y[0], "y1": y[1], "layer": "below", **entries}
