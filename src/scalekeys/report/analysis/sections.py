"""The sections of a network report: an analysis in, a section out.

A new section is one function here, and one entry in :data:`SECTIONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from markupsafe import Markup

from scalekeys.report.analysis import narrative
from scalekeys.report.analysis.cautions import cautions
from scalekeys.report.analysis.figures import depth_profile, family_mix, scale_scatter
from scalekeys.report.analysis.histograms import r2_histograms
from scalekeys.report.analysis.summary import FamilySummary, LayerSummary, Quality
from scalekeys.report.analysis.view import Analysis
from scalekeys.report.page import Section, Tile, render
from scalekeys.report.page.pictures import common_limit, filter_picture
from scalekeys.report.page.plots import family_colour
from scalekeys.report.page.words import count, number, percent, plural
from scalekeys.scalespace import FAMILIES, template_plan

TEMPLATE_SIGMA = 0.7
TEMPLATE_ALPHA = 0.5
"""The scale and the sharpening strength at which the families are pictured."""


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
        kicker="Receptive fields of depthwise filters",
        title=analysis.summary.model,
        lead=narrative.lead(analysis.summary),
        tiles=_tiles(analysis),
        cautions=cautions(analysis),
    )


def sizes(analysis: Analysis) -> Section:
    """Compare what is explained with the control, by kernel size."""
    rows = [_Row(size.size, size.quality) for size in analysis.summary.sizes]
    if len(rows) > 1:
        rows.append(_Row("all", analysis.summary.quality, total=True))
    body = render("analysis/sizes.html.j2", text=narrative.sizes(analysis.summary), rows=rows)
    return Section("sizes", "By kernel size", body, short="Kernel size")


def families(analysis: Analysis) -> Section:
    """Show each family as a card: its template, and the filters for which it won."""
    summary = analysis.summary
    cards = [_family_card(family) for family in summary.families]
    has_alpha = any(FAMILIES[family.family].has_alpha for family in summary.families)
    body = render(
        "analysis/families.html.j2",
        text=narrative.families(summary, by_evidence=analysis.fit.spec.selects),
        cards=cards,
        widest=max((max(f.share, f.control_share) for f in summary.families), default=0) or 1,
        alpha=TEMPLATE_ALPHA if has_alpha else None,
        jets=any(FAMILIES[family.family].is_jet for family in summary.families),
    )
    return Section("families", "The families", body, short="Families")


def depth(analysis: Analysis) -> Section:
    """Follow families, quality and scales from the input to the output."""
    several = sum(layer.quality.fitted > 0 for layer in analysis.summary.layers) > 1
    body = render(
        "analysis/depth.html.j2",
        text=narrative.mix(analysis.summary),
        mix=family_mix(analysis),
        profile_text=narrative.profile(analysis.summary) if several else None,
        profile=depth_profile(analysis) if several else None,
    )
    return Section("depth", "Over depth", body, short="Depth")


def scales(analysis: Analysis) -> Section:
    """Plot the scale along y against the scale along x."""
    figure, eligible, shown = scale_scatter(analysis)
    paragraphs = narrative.scales(analysis, eligible, shown)
    body = render("analysis/scales.html.j2", figure=figure if shown else None, paragraphs=paragraphs)
    return Section("scales", "Scales along x and y", body, short="Scales")


def distribution(analysis: Analysis) -> Section:
    """Show how r2 is distributed, against the control, size by size."""
    body = render(
        "analysis/distribution.html.j2", figure=r2_histograms(analysis), paragraphs=narrative.distribution(analysis)
    )
    return Section("distribution", "How well single filters are explained", body, short="Distribution of r²")


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
                    "words": FAMILIES[family.family].words,
                    "colour": family_colour(family.family),
                    "examples": [
                        _example(analysis, rank, index, *pair) for (rank, index), pair in zip(picks, pairs, strict=True)
                    ],
                }
            )
    several = any(len(row["examples"]) > 1 for row in rows)
    body = render("analysis/gallery.html.j2", text=narrative.gallery(several=several), rows=rows, several=several)
    return Section("gallery", "Gallery: learned, model, residual", body, short="Gallery")


def layers(analysis: Analysis) -> Section:
    """List every layer."""
    rows = [_layer_row(layer) for layer in analysis.summary.layers]
    body = render(
        "analysis/layers.html.j2", text=narrative.layers(analysis.summary), rows=rows, dead=analysis.summary.dead > 0
    )
    return Section("layers", "Layer by layer", body, short="Layers")


def method(analysis: Analysis) -> Section:
    """Say what every number means."""
    spec = analysis.fit.spec
    body = render(
        "analysis/method.html.j2",
        fit=str(spec).capitalize(),
        by_evidence=spec.selects,
        families=", ".join(spec.families),
        sharpen=any(FAMILIES[name].has_alpha for name in spec.families),
        window=narrative.WINDOWS[spec.window],
    )
    return Section("method", "How to read this page", body, short="Method")


SECTIONS: tuple[Callable[[Analysis], Section], ...] = (
    sizes,
    families,
    depth,
    scales,
    distribution,
    gallery,
    layers,
    method,
)
"""The sections of a network report, in the order of the page."""

WITHOUT_FIT: tuple[Callable[[Analysis], Section], ...] = (layers, method)
"""What is left to show where no filter could be fitted."""


def _tiles(analysis: Analysis) -> list[Tile]:
    summary, quality = analysis.summary, analysis.summary.quality
    if not quality.fitted:
        return []
    used = sum(family.filters > 0 for family in summary.families)
    rest = None if quality.share_explained is None else 1 - quality.share_explained
    unfitted = quality.filters - quality.fitted
    return [
        Tile("filters", count(quality.filters), f"{count(unfitted)} without a fit" if unfitted else "all fitted"),
        Tile("layers", count(len(summary.layers)), plural(len(summary.sizes), "kernel size")),
        Tile("energy explained", percent(quality.share_explained), f"noise {percent(quality.control_share_explained)}"),
        Tile("not explained", percent(rest), "of their energy"),
        Tile("median r²", number(quality.median_r2), f"noise {number(quality.control_median_r2)}"),
        Tile("families in use", str(used), f"of {len(summary.families)}"),
    ]


def _family_card(family: FamilySummary) -> dict[str, object]:
    model = FAMILIES[family.family]
    second = TEMPLATE_ALPHA if model.has_alpha else TEMPLATE_SIGMA**2
    parameters = torch.tensor([[TEMPLATE_SIGMA**2, second]], dtype=torch.float64)
    components = template_plan(family.family, (7, 7))(parameters)[0, 0]
    picture = (components / components.flatten(1).norm(dim=-1)[:, None, None]).sum(0).numpy()
    return {
        "family": family,
        "words": model.words,
        "formula": model.formula,
        "colour": family_colour(family.family),
        "picture": filter_picture(picture, common_limit(picture), f"template of {family.family}"),
    }


def _example(analysis: Analysis, rank: str, index: int, learned: np.ndarray, model: np.ndarray) -> dict[str, object]:
    residual = learned - model
    limit = common_limit(learned, model, residual)
    alpha = float(analysis.fit.alpha[index])
    return {
        "rank": rank,
        "limit": limit,
        "learned": filter_picture(learned, limit, "learned filter"),
        "model": filter_picture(model, limit, "model"),
        "residual": filter_picture(residual, limit, "residual"),
        "layer": analysis.layer_name(index),
        "channel": int(analysis.channel[index]),
        "size": str(analysis.size[index]),
        "sigma_x": float(analysis.sigma[index, 0]),
        "sigma_y": float(analysis.sigma[index, 1]),
        "alpha": None if np.isnan(alpha) else alpha,
        "amplitude": None if analysis.fit.amplitude[index].isnan() else float(analysis.fit.amplitude[index]),
        "r2": float(analysis.r2[index]),
        "status": str(analysis.fit.status[index]),
    }


def _layer_row(layer: LayerSummary) -> dict[str, object]:
    family = layer.main_family
    rows, cols = map(int, layer.size.split("x"))
    return {
        "layer": layer,
        "area": rows * cols,
        "colour": family_colour(family) if family else "",
        "share": layer.families[family] / layer.quality.fitted if family else None,
    }
