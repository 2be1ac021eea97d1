"""The sections of an article, in the order of the paper; one without content is left out."""

import base64
import math
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from scalekeys.report.article import sentences, typeset
from scalekeys.report.article.measures import Material
from scalekeys.report.article.plates import Plate
from scalekeys.report.article.table import Table, to_html
from scalekeys.report.page import Section, Tile, render
from scalekeys.report.page.families import family_colour
from scalekeys.report.page.pictures import common_limit, filter_picture
from scalekeys.report.page.words import count, number, significant, size_name
from scalekeys.scalespace import FAMILIES

_PIXELS_AN_INCH = 115
"""On the page, where lettering should be as large as in the tables."""


@dataclass(frozen=True, eq=False)
class Article:
    """All that a page is made of.

    Parameters
    ----------
    material : Material
    tables : dict of Table
    plates : dict of Plate
    """

    material: Material
    tables: dict[str, Table]
    plates: dict[str, Plate]

    def table(self, name: str) -> Markup:
        """Return a table; nothing if it has no rows."""
        return to_html(self.tables[name]) if name in self.tables else Markup()

    def plate(self, name: str) -> Markup:
        """Return a figure; nothing if there is nothing to show."""
        if name not in self.plates:
            return Markup()
        plate = self.plates[name]
        return render(
            "article/plate.html.j2",
            name=name,
            caption=typeset.html(plate.caption),
            alternative=plate.alternative,
            data=base64.b64encode(plate.png).decode("ascii"),
            width=round(plate.size[0] * _PIXELS_AN_INCH),
            height=round(plate.size[1] * _PIXELS_AN_INCH),
        )


def header(article: Article) -> Markup:
    """Render what stands above the first section."""
    study = article.material.study
    return render(
        "page/header.html.j2",
        kicker="Idealized receptive fields from scale-space theory",
        title=f"Scale-space models of {study.source}",
        lead=typeset.html(sentences.lead(article.material)),
        tiles=_tiles(article),
        cautions="",
    )


def filters(article: Article) -> Section:
    """Show the filters."""
    study = article.material.study
    values = study.filters.numpy()
    limit = common_limit(values)
    cards = [
        {
            "name": name,
            "colour": family_colour(family),
            "family": family,
            "words": FAMILIES[family].words,
            "formula": FAMILIES[family].formula,
            "picture": filter_picture(one, limit, f"filter {name}, {family}"),
        }
        for name, family, one in zip(study.names, study.families, values, strict=True)
    ]
    paragraphs = _paragraphs(sentences.filters(article.material))
    body = render("article/filters.html.j2", text=paragraphs, cards=cards, limit=limit)
    return Section("filters", "The filters", body, short="Filters")


def spread(article: Article) -> Section:
    """Show the spread."""
    parts = [article.table("spread"), article.table("weighted_spread")]
    return _section("spread", "Spatial spread", sentences.spread(article.material), parts, short="Spread")


def normalisation(article: Article) -> Section:
    """Show how filters are normalised."""
    parts = [article.table("dc_offset"), article.table("normalised"), article.plate("dc_offset")]
    text = sentences.normalisation(article.material)
    return _section("normalisation", "Normalisation and DC offset", text, parts, short="Normalisation")


def scales(article: Article) -> Section:
    """Show the scales by every method, and the models."""
    parts = [
        article.table("scales_per_axis"),
        article.plate("models_per_axis"),
        article.table("scales_common"),
        _paragraphs([sentences.no_groups(article.material)]),
        article.table("scales_shared"),
        article.plate("models_common_shared"),
    ]
    return _section("scales", "Scales by method", sentences.scales(article.material), parts, short="Scales")


def residuals(article: Article) -> Section:
    """Show what the models leave."""
    names = ("residuals_per_axis", "residuals_common_shared")
    parts = [article.table("residuals"), *map(article.plate, names)]
    return _section("residuals", "Residuals", sentences.residuals(article.material), parts)


def surfaces(article: Article) -> Section:
    """Show the objectives as surfaces."""
    parts = [article.plate("surface_l1"), article.plate("surface_l2")]
    text = sentences.surfaces(article.material)
    return _section("surfaces", "Objective surfaces", text, parts, short="Surfaces")


def sharpening(article: Article) -> Section | None:
    """Show scale and strength of sharpening."""
    if not article.material.sharpening:
        return None
    parts = [article.table("sharpening")]
    if pointer := sentences.unreached_strengths(article.material):
        text = typeset.html(pointer)
        parts.append(render("article/pointer.html.j2", text=text, name="disagreements", title=_DISAGREEMENTS))
    return _section("sharpening", "Sharpening", sentences.sharpening(article.material), parts)


def window(article: Article) -> Section:
    """Show what the exact window changes."""
    text = sentences.window(article.material)
    return _section("window", "The exact window", text, [article.table("exact_window")], short="Exact window")


def uncertainty(article: Article) -> Section:
    """Show standard errors."""
    title = "How well the scales are determined"
    text = sentences.uncertainty(article.material)
    return _section("uncertainty", title, text, [article.table("uncertainty")], short="Uncertainty")


def richer(article: Article) -> Section:
    """Show what richer models explain."""
    parts = [article.table("richer_models"), article.plate("richer")]
    return _section("richer", "Richer models", sentences.richer(article.material), parts)


def disagreements(article: Article) -> Section | None:
    """Show where published numbers are not optima, or conventions questionable."""
    conventions = article.material.conventions
    if not conventions:
        return None
    cases = [
        {
            "title": typeset.html(one.title),
            "sentence": typeset.html(one.sentence),
            "measure": typeset.html(one.measure),
            "published": significant(one.published, 4),
            "here": significant(one.here, 4),
        }
        for one in conventions
    ]
    parts = [render("article/cases.html.j2", cases=cases), article.table("disagreements")]
    text = [sentences.disagreements(article.material)]
    return _section("disagreements", _DISAGREEMENTS, text, parts, short="Disagreements")


def agreement(article: Article) -> Section | None:
    """Show how far the published values are reached."""
    if not article.material.comparisons:
        return None
    text = [sentences.agreement(article.material)]
    return _section("agreement", "Published and computed values", text, [article.table("agreement")], short="Agreement")


def method(article: Article) -> Section:
    """Say how everything is computed."""
    body = render("article/method.html.j2", sharpen=bool(article.material.sharpening))
    return Section("method", "How it is computed", body, short="Method")


_DISAGREEMENTS = "Where the published numbers and conventions are questionable"

SECTIONS: tuple[Callable[[Article], Section | None], ...] = (
    filters, spread, normalisation, scales, residuals, surfaces, sharpening, window, uncertainty, richer, disagreements,
    agreement, method,
)  # fmt: skip
"""The sections in the order of the page."""


def _section(name: str, title: str, text: list[str], parts: list[Markup], *, short: str = "") -> Section:
    return Section(name, title, Markup("\n").join([_paragraphs(text), *parts]), short=short)


def _paragraphs(text: list[str]) -> Markup:
    return Markup("\n").join(Markup("<p>{}</p>").format(typeset.html(paragraph)) for paragraph in text)


def _tiles(article: Article) -> list[Tile]:
    material = article.material
    study = material.study
    rows, cols = study.size
    groups = len(study.groups)
    tiles = [
        Tile("filters", count(len(study.names)), f"of {size_name(f'{rows}x{cols}')} taps"),
        Tile("families", count(len(set(study.families))), "of receptive fields"),
    ]
    if study.published:
        reached = sum(one.reached for one in material.comparisons)
        tiles.append(Tile("published values", count(len(material.comparisons)), f"{count(reached)} reached"))
    else:
        tiles.append(Tile("groups", count(groups), f"that {'shares' if groups == 1 else 'share'} a scale"))
    relative = [value for value in study.relative_error("D1").tolist() if math.isfinite(value)]
    moves = [abs(move.value) for move in material.moves if math.isfinite(move.value)]
    return [
        *tiles,
        Tile("smallest residual", number(min(relative, default=None), 3), "by l2, a scale per axis"),
        Tile("largest residual", number(max(relative, default=None), 3), "by l2, a scale per axis"),
        Tile("largest move", number(max(moves, default=None), 3), "pixels, exact window"),
    ]
