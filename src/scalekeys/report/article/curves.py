"""Figures of functions: objectives of the DC offset and of the scales, and what richer models explain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from scalekeys.paper import RICHER_MODELS, offset_curve
from scalekeys.paper.curves import norm_at
from scalekeys.report.article.measures import Material
from scalekeys.report.article.panels import SHOWN
from scalekeys.report.article.tables import model_words
from scalekeys.report.page import canvas
from scalekeys.report.page.canvas import COLUMN, INK, LINE, PAGE, SOFT, grid, title_of
from scalekeys.report.page.words import number

MARKED = "published"
"""Identifier of every mark of a published value."""

_PUBLISHED = "#b3202c"
_POINTS = 41
_LEVELS = 13
_SIGMA = r"$\sigma$"
_ALPHA = r"$\alpha$"
_SYMBOLS = ("o", "s", "D", "^")
_SHIFTS = (-0.24, -0.08, 0.08, 0.24)
_COLOURS = ("#c75100", "#7f9bb9", "#27496d", "#799b89")


def dc_offset(material: Material) -> Figure | None:
    """Draw the objective of the DC offset around its minimum, or nothing without a smoothing or sharpening filter."""
    study, indices = material.study, material.smoothing[:SHOWN]
    if not indices:
        return None
    columns = min(len(indices), 2)
    figure, panels = grid(len(indices), columns, columns * PAGE / 2, 1.6, (0.5, 0.34, 0.2, 0.22))
    for axes, index in zip(panels, indices, strict=True):
        curve = offset_curve(study, index)
        axes.plot(curve.offsets.numpy(), curve.values.numpy(), color=INK, lw=0.9)
        axes.plot(curve.kinks.numpy(), curve.kink_values.numpy(), ls="", marker=".", ms=3.5, mew=0, color=LINE)
        name = study.names[index]
        best = study.dc_offset[name]
        lowest = float(np.interp(best, curve.offsets.numpy(), curve.values.numpy()))
        known = material.published.get(("DC offset", name, "C"))
        if known:
            axes.axvline(known.published, color=_PUBLISHED, lw=0.9, ls=(0, (4, 2)), gid=MARKED)
        axes.plot([best], [lowest], marker="o", ms=4.5, mfc="white", mec=INK, mew=1.0, ls="")
        axes.set_title(title_of(name, study.families[index]), loc="left")
        axes.set_xlabel(r"offset $C$")
        axes.set_ylabel(r"$\sqrt{\det\,V(|h-C|)}$")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(5))
    handles = [
        Line2D([], [], label="minimum", **_style("o", INK)),
        Line2D([], [], label="kinks, at the values of the filter", **_style(".", LINE, fill=LINE)),
    ]
    if material.study.published:
        handles.append(Line2D([], [], color=_PUBLISHED, lw=0.9, ls=(0, (4, 2)), label="published"))
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), borderaxespad=0.2)
    return figure


@dataclass(frozen=True)
class _Mark:
    x: float
    y: float
    kind: str


def _style(symbol: str, colour: str, *, size: float = 4.5, fill: str = "white") -> dict[str, Any]:
    return {"ls": "", "marker": symbol, "ms": size, "mfc": fill, "mec": colour, "mew": 1.0}


_KINDS = {
    "minimum": ("minimum", _style("o", INK)),
    "common": ("minimum with one scale for both axes", _style("D", canvas.ACCENT, size=6.0, fill="none")),
    "published": ("published", _style("x", _PUBLISHED)),
}
"""What each kind of mark of a surface is called in the legend, and how it is drawn."""


def surfaces(material: Material, norm: int) -> Figure:
    """Draw the norm of K - N of each filter over its two parameters, with the minima and the published values."""
    study = material.study
    count = min(len(study.names), SHOWN)
    columns = min(count, 4)
    width = PAGE if columns > 2 else columns * PAGE / 2 if columns > 1 else COLUMN
    side = min(width / columns - 0.48, 2.4)
    figure, panels = grid(count, columns, width, side, (0.4, 0.36, 0.22, 0.22))
    drawn = set()
    for index, axes in enumerate(panels):
        marks = _marks(material, index, norm)
        _surface(material, index, norm, axes, marks)
        drawn |= {mark.kind for mark in marks}
    handles = [Line2D([], [], label=label, **style) for kind, (label, style) in _KINDS.items() if kind in drawn]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), borderaxespad=0.2)
    return figure


def richer(material: Material) -> Figure:
    """Draw the share of energy that each richer model explains, a row of dots for each filter."""
    study = material.study
    count = min(len(study.names), SHOWN)
    height = 0.78 + 0.22 * count
    figure = Figure(figsize=(COLUMN, height))
    axes = figure.add_axes((0.56 / COLUMN, 0.36 / height, (COLUMN - 0.68) / COLUMN, 0.22 * count / height))
    rows = np.arange(count)
    lowest = 1.0
    for (model, numbers), symbol, colour, shift in zip(RICHER_MODELS.items(), _SYMBOLS, _COLOURS, _SHIFTS, strict=True):
        values = study.richer[model].r2[:count].numpy()
        lowest = min(lowest, float(np.nanmin(values, initial=1.0)))
        axes.plot(
            values, rows + shift, ls="", marker=symbol, ms=3.8, mfc=colour if symbol != "o" else "white", mec=colour,
            mew=1.0, label=f"{model_words(model)} ({numbers})", clip_on=False, zorder=3,
        )  # fmt: skip
    axes.hlines(rows, 0, 1, color="#e3e0d8", lw=0.6, zorder=0)
    axes.set_yticks(rows, [title_of(study.names[i], study.families[i]) for i in rows])
    axes.set(ylim=(count - 0.4, -0.6), xlim=(max(np.floor(lowest * 20 - 0.5) / 20, 0.0), 1.0))
    axes.set_xlabel(r"$r^2$")
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="upper center", ncols=2, borderaxespad=0.3)
    return figure


def _marks(material: Material, index: int, norm: int) -> list[_Mark]:
    """Return the minima and the published value of a filter in the plane of its parameters."""
    study, name = material.study, material.study.names[index]
    criterion = f"l{norm}"
    letter = "C" if norm == 1 else "D"
    best, common = (study.fits["published", f"{letter}{number}"] for number in (1, 2))
    x, y = best.sigma[index].tolist()
    if index in material.sharpening:
        marks = [_Mark(x, float(best.alpha[index]), "minimum")]
        sigma = material.published.get((f"sharpening, {criterion}", name, "sigma"))
        alpha = material.published.get((f"sharpening, {criterion}", name, "alpha"))
        if sigma and alpha:
            marks.append(_Mark(sigma.published, alpha.published, "published"))
        return marks
    both = float(common.sigma[index, 0])
    marks = [_Mark(x, y, "minimum"), _Mark(both, both, "common")]
    known = material.published.get((f"scales, {criterion}, common", name, "sigma"))
    return [*marks, _Mark(known.published, known.published, "published")] if known else marks


def _surface(material: Material, index: int, norm: int, axes: Axes, marks: Sequence[_Mark]) -> None:
    study = material.study
    strength = index in material.sharpening
    across = [mark.x for mark in marks] + ([] if strength else [mark.y for mark in marks])
    wide = min(max(1.2, 1.5 * float(np.nanmax(across))), 1.06 * max(study.size))
    high = max(1.2, 1.5 * max(mark.y for mark in marks)) if strength else wide
    x, y = (torch.linspace(0, limit, _POINTS, dtype=torch.float64) for limit in (wide, high))
    values = norm_at(study, index, x, y[:, None], norm).numpy()
    lowest, highest = float(values.min()), float(values.max())
    if lowest < highest:
        levels = lowest + (highest - lowest) * np.linspace(0, 1, _LEVELS) ** 2
        filled = axes.contourf(
            x, y, values, levels=levels, cmap=canvas.SEQUENTIAL, norm="linear", vmin=lowest, vmax=levels[-3]
        )
        filled.set(edgecolor=canvas.CREASE, linewidth=0.25)
    if not strength:
        axes.plot([0, wide], [0, wide], color=SOFT, lw=0.5, ls=":")
    for mark in marks:
        gid = MARKED if mark.kind == "published" else None
        axes.plot([mark.x], [mark.y], clip_on=False, zorder=4, gid=gid, **_KINDS[mark.kind][1])
    axes.set(xlim=(0, wide), ylim=(0, high))
    axes.set_title(title_of(study.names[index], study.families[index]), loc="left")
    best = float(study.objective("C1" if norm == 1 else "D1")[index])
    axes.set_title(number(best, 3), loc="right", fontsize=canvas.SMALL, color=SOFT)
    axes.set_xlabel(_SIGMA if strength else r"$\sigma_x$")
    axes.set_ylabel(_ALPHA if strength else r"$\sigma_y$")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_locator(MaxNLocator(4))
