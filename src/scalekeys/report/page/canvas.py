"""What figures for print share: style, colours, sheets measured in inches, and writing without dates."""

import io
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

COLUMN, PAGE = 3.4, 7.0
"""Widths of a figure, in inches: one column of a journal, or both."""

DPI = 200
SMALL, TINY = 7, 6
"""Sizes of lettering below the usual 8 points."""

INK, SOFT, LINE, ACCENT = "#1c1e22", "#5a5f68", "#8a8d92", "#c75100"
CREASE = "#6f8093"

DIVERGING = LinearSegmentedColormap.from_list("diverging", ["#1f5fae", "#ffffff", "#b3202c"]).with_extremes(
    bad="#b9b6ae"
)
"""Negative, zero in white, positive; the colours of the page."""

SEQUENTIAL = LinearSegmentedColormap.from_list("sequential", ["#f7f4ea", "#a9c0d6", "#27496d"])
"""Low values are light."""

_STYLE: dict[str, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.edgecolor": SOFT,
    "axes.titlepad": 3,
    "axes.labelpad": 2,
    "text.color": INK,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "lines.linewidth": 1.0,
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.2,
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "pdf.fonttype": 42,
}
_SQUARES, _SEAM = "squares", 0.05
"""Squares have edges in a vector file only, where viewers would show the ground between neighbours."""

_WITHOUT_DATES: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@contextmanager
def style() -> Iterator[None]:
    """Draw and write in the style of the article, whatever the settings of the session, which come back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for name, value in _STYLE.items():
            matplotlib.rcParams[cast("Any", name)] = value
        yield


def file_bytes(figure: Figure, form: str) -> bytes:
    """Return a figure as the bytes of a ``png`` or ``pdf`` file; a function of the figure alone."""
    for squares in figure.findobj(PolyCollection):
        if squares.get_gid() == _SQUARES:
            squares.set(linewidth=_SEAM if form == "pdf" else 0)
    memory = io.BytesIO()
    figure.savefig(memory, format=form, metadata=_WITHOUT_DATES[form])
    return memory.getvalue()


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure with one invisible axes whose unit is an inch, from the upper left corner."""
    figure = Figure(figsize=(width, height), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def grid(
    count: int, columns: int, width: float, panel: float, margins: tuple[float, float, float, float]
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a grid of panels, row by row.

    Parameters
    ----------
    count, columns : int
    width : float
        Of the figure, in inches.
    panel : float
        Height of a panel, in inches.
    margins : tuple of float
        Left, below and above each panel, and below all of them, in inches.
    """
    left, below, above, foot = margins
    rows = -(-count // columns)
    height = rows * (panel + below + above) + foot
    pitch = width / columns
    figure = Figure(figsize=(width, height), dpi=DPI)
    places = [(i % columns, i // columns) for i in range(count)]
    boxes = [
        (
            (column * pitch + left) / width,
            (height - row * (panel + below + above) - above - panel) / height,
            (pitch - left - 0.08) / width,
            panel / height,
        )
        for column, row in places
    ]
    return figure, [figure.add_axes(box) for box in boxes]


def picture(axes: Axes, values: np.ndarray, left: float, top: float, tap: float, limit: float) -> None:
    """Draw a filter on a sheet as squares with a side of `tap` inches; colours run from ``-limit`` to ``limit``."""
    rows, cols = values.shape
    colours = DIVERGING(np.ma.masked_invalid(0.5 + 0.5 * values / limit))
    row, col = np.nonzero(~(np.abs(values) < limit / DIVERGING.N))  # the others show the ground; NaN is drawn
    corners = np.stack([left + tap * col, top + tap * row], axis=-1)[:, None]
    squares = corners + tap * np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
    _squares(axes, squares, colours[row, col])
    axes.add_patch(Rectangle((left, top), tap * cols, tap * rows, fill=False, edgecolor=LINE, linewidth=0.4))


def colour_bar(axes: Axes, left: float, top: float, width: float, labels: Sequence[str]) -> None:
    """Draw the diverging colours as a horizontal bar on a sheet, with a label at its left end, middle and right end."""
    height, steps = 0.08, 64
    edges = np.linspace(left, left + width, steps + 1)
    squares = np.array(
        [[(a, top), (a, top + height), (b, top + height), (b, top)] for a, b in itertools.pairwise(edges)]
    )
    _squares(axes, squares, DIVERGING(np.linspace(0, 1, steps)))
    axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=LINE, linewidth=0.4))
    for place, label in zip((0, 0.5, 1), labels, strict=True):
        axes.text(left + place * width, top + height + 0.03, label, ha="center", va="top", fontsize=SMALL, color=SOFT)


def _squares(axes: Axes, corners: np.ndarray, colours: np.ndarray) -> None:
    collection = PolyCollection(
        list(corners), facecolors=colours, edgecolors="face", linewidths=0, antialiaseds=False, gid=_SQUARES
    )
    axes.add_collection(collection, autolim=False)


def title_of(name: str, family: str) -> str:
    """Name a filter in a figure, with true minus signs.

    Examples
    --------
    >>> title_of("2", "dx-")
    '2  dx−'
    """
    return f"{name}  {family.replace('-', chr(0x2212))}"
