"""The sections of a network report: an analysis in, a section out.

A new section is one function here, and one entry in :data:`SECTIONS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from markupsafe import Markup

from scalekeys.checkup import Advice, Place
from scalekeys.checkup.naming import to_fill_in
from scalekeys.fitting import Group, LadderGroup
from scalekeys.report.analysis import facts
from scalekeys.report.analysis.cautions import cautions
from scalekeys.report.analysis.figures import (
    depth_profile,
    family_mix,
    formation_profile,
    input_scale_profile,
    ladder_profile,
)
from scalekeys.report.analysis.histograms import angle_histogram, r2_histograms
from scalekeys.report.analysis.scale_figures import scale_histogram, scale_scatter
from scalekeys.report.analysis.summary import FamilySummary, LayerSummary, Quality
from scalekeys.report.analysis.view import Analysis
from scalekeys.report.explorer import explorer_section
from scalekeys.report.page import Section, Tile, render
from scalekeys.report.page.families import (
    TEMPLATE_ALPHA,
    TEMPLATE_SIGMA,
    family_colour,
    formula_of,
    is_mixture,
    template_example,
    words_of,
)
from scalekeys.report.page.orientation import meaning
from scalekeys.report.page.pictures import common_limit, filter_picture, pictured, shown_slices
from scalekeys.report.page.words import AXES, count, number, percent, plural, taps_in

_MOST_PLACES = 5
_KERNELS = 12  # of a layer, beside a finding
_FAINT = 0.01  # part of the largest tap of a layer below which kernels are drawn as next to nothing


@dataclass(frozen=True)
class _Row:
    size: str
    quality: Quality
    total: bool = False

    @property
    def rest(self) -> float | None:
        return None if self.quality.share_explained is None else 1 - self.quality.share_explained


def header(analysis: Analysis) -> Markup:
    """Render what stands above the first section: the findings in a sentence, key figures, and cautions."""
    return render(
        "page/header.html.j2",
        kicker="Receptive fields of convolution kernels",
        title=analysis.summary.model,
        lead=render("analysis/lead.html.j2", summary=analysis.summary),
        tiles=_tiles(analysis),
        cautions=cautions(analysis),
    )


def advice(analysis: Analysis) -> Section:
    """Say what to do about what the check-up found, with the figure of each place beside that of noise."""
    found = analysis.checkup
    listing = f"scalekeys check {found.source} --layers"
    commands = [one.command for one in found.advice] + [
        listing for one in found.advice if len(one.places) > _MOST_PLACES
    ]
    body = render(
        "analysis/advice.html.j2",
        verdict=found.verdict,
        legend=found.legend,
        audits=found.audits,
        advice=[(one, _bar_unit(one), _kernels(analysis, one.places[0])) for one in found.advice],
        most=_MOST_PLACES,
        skipped=found.skipped,
        listing=listing,
        to_fill_in=to_fill_in(commands),
    )
    return Section("advice", "What to do", body)


def sizes(analysis: Analysis) -> Section:
    """Compare what is explained with both controls, by kernel size."""
    rows = [_Row(size.size, size.quality) for size in analysis.summary.sizes]
    if len(rows) > 1:
        rows.append(_Row("all", analysis.summary.quality, total=True))
    fitted = [size for size in analysis.summary.sizes if size.quality.fitted]
    unfitted = [size.size for size in analysis.summary.sizes if not size.quality.fitted]
    body = render("analysis/sizes.html.j2", fitted=fitted, unfitted=unfitted, rows=rows)
    return Section("sizes", "By kernel size", body, short="Kernel size")


def ladder(analysis: Analysis) -> Section | None:
    """Say what explains the rest: what each richer model adds, and whether noise gains as much."""
    found = analysis.summary.ladder
    if found is None:
        return None
    groups = [found.network] if len(found.sizes) == 1 else [*found.sizes, found.network]
    body = render(
        "analysis/ladder.html.j2",
        found=found,
        groups=groups,
        intervals=_intervals(groups, "beyond_matched", "rest_beyond_matched"),
        intervals_of_layers=_intervals(found.layers, "beyond_matched"),
        models=[step.model for step in found.network.steps],
        most=max(group.sampled for group in found.layers),
        figure=ladder_profile(found.layers, {layer.name: layer.depth for layer in analysis.summary.layers})
        if len(found.layers) > 1
        else None,
        taps=[taps_in(group.size) for group in found.layers],
        axes=analysis.summary.axes,
    )
    return Section("ladder", "What explains the rest", body, short="The rest")


def _intervals(groups: Sequence[LadderGroup], *differences: str) -> int:
    """Count the differences that have an interval."""
    steps = [step for group in groups for step in group.steps]
    return sum(getattr(step, name).low is not None for step in steps for name in differences)


def families(analysis: Analysis) -> Section:
    """Show each family as a card: its template, and the filters for which it won."""
    summary = analysis.summary
    names = [family.family for family in summary.families]
    body = render(
        "analysis/families.html.j2",
        by_evidence=analysis.fit.spec.selects,
        cards=[_family_card(family, summary.axes) for family in summary.families],
        widest=max(max(family.share, family.most_in_noise) for family in summary.families) or 1,
        axes=summary.axis_names,
        sigma=TEMPLATE_SIGMA,
        alpha=TEMPLATE_ALPHA if "sharpen" in names else None,
        mixtures=any(map(is_mixture, names)),
        pictured=pictured([summary.axes]),
        **facts.families(summary),
    )
    return Section("families", "The families", body, short="Families")


def formation(analysis: Analysis) -> Section | None:
    """Tell whether the filters have formed: where they stand beside both kinds of noise, layer by layer."""
    group = analysis.summary.formation
    if group is None:
        return None
    told = facts.formation(analysis.summary.layers)
    several = sum(told["counts"].values()) > 1
    body = render(
        "analysis/formation.html.j2", group=group, figure=formation_profile(analysis) if several else None, **told
    )
    return Section("formation", "Formed or not", body, short="Formation")


def depth(analysis: Analysis) -> Section:
    """Follow families, quality and scales from the input to the output."""
    several = sum(layer.quality.fitted > 0 for layer in analysis.summary.layers) > 1
    body = render(
        "analysis/depth.html.j2",
        mix=family_mix(analysis),
        profile=depth_profile(analysis) if several else None,
        in_input=input_scale_profile(analysis) if several else None,
        axes=analysis.summary.axes,
        **facts.mix(analysis.summary),
        **(facts.profile(analysis.summary) if several else {}),
    )
    return Section("depth", "Over depth", body, short="Depth")


def scales(analysis: Analysis) -> Section:
    """Plot the scales along each pair of axes, and those of filters that have a scale along one axis only."""
    plots = []
    for first, second in combinations(range(analysis.summary.axes), 2):
        figure, eligible, shown = scale_scatter(analysis, first, second)
        if shown:
            plots.append({"figure": figure, "axes": (AXES[first], AXES[second]), "eligible": eligible, "shown": shown})
    figure, shown = scale_histogram(analysis)
    if shown:
        plots.append({"figure": figure, "axes": None, "eligible": shown, "shown": shown})
    body = render("analysis/scales.html.j2", plots=plots, **facts.scales(analysis))
    return Section("scales", "Scales", body)


def distribution(analysis: Analysis) -> Section:
    """Show how r2 is distributed, against both controls, size by size."""
    several = len(analysis.summary.sizes) > 1
    rows = facts.distribution(analysis)
    body = render("analysis/distribution.html.j2", figure=r2_histograms(analysis), sizes=rows, several=several)
    return Section("distribution", "How well single filters are explained", body, short="Distribution of r²")


def orientation(analysis: Analysis) -> Section | None:
    """Tabulate which share of the filters gains from a free angle, beside both controls, and draw their angles."""
    rows = analysis.summary.orientation
    if not rows:
        return None
    body = render(
        "analysis/orientation.html.j2",
        meaning=meaning(rows),
        rows=rows,
        partial=len(rows) < len(analysis.summary.sizes),
        figure=angle_histogram(analysis.gains) if analysis.gains else None,
    )
    return Section("orientation", "Orientation", body)


def gallery(analysis: Analysis) -> Section:
    """Show the best, the median and the worst fit of each family."""
    rows: list[dict[str, Any]] = []
    for family in analysis.summary.families:
        picks = analysis.examples(family.family)
        pairs = analysis.filters_and_models([index for _, index in picks])
        if picks:
            rows.append(
                {
                    "family": family.family,
                    "words": words_of(family.family, analysis.summary.axes),
                    "colour": family_colour(family.family),
                    "examples": [
                        _example(analysis, rank, index, *pair) for (rank, index), pair in zip(picks, pairs, strict=True)
                    ],
                }
            )
    several = any(len(row["examples"]) > 1 for row in rows)
    axes = set(analysis.axes.tolist())
    body = render("analysis/gallery.html.j2", rows=rows, several=several, pictured=pictured(axes), lines=1 in axes)
    return Section("gallery", "Gallery: learned, model, residual", body, short="Gallery")


def explorer(analysis: Analysis) -> Section:
    """Show every filter on one sheet, and each beside models that the reader chooses."""
    standings = [layer.formation and layer.formation.white for layer in analysis.summary.layers]
    return explorer_section(analysis.fit, [standing.value if standing else None for standing in standings])


def layers(analysis: Analysis) -> Section:
    """List every layer."""
    rows = [_layer_row(layer) for layer in analysis.summary.layers]
    body = render(
        "analysis/layers.html.j2",
        unknown=any(None in (layer.stride, layer.dilation) for layer in analysis.summary.layers),
        known=any(layer.stride or layer.dilation for layer in analysis.summary.layers),
        rows=rows,
        axes=analysis.summary.axis_names,
        dead=analysis.summary.dead > 0,
        formation=analysis.summary.formation is not None,
    )
    return Section("layers", "Layer by layer", body, short="Layers")


def method(analysis: Analysis) -> Section:
    """Say what every number means."""
    spec = analysis.fit.spec
    body = render(
        "analysis/method.html.j2",
        fit=str(spec).capitalize(),
        by_evidence=spec.selects,
        families=", ".join(spec.labels),
        axes=analysis.summary.axis_names,
        sharpen="sharpen" in spec.labels,
        window=spec.window,
        discretization=spec.discretization,
    )
    return Section("method", "How to read this page", body, short="Method")


SECTIONS: tuple[Callable[[Analysis], Section | None], ...] = (
    advice,
    sizes,
    families,
    ladder,
    formation,
    depth,
    scales,
    distribution,
    orientation,
    gallery,
    explorer,
    layers,
    method,
)
"""The sections of a network report, in the order of the page; None where there is nothing to show."""

WITHOUT_FIT: tuple[Callable[[Analysis], Section], ...] = (advice, layers, method)
"""What is left to show where no filter could be fitted."""


def sections_of(analysis: Analysis) -> list[Section]:
    """Render the sections that an analysis has something for."""
    chosen = SECTIONS if analysis.fitted.any() else WITHOUT_FIT
    return [made for made in (section(analysis) for section in chosen) if made is not None]


def _bar_unit(one: Advice) -> float:
    """Return the figure that a whole bar stands for."""
    return max(max(place.value, place.control or 0.0) for place in one.places) or 1.0


def _kernels(analysis: Analysis, place: Place) -> list[Markup]:
    """Draw some kernels that a finding concerns in a layer, in one range in which a dead kernel is white."""
    layers = [layer for layer in analysis.fit.bank.layers if layer.name == place.layer]
    if not layers:
        return []
    kernels = layers[0].kernels.detach().cpu().double().numpy()
    shown = (place.channels or range(len(kernels)))[:_KERNELS]
    limit = max(common_limit(*(kernels[channel] for channel in shown)), _FAINT * common_limit(kernels))
    return [filter_picture(kernels[channel], limit, f"channel {channel}") for channel in shown]


def _tiles(analysis: Analysis) -> list[Tile]:
    summary, quality = analysis.summary, analysis.summary.quality
    if not quality.fitted:
        return []
    used = sum(family.filters > 0 for family in summary.families)
    unfitted = quality.filters - quality.fitted
    missing = "dead" if unfitted == summary.dead else "without a fit"
    return [
        Tile("filters", count(quality.filters), f"{count(unfitted)} {missing}" if unfitted else "all fitted"),
        Tile("layers", count(len(summary.layers)), plural(len(summary.sizes), "kernel size")),
        Tile(
            "energy explained",
            percent(quality.share_explained),
            f"matched noise {percent(quality.matched_share_explained)}, white {percent(quality.white_share_explained)}",
        ),
        Tile(
            "median r²",
            number(quality.median_r2),
            f"matched noise {number(quality.matched_median_r2)}, white {number(quality.white_median_r2)}",
        ),
        Tile("families in use", str(used), f"of {len(summary.families)}"),
        *_formation_tile(summary.formation),
    ]


def _formation_tile(group: Group | None) -> list[Tile]:
    if group is None or group.white is None:
        return []
    matched = f"; beside matched noise {number(group.matched.value)}" if group.matched else ""
    return [Tile("formation", number(group.white.value), group.white.word + matched)]


def _family_card(family: FamilySummary, axes: int) -> dict[str, object]:
    picture = template_example(family.family, axes)
    return {
        "family": family,
        "words": words_of(family.family, axes),
        "formula": formula_of(family.family, axes),
        "colour": family_colour(family.family),
        "picture": filter_picture(picture, common_limit(picture), f"template of {family.family}"),
    }


def _example(analysis: Analysis, rank: str, index: int, learned: np.ndarray, model: np.ndarray) -> dict[str, object]:
    fit, residual = analysis.fit, learned - model
    limit = common_limit(learned, model, residual)
    slices = shown_slices(learned) if learned.ndim == 3 else None
    return {
        "rank": rank,
        "limit": limit,
        "learned": filter_picture(learned, limit, "learned filter", slices=slices),
        "model": filter_picture(model, limit, "model", slices=slices, behind=learned),
        "residual": filter_picture(residual, limit, "residual", slices=slices),
        "layer": analysis.layer_name(index),
        "channel": int(analysis.channel[index]),
        "size": str(analysis.size[index]),
        "sigma": dict(zip(AXES, analysis.sigma[index, : learned.ndim].tolist(), strict=False)),
        "alpha": None if fit.alpha[index].isnan() else float(fit.alpha[index]),
        "amplitude": None if fit.amplitude[index].isnan() else float(fit.amplitude[index]),
        "r2": float(analysis.r2[index]),
        "status": str(fit.status[index]),
    }


def _layer_row(layer: LayerSummary) -> dict[str, object]:
    family = layer.main_family
    return {
        "layer": layer,
        "taps": taps_in(layer.size),
        "colour": family_colour(family) if family else "",
        "share": layer.share_of(family) if family else None,
        "formed": layer.formation.white.value if layer.formation and layer.formation.white else None,
    }
