"""Figures made of small pictures: the filters, and their models and residuals by method."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalekeys.report.article.measures import METHOD, Material
from scalekeys.report.page.canvas import COLUMN, PAGE, SMALL, SOFT, TINY, colour_bar, picture, sheet, title_of
from scalekeys.report.page.pictures import common_limit
from scalekeys.report.page.words import ALPHA, SIGMA, number, significant

SHOWN = 24
"""How many filters a figure shows at most."""

_GAP = 0.1


def filters(material: Material) -> Figure:
    """Draw the filters in one range of colours."""
    study = material.study
    values = study.filters[:SHOWN].numpy()
    columns = min(len(values), 8 if len(values) % 8 in (0, 7) else 6)
    width = PAGE if columns > 3 else COLUMN
    side = min((width - 0.2) / columns - _GAP, 1.2)
    tap = side / max(study.size)
    pitch = tap * study.size[0] + 0.28
    rows = -(-len(values) // columns)
    figure, axes = sheet(width, rows * pitch + 0.42)
    limit = common_limit(values)
    start = (width - columns * (side + _GAP) + _GAP) / 2 + (side - tap * study.size[1]) / 2
    for i, one in enumerate(values):
        left, top = start + (i % columns) * (side + _GAP), i // columns * pitch + 0.22
        axes.text(left, top - 0.04, title_of(study.names[i], study.families[i]), va="bottom")
        picture(axes, one, left, top, tap, limit)
    _bar(axes, width, rows * pitch + 0.14, (f"\N{MINUS SIGN}{significant(limit)}", "0", significant(limit)))
    return figure


def models(material: Material, methods: Sequence[str]) -> Figure:
    """Draw each normalised filter and beside it its models by several methods, in one range of colours a row."""
    target = material.normalised
    columns = [("N", target), *((method, material.models(method)) for method in methods)]

    def note(column: int, index: int) -> str:
        return _scales(material, methods[column - 1], index) if column else ""

    return _rows(material, columns, note)


def residuals(material: Material, methods: Sequence[str]) -> Figure:
    """Draw what each method leaves, K - N, in one range of colours a row."""
    columns = [(method, material.models(method) - material.normalised) for method in methods]
    relative = [material.study.relative_error(method).tolist() for method in methods]
    return _rows(material, columns, lambda column, index: number(relative[column][index], 3))


def _rows(material: Material, columns: Sequence[tuple[str, np.ndarray]], note: Callable[[int, int], str]) -> Figure:
    """Draw a row of pictures for each filter, with a line of numbers under each picture."""
    study = material.study
    count = min(len(study.names), SHOWN)
    label, margin, head, foot = 0.55, 0.5, 0.22, 0.36
    side = min((PAGE - label - margin) / len(columns) - _GAP, 0.82 if count <= 6 else 0.74)
    tap = side / max(study.size)
    height = tap * study.size[0]
    pitch = height + 0.2
    width = label + len(columns) * (side + _GAP) + margin
    figure, axes = sheet(width, head + count * pitch + foot)
    inset = (side - tap * study.size[1]) / 2
    for column, (name, _) in enumerate(columns):
        axes.text(label + column * (side + _GAP) + side / 2, head - 0.06, name, ha="center", va="bottom")
    for i in range(count):
        top = head + i * pitch
        limit = common_limit(*(values[i] for _, values in columns))
        axes.text(label - 0.1, top + height / 2, study.names[i], ha="right", va="bottom")
        family = study.families[i].replace("-", "\N{MINUS SIGN}")
        axes.text(label - 0.1, top + height / 2 + 0.02, family, ha="right", va="top", fontsize=SMALL)
        for column, (_, values) in enumerate(columns):
            left = label + column * (side + _GAP)
            picture(axes, values[i], left + inset, top, tap, limit)
            axes.text(
                left + side / 2, top + height + 0.02, note(column, i), ha="center", va="top", fontsize=TINY, color=SOFT
            )
        end = label + len(columns) * (side + _GAP)
        axes.text(end, top + height / 2, f"±{significant(limit)}", va="center", fontsize=SMALL, color=SOFT)
    _bar(axes, width, head + count * pitch + 0.06, ("\N{MINUS SIGN}range", "0", "range"))
    return figure


def _bar(axes: Axes, width: float, top: float, labels: Sequence[str]) -> None:
    colour_bar(axes, width / 2 - 0.8, top, 1.6, labels)


def _scales(material: Material, method: str, index: int) -> str:
    """Write the parameters of a model: its scale or scales, and its strength."""
    result = material.study.fits["published", method]
    x, y = result.sigma[index].tolist()
    if index in material.sharpening:
        return f"{SIGMA} {number(x)}, {ALPHA} {number(float(result.alpha[index]))}"
    return f"{number(x)}, {number(y)}" if METHOD[method].scales == "per-axis" else number(x)
