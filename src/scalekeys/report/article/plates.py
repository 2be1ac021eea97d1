"""The figures of an article with their captions and text alternatives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from scalekeys.report.article import curves, panels
from scalekeys.report.article.measures import COMMON, PER_AXIS, SHARED, Material, methods_words
from scalekeys.report.article.panels import SHOWN
from scalekeys.report.page import canvas
from scalekeys.report.page.document import paragraph

_COMMON_SHARED = (*COMMON, *SHARED)


@dataclass(frozen=True, eq=False)
class Plate:
    """A finished figure.

    Parameters
    ----------
    name : str
        Of its files.
    caption, alternative : str
        Sentences of ours.
    png, pdf : bytes
    size : tuple of float
        Width and height in inches.
    """

    name: str
    caption: str
    alternative: str
    png: bytes
    pdf: bytes
    size: tuple[float, float]


@dataclass(frozen=True)
class _Recipe:
    name: str
    draw: Callable[[Material], Figure | None]
    caption: Callable[[Material], str]
    alternative: Callable[[Material], str]


def draw_all(material: Material) -> Iterator[Plate]:
    """Draw every figure that has something to show."""
    for recipe in _RECIPES:
        with canvas.style():
            figure = recipe.draw(material)
            if figure is None:
                continue
            width, height = figure.get_size_inches()
            yield Plate(
                recipe.name,
                recipe.caption(material) + _first(material, recipe.name),
                recipe.alternative(material),
                canvas.file_bytes(figure, "png"),
                canvas.file_bytes(figure, "pdf"),
                (float(width), float(height)),
            )


def _first(material: Material, name: str) -> str:
    count = len(material.smoothing if name == "dc_offset" else material.study.names)
    return f" {_text('first', shown=SHOWN, count=count)}" if count > SHOWN else ""


def _text(section: str, **facts: Any) -> str:
    return paragraph("article/text.txt.j2", section, **facts)


def _panels(name: str, what: str, methods: tuple[str, ...]) -> _Recipe:
    """Return how the models of some methods are drawn, or what they leave."""
    models = name.startswith("models")
    return _Recipe(
        name,
        lambda material: (panels.models if models else panels.residuals)(material, methods),
        lambda material: (
            _text("models_caption", methods=methods_words(methods), strength=bool(material.sharpening))
            if models
            else _text("residuals_caption", methods=methods)
        ),
        lambda material: _text("panels_words", what=what, filters=len(material.study.names), methods=methods),
    )


def _surface(norm: int) -> _Recipe:
    def lowest(material: Material) -> list[tuple[str, float]]:
        objective = material.study.objective("C1" if norm == 1 else "D1").tolist()
        return list(zip(material.study.names, objective, strict=True))

    return _Recipe(
        f"surface_l{norm}",
        lambda material: curves.surfaces(material, norm),
        lambda material: _text(
            "surface_caption",
            norm=norm,
            plain=material.plain,
            strength=material.sharpening,
            published=bool(material.study.published),
        ),
        lambda material: _text("surface_words", norm=norm, lowest=lowest(material)),
    )


def _minima(material: Material) -> list[tuple[float, str]]:
    names = [material.study.names[i] for i in material.smoothing]
    return [(material.study.dc_offset[name], name) for name in names]


_RECIPES = (
    _Recipe(
        "filters",
        panels.filters,
        lambda _: _text("filters_caption"),
        lambda material: _text("filters_words", study=material.study),
    ),
    _Recipe(
        "dc_offset",
        curves.dc_offset,
        lambda material: _text("offset_caption", published=bool(material.study.published)),
        lambda material: _text("offset_words", minima=_minima(material)),
    ),
    _panels("models_per_axis", "The normalised filters and their models", PER_AXIS),
    _panels("models_common_shared", "The normalised filters and their models", _COMMON_SHARED),
    _panels("residuals_per_axis", "The residuals", PER_AXIS),
    _panels("residuals_common_shared", "The residuals", _COMMON_SHARED),
    _surface(1),
    _surface(2),
    _Recipe("richer", curves.richer, lambda _: _text("richer_caption"), lambda _: _text("richer_words")),
)
