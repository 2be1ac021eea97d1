"""The sections of a report on trainings: a comparison in, a section out.

A new section is one function here, and one entry in :data:`SECTIONS`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup
from torch import Tensor

from scalekeys.filters import FilterBank
from scalekeys.report.page import Section, Tile, render
from scalekeys.report.page.numbers import evenly_spaced
from scalekeys.report.page.pictures import common_limit, filter_picture
from scalekeys.report.page.plots import place_colour
from scalekeys.report.page.words import count, percent, plural
from scalekeys.report.trainings.figures import (
    accuracy_by_parameters,
    accuracy_over_epochs,
    formation_over_epochs,
    r2_over_epochs,
    scales_over_depth,
)
from scalekeys.report.trainings.numbers import duration, with_spread
from scalekeys.training.comparison import Comparison
from scalekeys.training.runs import EXPLAINED

LAYERS, CHANNELS = 6, 12
"""Layers of a network and filters of a layer that are pictured."""


def header(comparison: Comparison) -> Markup:
    """Render what stands above the first section: the findings in a few sentences, key figures, and cautions."""
    return render(
        "page/header.html.j2",
        kicker="Trainings beside each other",
        title=plural(len(comparison.conditions), "condition"),
        lead=_lead(comparison),
        tiles=_tiles(comparison),
        cautions=render(
            "trainings/cautions.html.j2",
            comparison=comparison,
            single=sum(len(condition.counted) == 1 for condition in comparison.conditions),
        ),
    )


def conditions(comparison: Comparison) -> Section:
    """List the conditions, and draw accuracy against parameters."""
    body = render(
        "trainings/conditions.html.j2",
        conditions=[(place_colour(place), one) for place, one in enumerate(comparison.conditions)],
        averaged=comparison.is_averaged,
        figure=accuracy_by_parameters(comparison),
        with_spread=with_spread,
        duration=duration,
    )
    return Section("conditions", "What the conditions reach", body, short="Conditions")


def epochs(comparison: Comparison) -> Section | None:
    """Follow accuracy, and how well the filters are explained, over epochs."""
    accuracy = accuracy_over_epochs(comparison)
    if accuracy is None:
        return None
    body = render(
        "trainings/epochs.html.j2",
        accuracy=accuracy,
        r2=r2_over_epochs(comparison),
        formation=formation_over_epochs(comparison),
        averaged=comparison.is_averaged,
    )
    return Section("epochs", "Over epochs", body, short="Epochs")


def scales(comparison: Comparison) -> Section | None:
    """Compare learned scales with those of filters that were learned freely."""
    figure = scales_over_depth(comparison)
    if figure is None:
        return None
    body = render("trainings/scales.html.j2", figure=figure, explained=EXPLAINED)
    return Section("scales", "Scales over depth", body, short="Scales")


def filters(comparison: Comparison) -> Section | None:
    """Show a few filters of each condition, before and after training."""
    rows = []
    for place, condition in enumerate(comparison.conditions):
        run = next((run for run in condition.runs if run.filters is not None), None)
        if run is not None and run.filters is not None:
            rows.append(
                {
                    "name": condition.name,
                    "colour": place_colour(place),
                    "run": run.name,
                    "epochs": plural(len(run.rows), "epoch"),
                    "layers": _layer_pictures(run.filters, run.start),
                }
            )
    if not rows:
        return None
    body = render("trainings/filters.html.j2", rows=rows)
    return Section("filters", "Filters before and after training", body, short="Filters")


def runs(comparison: Comparison) -> Section:
    """List every run."""
    rows = [
        {"run": run, "condition": condition.name, "colour": place_colour(place)}
        for place, condition in enumerate(comparison.conditions)
        for run in condition.runs
    ]
    body = render("trainings/runs.html.j2", rows=rows, duration=duration)
    return Section("runs", "Run by run", body, short="Runs")


SECTIONS: tuple[Callable[[Comparison], Section | None], ...] = (conditions, epochs, scales, filters, runs)
"""The sections of a report on trainings, in the order of the page."""


def _lead(comparison: Comparison) -> Markup:
    ranked = [
        (spread.mean, condition)
        for condition in comparison.conditions
        if (spread := condition.spread("accuracy")) is not None
    ]
    best = max(ranked, key=lambda entry: entry[0])[1] if ranked else None
    known = [(condition.learned.depthwise, condition) for _, condition in ranked if condition.learned is not None]
    fewest = min(known, key=lambda entry: entry[0])[1] if known else best
    accuracy = {condition.name: with_spread(condition.spread("accuracy")) for _, condition in ranked}
    return render("trainings/lead.html.j2", best=best, fewest=fewest, accuracy=accuracy)


def _tiles(comparison: Comparison) -> list[Tile]:
    all_runs = comparison.runs
    finished = sum(run.is_finished for run in all_runs)
    spreads = [spread for one in comparison.conditions if (spread := one.spread("accuracy")) is not None]
    if not spreads:
        return []
    best = max(spreads, key=lambda spread: spread.mean)
    seconds = sum(run.seconds or 0.0 for run in all_runs)
    return [
        Tile("runs", str(len(all_runs)), "all finished" if finished == len(all_runs) else f"{finished} finished"),
        Tile("conditions", str(len(comparison.conditions)), "equal but for the seed"),
        Tile("best accuracy", percent(best.mean), "averaged weights" if comparison.is_averaged else "last weights"),
        Tile("lowest", percent(min(spread.mean for spread in spreads)), "of the conditions"),
        Tile("epochs", str(sum(len(run.rows) for run in all_runs)), "of all runs together"),
        Tile("time", duration(seconds), "of all runs together"),
    ]


def _layer_pictures(after: FilterBank, before: FilterBank | None) -> list[dict[str, Any]]:
    layers = list(after)
    earlier = {} if before is None else {layer.name: layer.kernels for layer in before}
    rows = []
    for depth in evenly_spaced(len(layers), LAYERS):
        layer = layers[depth]
        channels = evenly_spaced(len(layer), CHANNELS)
        first = earlier.get(layer.name)
        rows.append(
            {
                "name": layer.name,
                "filters": count(len(layer)),
                "before": [] if first is None else _pictures(first, channels, f"{layer.name} before"),
                "after": _pictures(layer.kernels, channels, f"{layer.name} after"),
            }
        )
    return rows


def _pictures(filters: Tensor, channels: Sequence[int], label: str) -> list[dict[str, Any]]:
    pictures = []
    for channel in channels:
        values = filters[channel].float().numpy()
        picture = filter_picture(values, common_limit(values), f"{label} training, channel {channel}")
        pictures.append({"picture": picture, "channel": channel})
    return pictures
