"""The figures of the scales of single filters: two axes against each other, and one axis by itself."""

from typing import Any

import numpy as np

from scalekeys.report.analysis.view import Analysis
from scalekeys.report.page import Figure
from scalekeys.report.page.families import by_kind, family_colour, family_symbol
from scalekeys.report.page.numbers import evenly_spaced
from scalekeys.report.page.plots import axis, base_layout, line
from scalekeys.report.page.scale_axis import ScaleAxis
from scalekeys.report.page.words import AXES, SIGMA, number, plot_text, plural, size_words, unit_of

MAX_POINTS = 4000
"""Points that the scatter plot shows at most; beyond it an evenly spaced subset of the filters is drawn."""

BINS = 32
"""Bins of the histogram of the scales of filters that have one."""

_HOVER_WIDTH = 38


def scale_scatter(analysis: Analysis, first: int = 0, second: int = 1) -> tuple[Figure, int, int]:
    """Draw the scales along two axes against each other, one marker a filter.

    Parameters
    ----------
    analysis : Analysis
    first, second : int
        Numbers of the axes (0 for x, 1 for y, 2 for z), to the right and upwards.

    Returns
    -------
    figure : Figure
    eligible, shown : int
        How many filters have a scale along both axes, and how many of them are drawn.
    """
    eligible = np.flatnonzero(analysis.fitted & ~np.isnan(analysis.sigma[:, [first, second]]).any(1))
    shown = eligible[evenly_spaced(len(eligible), MAX_POINTS)]
    spaced = ScaleAxis.of(analysis.sigma[shown][:, [first, second]])
    families = analysis.fit.family[shown]
    style = {"size": 7, "opacity": 0.6} if len(shown) > 500 else {"size": 10, "opacity": 0.85}
    traces = [
        _scatter_trace(analysis, family, shown[families == family], (first, second), spaced, style)
        for family in _present(analysis, families)
    ]
    scale = {"range": spaced.range, **spaced.ticks(0.05)}
    layout = base_layout(
        height=570,
        margin={"l": 52, "r": 12, "t": 26, "b": 44},
        xaxis=axis(f"{_symbol(first)} in pixels", **scale),
        yaxis=axis(f"{_symbol(second)} in pixels", **scale),
        shapes=[line((0, spaced.end), (0, spaced.end), line={"color": "var(--muted)", "width": 1, "dash": "dot"})],
    )
    few = {f"{name}.{entry}": v for name in ("xaxis", "yaxis") for entry, v in spaced.ticks(0.1).items()}
    names = f"{AXES[first]} and {AXES[second]}"
    text = f"Scatter plot: the scales of {plural(len(shown), 'filter')} along {names}, coloured by family"
    name = "scales" if (first, second) == (0, 1) else f"scales-{AXES[first]}{AXES[second]}"
    figure = Figure(name, traces, layout, text, narrow={**few, "height": 400}, legend=True)
    return figure, len(eligible), len(shown)


def _scatter_trace(
    analysis: Analysis,
    family: str,
    indices: np.ndarray,
    axes: tuple[int, int],
    spaced: ScaleAxis,
    style: dict[str, float],
) -> dict[str, Any]:
    across, up = (analysis.sigma[indices, which] for which in axes)
    return {
        "mode": "markers",
        "name": family,
        "x": spaced.places(across),
        "y": spaced.places(up),
        "marker": {"color": family_colour(family), "symbol": family_symbol(family), **style},
        "hovertext": _hover(analysis, family, indices),
    }


def _present(analysis: Analysis, families: np.ndarray) -> list[str]:
    """Return the families that some filters have, related ones as neighbours."""
    return by_kind(family.family for family in analysis.summary.families if (families == family.family).any())


def _hover(analysis: Analysis, family: str, indices: np.ndarray) -> list[str]:
    names = {place: plot_text(layer.name, _HOVER_WIDTH) for place, layer in enumerate(analysis.summary.layers)}
    return [
        f"<b>{names[layer]}</b><br>channel {channel}, {size_words(kernel)}, {family}"
        f"<br>{_scales(sigma)}, r² {number(value)}"
        for layer, channel, kernel, sigma, value in zip(
            analysis.layer[indices].tolist(),
            analysis.channel[indices].tolist(),
            analysis.size[indices].tolist(),
            analysis.sigma[indices].tolist(),
            analysis.r2[indices].tolist(),
            strict=True,
        )
    ]


def _scales(sigma: list[float]) -> str:
    """List the scales of a filter along the axes that have one."""
    return ", ".join(f"{_symbol(place)} {number(value)}" for place, value in enumerate(sigma) if not np.isnan(value))


def scale_histogram(analysis: Analysis) -> tuple[Figure, int]:
    """Draw how the scales of filters that have one along a single axis are distributed, families stacked in each bin.

    Returns
    -------
    figure : Figure
    shown : int
        How many filters there are.
    """
    known = ~np.isnan(analysis.sigma)
    shown = np.flatnonzero(analysis.fitted & (known.sum(1) == 1))
    scales = analysis.sigma[shown][known[shown]]
    spaced = ScaleAxis.of(scales)
    edges = np.linspace(0, spaced.end, BINS + 1)
    families = analysis.fit.family[shown]
    places = np.array(spaced.places(scales), dtype=float)
    traces = [
        _bars(family, np.histogram(places[families == family], edges)[0], edges)
        for family in _present(analysis, families)
    ]
    layout = base_layout(
        barmode="stack",
        height=300,
        xaxis=axis(f"{SIGMA} in {unit_of(analysis.summary.axes)}", range=spaced.range, **spaced.ticks(0.05)),
        yaxis=axis("filters", nticks=5, tickformat="d"),
    )
    few = {f"xaxis.{entry}": value for entry, value in spaced.ticks(0.1).items()}
    filters = plural(len(shown), "filter")
    text = f"Histogram: the scales of {filters} with a scale along one axis only, coloured by family"
    return Figure("scales-one-axis", traces, layout, text, narrow=few, legend=True), len(shown)


def _bars(family: str, counts: np.ndarray, edges: np.ndarray) -> dict[str, Any]:
    width = float(edges[1] - edges[0])
    return {
        "type": "bar",
        "name": family,
        "x": (edges[:-1] + width / 2).round(4).tolist(),
        "y": counts.tolist(),
        "width": round(width, 4),
        "marker": {"color": family_colour(family)},
        "hovertext": [f"{family}: {plural(count, 'filter')}" for count in counts.tolist()],
    }


def _symbol(place: int) -> str:
    return f"{SIGMA}<sub>{AXES[place]}</sub>"
