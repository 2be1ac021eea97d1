"""Kernels of one axis as small line plots: inline SVG whose colours follow the scheme of the page."""

import numpy as np
from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 100.0, 62.0
_MARGIN = 5.0  # inside the frame, so that marks are whole
_MOST_MARKS = 40  # taps beyond which a profile is a line without marks


def profile(values: np.ndarray, limit: float, label: str, *, behind: np.ndarray | None = None) -> Markup:
    """Draw a kernel of one axis as a line over its taps, with zero in the middle of the height.

    Parameters
    ----------
    values : array, shape (taps,)
        The kernel; the line is broken at taps that are not finite.
    limit : float
        The absolute value that is drawn at full height; larger values are clipped.
    label : str
        Text alternative.
    behind : array, shape (taps,), optional
        Another kernel that is drawn faintly, to be compared with.

    Returns
    -------
    Markup
        An ``<svg>`` element.

    Examples
    --------
    >>> drawn = profile(np.array([0.0, 1.0, 0.0]), 1.0, "bump")
    >>> drawn.count("<circle"), 'aria-label="bump"' in drawn
    (3, True)
    """
    middle = _HEIGHT / 2
    parts = [
        f'<rect class="zero" width="{_WIDTH:g}" height="{_HEIGHT:g}"/>',
        f'<path class="axis" d="M0 {middle:g}H{_WIDTH:g}"/>',
    ]
    if behind is not None:
        parts.append(f'<path class="behind" d="{_line(behind, limit)}"/>')
    parts.append(f'<path class="line" d="{_line(values, limit)}"/>')
    if len(values) <= _MOST_MARKS:
        parts += [
            f'<circle class="tap" cx="{x:g}" cy="{y:g}" r="2"/>' for x, y in _places(values, limit) if np.isfinite(y)
        ]
    return Markup(
        f'<svg class="filter profile" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )


def _places(values: np.ndarray, limit: float) -> list[tuple[float, float]]:
    """Return where each tap stands; not finite where its value is not."""
    across = np.linspace(_MARGIN, _WIDTH - _MARGIN, len(values)) if len(values) > 1 else np.array([_WIDTH / 2])
    heights = np.where(np.isfinite(values), np.clip(values / limit, -1, 1), np.nan)
    down = _HEIGHT / 2 - (_HEIGHT / 2 - _MARGIN) * heights
    return [(round(float(x), 2), round(float(y), 2)) for x, y in zip(across, down, strict=True)]


def _line(values: np.ndarray, limit: float) -> str:
    pieces, pen = [], "M"
    for x, y in _places(values, limit):
        if not np.isfinite(y):
            pen = "M"
            continue
        pieces.append(f"{pen}{x:g} {y:g}")
        pen = "L"
    return "".join(pieces)
