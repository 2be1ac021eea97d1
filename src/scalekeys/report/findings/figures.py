"""The figures of the findings, as files."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from scalekeys.fitting.formation import WORDS
from scalekeys.report.findings.finding import Plate
from scalekeys.report.page import canvas

Row = Mapping[str, Any]

WIDTH = canvas.PAGE
_COLOURS = ("#27496d", "#c75100", "#3f8f5f", "#8a5fa8")
_NOISE = "#9aa0a8"
_MARGINS = (0.5, 0.42, 0.2, 0.0)


def plate(
    width: float,
    height: float,
    draw: Callable[[Axes], None],
    alternative: str,
    *,
    margins: tuple[float, float, float, float] = _MARGINS,
    framed: bool = False,
) -> Plate:
    """Draw into one panel, with a line all around it or none above and to the right, and return the file."""
    with canvas.style():
        figure, (axes,) = canvas.grid(1, 1, width, height, margins)
        draw(axes)
        if not framed:
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        return Plate(canvas.file_bytes(figure, "png"), alternative)


def beside_matched(rows: Sequence[Row], measure: str, classes: Sequence[tuple[str, float, float]]) -> Plate:
    """Show the value of each network beside that of matched noise; on the diagonal they are equal."""

    def draw(axes: Axes) -> None:
        columns = ("value", "matched", "white")
        values = np.array([[row[column] for column in columns] for row in rows], dtype=float)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        room = 0.04 * (high - low) or 0.05
        ends = (low - room, high + room)
        axes.plot(ends, ends, color=canvas.LINE, linewidth=0.6, zorder=1)
        axes.plot(values[:, 1], values[:, 2], "x", markersize=3, color=_NOISE, label="white noise", zorder=2)
        for (name, least, most), colour in zip(classes, _COLOURS, strict=False):
            some = np.array([least <= row["taps"] <= most for row in rows])
            if some.any():
                axes.plot(values[some, 1], values[some, 0], "o", markersize=3.5, alpha=0.8, color=colour, label=name)
        axes.set(
            xlim=ends, ylim=ends, xlabel="matched noise in the place of the filters of a network", ylabel="filters"
        )
        axes.legend(loc="best")

    alternative = (
        f"{measure.rstrip(',')}: a point a network, at the value of matched noise (across) and of filters (up)."
    )
    return plate(4.2, 3.0, draw, alternative)


def formation(rows: Sequence[Row]) -> Plate:
    """Show the formation of all networks in order, with intervals and the standing beside matched noise."""

    def draw(axes: Axes) -> None:
        for word, colour in zip(reversed(WORDS), (*_COLOURS[:3], "#b3202c"), strict=True):
            some = [(place, row) for place, row in enumerate(rows) if row["formation_word"] == word]
            if some:
                at = [place for place, _ in some]
                value, low, high = (
                    np.array([row[f"formation{end}"] for _, row in some]) for end in ("", "_low", "_high")
                )
                reach = np.maximum(np.stack([value - low, high - value]), 0)
                axes.errorbar(at, value, reach, fmt="o", markersize=3, elinewidth=0.6, color=colour, label=word)
        matched = [row["beyond_matched_noise"] for row in rows]
        axes.plot(range(len(rows)), matched, "_", markersize=4, color=canvas.SOFT, label="beside matched noise")
        axes.axhline(0, color=canvas.LINE, linewidth=0.6)
        axes.set(xlabel="networks, in order", ylabel="formation", ylim=(-0.35, 1.05), xlim=(-1, len(rows)))
        axes.legend(loc="upper left", ncols=3)

    return plate(
        WIDTH, 2.6, draw, "Formation of each network with its interval, in order; dashes: beside matched noise."
    )


def shares(rows: Sequence[tuple[str, float]], label: str, alternative: str) -> Plate:
    """Show shares as bars with their names."""

    def draw(axes: Axes) -> None:
        names, values = zip(*rows, strict=True)
        places = np.arange(len(rows))
        axes.barh(places, values, color=_COLOURS[0], height=0.7)
        axes.set_yticks(places, names)
        axes.set(xlim=(0, 1), xlabel=label)
        axes.invert_yaxis()

    height = 0.17 * len(rows) + 0.2
    return plate(WIDTH, height, draw, alternative, margins=(2.3, 0.42, 0.1, 0.0))


def histogram(counts: Sequence[Row], step: float, label: str, alternative: str) -> Plate:
    """Show the distributions of a quantity of filters and of noise as outlines of equal area."""

    def draw(axes: Axes) -> None:
        styles = (("trained", _COLOURS[0], 1.4), ("matched", _COLOURS[1], 1.0), ("white", _NOISE, 1.0))
        for what, colour, width in styles:
            some = [row for row in counts if row["what"] == what]
            if not some:
                continue
            edges = np.array([row["distance"] for row in some])
            share = np.array([row["filters"] for row in some], dtype=float)
            grid = np.arange(round(edges.min() / step), round(edges.max() / step) + 2) * step
            heights = np.zeros(len(grid) - 1)
            heights[np.round((edges - grid[0]) / step).astype(int)] = share / share.sum()
            name = "trained filters" if what == "trained" else f"{what} noise"
            axes.stairs(heights, grid, color=colour, linewidth=width, label=name)
        axes.axvline(0.5, color=canvas.LINE, linewidth=0.6, linestyle=":")
        axes.set(xlabel=label, ylabel=f"share in steps of {step}", xlim=(-1, 1.5))
        axes.legend(loc="upper left")

    return plate(WIDTH, 2.4, draw, alternative)


def key_curves(rows: Sequence[Row]) -> Plate:
    """Show how much keys explain by their number: means over networks, by kernel, beside noise."""

    def draw(axes: Axes) -> None:
        axes.set_position((0.07, 0.14, 0.68, 0.82))
        kernels = [kernel for kernel in ("7x7", "5x5", "3x3") if any(row["kernel"] == kernel for row in rows)]
        for kernel, colour in zip(kernels, _COLOURS, strict=False):
            some = [row for row in rows if row["kernel"] == kernel]
            numbers = sorted({row["k"] for row in some})
            for column, style in (("explained", "o-"), ("matched_noise", "--"), ("white_noise", ":")):
                means = [np.mean([row[column] for row in some if row["k"] == number]) for number in numbers]
                label = f"{kernel}, {column.replace('_', ' ')}"
                axes.plot(numbers, means, style, markersize=3, color=colour, label=label)
        axes.set(xscale="log", ylim=(0, 1), xlabel="keys", ylabel="share of the energy")
        axes.set_xticks(sorted({row["k"] for row in rows}), labels=[str(k) for k in sorted({row["k"] for row in rows})])
        axes.minorticks_off()
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    alternative = "How much keys explain by their number, for filters and both kinds of noise."
    return plate(WIDTH, 2.8, draw, alternative, margins=(0.5, 0.42, 0.1, 0.0), framed=True)


def key_shares(rows: Sequence[Row]) -> Plate:
    """Show how much keys of other tasks explain of each task and kernel, beside the keys of the task and of noise."""
    marks = (
        ("own", "o", _COLOURS[2], "keys of the task"),
        ("held_out", "o", _COLOURS[0], "keys of the other tasks"),
        ("matched_noise", "|", _COLOURS[1], "keys of matched noise of the other tasks"),
        ("published", "x", canvas.INK, "published keys"),
        ("white_noise", "|", _NOISE, "keys of white noise"),
    )

    def draw(axes: Axes) -> None:
        for column, mark, colour, label in marks:
            values = [row[column] for row in rows]
            axes.plot(values, range(len(rows)), mark, markersize=4, color=colour, label=label)
        axes.set_yticks(range(len(rows)), [f"{row['group']}, {row['kernel']}" for row in rows])
        axes.set(xlim=(0, 1), xlabel="share of the energy that eight keys explain")
        axes.invert_yaxis()
        axes.legend(loc="lower left", bbox_to_anchor=(-0.3, 1.0), ncols=3)

    height = 0.17 * len(rows) + 0.5
    alternative = "What eight keys explain of the filters of each task, by where they were found."
    return plate(WIDTH, height, draw, alternative, margins=(2.3, 0.42, 0.4, 0.0), framed=True)


def correlations(rows: Sequence[str], columns: Sequence[str], values: np.ndarray, alternative: str) -> Plate:
    """Show a table of correlations in colour, with its numbers."""

    def draw(axes: Axes) -> None:
        axes.imshow(values, cmap=canvas.DIVERGING, vmin=-1, vmax=1, aspect="auto")
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xticks(range(len(columns)), [name.replace(" ", "\n", 1) for name in columns])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                text = f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
                colour = "white" if abs(value) > 0.7 else canvas.INK
                axes.text(column, row, text, ha="center", va="center", fontsize=canvas.SMALL, color=colour)

    return plate(WIDTH, 0.22 * len(rows), draw, alternative, margins=(2.3, 0.1, 0.5, 0.0), framed=True)
