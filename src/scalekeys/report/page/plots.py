"""What all figures share: layout, axes, and the colours and symbols of the families.

Figures are plain dicts in the vocabulary of plotly. Colours are names of the stylesheet, so that the script of the page
can draw the same figure in the light and in the dark scheme.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from scalekeys.scalespace import FAMILIES

COLOURS = 17
"""How many family colours the stylesheet has; beyond them, families share one."""

_TOUCHING = 8  # bars of this height or less have no gap between them
_SYMBOLS = {
    ("x", "forward"): "triangle-right",
    ("x", "backward"): "triangle-left",
    ("x", "central"): "diamond-wide",
    ("y", "forward"): "triangle-up",
    ("y", "backward"): "triangle-down",
    ("y", "central"): "diamond-tall",
}


def family_colour(name: str) -> str:
    """Return the colour of a family: its place among the families says which.

    Examples
    --------
    >>> family_colour("dy+"), family_colour("smooth")
    ('var(--family-1)', 'var(--family-8)')
    """
    return f"var(--family-{min(list(FAMILIES).index(name) + 1, COLOURS)})"


def place_colour(place: int) -> str:
    """Return the colour of the thing at a place; beyond the colours of the stylesheet they begin again.

    Examples
    --------
    >>> place_colour(0), place_colour(COLOURS)
    ('var(--family-1)', 'var(--family-1)')
    """
    return f"var(--family-{place % COLOURS + 1})"


def family_symbol(name: str) -> str:
    """Return the marker of a family: a triangle points to the neighbour that a one-sided difference looks at.

    Examples
    --------
    >>> family_symbol("dx-"), family_symbol("sharpen"), family_symbol("smooth")
    ('triangle-left', 'square', 'circle')
    """
    family = FAMILIES[name]
    if family.has_alpha:
        return "square"
    if family.is_jet:
        return "star"
    term = family.terms[0]
    return _SYMBOLS.get(("x", term.x)) or _SYMBOLS.get(("y", term.y)) or "circle"


def by_kind(families: Iterable[str]) -> list[str]:
    """Order families so that related ones are neighbours: smoothing, sharpening, differences in x, then in y.

    Examples
    --------
    >>> by_kind(["dy+", "dx", "smooth", "sharpen"])
    ['smooth', 'sharpen', 'dx', 'dy+']
    """

    def kind(name: str) -> int:
        along = FAMILIES[name].differentiates("x"), FAMILIES[name].differentiates("y")
        return {(False, False): 0, (True, True): 1, (True, False): 2, (False, True): 3}[along]

    return sorted(families, key=kind)


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
