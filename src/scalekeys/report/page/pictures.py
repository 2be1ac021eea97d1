"""Filters as small pictures: inline SVG whose colours follow the scheme of the page.

Zero is the colour of the picture's ground; positive and negative values are two colours of the stylesheet, laid over it
with an opacity that is proportional to the value. So one picture serves the light and the dark scheme.
"""

from collections import defaultdict

import numpy as np
from markupsafe import Markup, escape

from scalekeys.report.page.words import significant, size_name

_LEVELS = 100


def filter_picture(values: np.ndarray, limit: float, label: str) -> Markup:
    """Draw a filter as an SVG picture, one unit square a tap.

    Parameters
    ----------
    values : array, shape (rows, cols)
        The filter; a tap that is not finite is drawn as missing.
    limit : float
        The absolute value that is drawn in full colour; larger values are clipped.
    label : str
        What the picture shows; the range of values is added for readers who do not see it.

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
    rows, cols = values.shape
    groups: dict[tuple[str, int], list[str]] = defaultdict(list)
    for row, col in np.ndindex(rows, cols):
        key = _ink(float(values[row, col]), limit)
        if key:
            groups[key].append(f"M{col} {row}h1v1h-1z")
    paths = "".join(
        f'<path class="{sign}" fill-opacity="{level / _LEVELS:g}" d="{"".join(groups[sign, level])}"/>'
        for sign, level in sorted(groups)
    )
    alternative = escape(_alternative(values, label))
    narrow = f' style="width: {100 * cols / rows:.4g}%"' if rows > cols else ""
    return Markup(
        f'<svg class="filter"{narrow} viewBox="0 0 {cols} {rows}" role="img" aria-label="{alternative}" '
        f'shape-rendering="crispEdges"><rect class="zero" width="{cols}" height="{rows}"/>{paths}</svg>'
    )


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


def _ink(value: float, limit: float) -> tuple[str, int] | None:
    """Class and opacity level of a tap; None where it shows the ground."""
    if not np.isfinite(value):
        return "missing", _LEVELS
    level = round(_LEVELS * min(abs(value) / limit, 1.0))
    return ("positive" if value > 0 else "negative", level) if level else None


def _alternative(values: np.ndarray, label: str) -> str:
    finite = values[np.isfinite(values)]
    size = size_name(f"{values.shape[0]}x{values.shape[1]}")
    if not finite.size:
        return f"{label}, {size}, no finite value"
    return f"{label}, {size}, values from {significant(finite.min())} to {significant(finite.max())}"
