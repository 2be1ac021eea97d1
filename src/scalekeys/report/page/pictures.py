"""Kernels as small pictures: inline SVG whose colours follow the scheme of the page.

A kernel of two axes is a picture, one square a tap; one of three axes is a column of slices; one of one axis is a
profile. In squares zero is the colour of the ground, and positive and negative values are two colours of the
stylesheet, laid over it with an opacity that is proportional to the value. So one picture serves the light and the dark
scheme.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np
from markupsafe import Markup, escape

from scalekeys.report.page.profiles import profile
from scalekeys.report.page.words import significant, size_name
from scalekeys.shapes import size_text

SLICES = 3
"""Slices of a kernel of three axes that are shown at most."""

_WORDS = {
    1: "A kernel of one axis is a line over its taps.",
    3: "A kernel of three axes is shown as slices along z: the first, the middle and the last with energy.",
}
_LEVELS = 100
_FAINT = 0.05  # of the energy of the strongest slice: slices at the ends with less are not shown
_GAP = 0.35  # between two slices, in taps


def filter_picture(
    values: np.ndarray,
    limit: float,
    label: str,
    *,
    slices: Sequence[int] | None = None,
    behind: np.ndarray | None = None,
) -> Markup:
    """Draw a kernel as an SVG picture.

    Parameters
    ----------
    values : array, shape (cols,), (rows, cols) or (slices, rows, cols)
        The kernel; a tap that is not finite is drawn as missing.
    limit : float
        The absolute value that is drawn in full colour, or at full height; larger values are clipped.
    label : str
        What the picture shows; the range of values is added for readers who do not see it.
    slices : sequence of int, optional
        Which slices of a kernel of three axes are shown, from the top; by default :func:`shown_slices`.
    behind : array of the shape of `values`, optional
        Another kernel, drawn faintly behind a profile; pictures and slices leave it out.

    Returns
    -------
    Markup
        An ``<svg>`` element with a text alternative.

    Examples
    --------
    >>> picture = filter_picture(np.array([[1.0, -0.5]]), 1.0, "edge")
    >>> 'aria-label="edge, 1×2, values from −0.5 to 1"' in picture
    True
    """
    if values.ndim == 1:
        return profile(values, limit, _alternative(values, label), behind=behind)
    if values.ndim == 2:
        return _squares([values], limit, _alternative(values, label))
    places = shown_slices(values) if slices is None else slices
    which = f"slices {', '.join(str(place + 1) for place in places)} of {len(values)} along z"
    return _squares([values[place] for place in places], limit, f"{_alternative(values, label)}, {which}")


def pictured(axes: Collection[int]) -> str:
    """Say how kernels with one and with three axes are drawn, where there are any; empty for pictures alone.

    Examples
    --------
    >>> pictured([1, 2]), pictured([2])
    ('A kernel of one axis is a line over its taps.', '')
    """
    return " ".join(text for number, text in _WORDS.items() if number in axes)


def shown_slices(values: np.ndarray) -> list[int]:
    """Return which slices of a kernel of three axes say most: the first, the middle and the last with energy.

    Examples
    --------
    >>> values = np.zeros((7, 3, 3))
    >>> values[2:7] = 1.0
    >>> shown_slices(values), shown_slices(np.zeros((2, 3, 3)))
    ([2, 4, 6], [0, 1])
    """
    energy = np.square(np.nan_to_num(values, posinf=0.0, neginf=0.0)).sum((1, 2))
    strong = np.flatnonzero(energy >= _FAINT * energy.max())
    places = np.linspace(strong[0], strong[-1], SLICES).round().astype(int)
    return [int(place) for place in np.unique(places)]


def common_limit(*pictures: np.ndarray) -> float:
    """Return the largest absolute value of several pictures, so that one range serves them all; 1 without any.

    Examples
    --------
    >>> common_limit(np.array([[0.5, -2.0]]), np.array([[1.0]]))
    2.0
    """
    values = np.concatenate([np.abs(picture).ravel() for picture in pictures])
    values = values[np.isfinite(values)]
    return float(values.max()) if values.size and values.max() > 0 else 1.0


def _squares(slices: Sequence[np.ndarray], limit: float, label: str) -> Markup:
    """Draw slices below each other, a unit square a tap."""
    rows, cols = slices[0].shape
    height = len(slices) * rows + (len(slices) - 1) * _GAP
    inner = "".join(_slice(values, limit, place * (rows + _GAP)) for place, values in enumerate(slices))
    narrow = f' style="width: {100 * cols / rows:.4g}%"' if rows > cols else ""
    return Markup(
        f'<svg class="filter"{narrow} viewBox="0 0 {cols} {height:g}" role="img" aria-label="{escape(label)}" '
        f'shape-rendering="crispEdges">{inner}</svg>'
    )


def _slice(values: np.ndarray, limit: float, top: float) -> str:
    groups: dict[tuple[str, int], list[str]] = defaultdict(list)
    for row, col in np.ndindex(*values.shape):
        key = _ink(float(values[row, col]), limit)
        if key:
            groups[key].append(f"M{col} {top + row:g}h1v1h-1z")
    paths = "".join(
        f'<path class="{sign}" fill-opacity="{level / _LEVELS:g}" d="{"".join(groups[sign, level])}"/>'
        for sign, level in sorted(groups)
    )
    rows, cols = values.shape
    below = f' y="{top:g}"' if top else ""
    return f'<rect class="zero"{below} width="{cols}" height="{rows}"/>{paths}'


def _ink(value: float, limit: float) -> tuple[str, int] | None:
    """Class and opacity level of a tap; None where it shows the ground."""
    if not np.isfinite(value):
        return "missing", _LEVELS
    level = round(_LEVELS * min(abs(value) / limit, 1.0))
    return ("positive" if value > 0 else "negative", level) if level else None


def _alternative(values: np.ndarray, label: str) -> str:
    finite = values[np.isfinite(values)]
    size = size_name(size_text(values.shape))
    size = f"{size} taps" if values.ndim == 1 else size
    if not finite.size:
        return f"{label}, {size}, no finite value"
    return f"{label}, {size}, values from {significant(finite.min())} to {significant(finite.max())}"
