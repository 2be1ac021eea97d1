"""The figures of an article with their captions and text alternatives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from scalekeys.report.article import curves, panels
from scalekeys.report.article.measures import COMMON, PER_AXIS, SHARED, Material, methods_words
from scalekeys.report.article.panels import SHOWN
from scalekeys.report.page import canvas
from scalekeys.report.page.document import paragraph


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


def draw_all(material: Material) -> Iterator[Plate]:
    """Draw every figure that has something to show."""
    for name, draw, caption, alternative in _figures(material):
        with canvas.style():
            figure = draw()
            if figure is None:
                continue
            width, height = figure.get_size_inches()
            yield Plate(
                name,
                caption + _first(material, name),
                alternative,
                canvas.file_bytes(figure, "png"),
                canvas.file_bytes(figure, "pdf"),
                (float(width), float(height)),
            )


def _first(material: Material, name: str) -> str:
    count = len(material.smoothing if name == "dc_offset" else material.study.names)
    return f" {_text('first', shown=SHOWN, count=count)}" if count > SHOWN else ""


def _text(section: str, **facts: Any) -> str:
    return paragraph("article/text.txt.j2", section, **facts)


def _figures(material: Material) -> Iterator[tuple[str, Callable[[], Figure | None], str, str]]:
    """Yield the name of each figure, what draws it, its caption and its text alternative."""
    study, filters, published = material.study, len(material.study.names), bool(material.study.published)
    words = _text("filters_words", study=study)
    yield "filters", partial(panels.filters, material), _text("filters_caption"), words
    words = _text(
        "offset_words", minima=[(study.dc_offset[study.names[i]], study.names[i]) for i in material.smoothing]
    )
    yield "dc_offset", partial(curves.dc_offset, material), _text("offset_caption", published=published), words
    groups = {"per_axis": PER_AXIS, "common_shared": (*COMMON, *SHARED)}
    for name, methods in groups.items():
        caption = _text("models_caption", methods=methods_words(methods), strength=bool(material.sharpening))
        words = _text("panels_words", what="The normalised filters and their models", filters=filters, methods=methods)
        yield f"models_{name}", partial(panels.models, material, methods), caption, words
    for name, methods in groups.items():
        caption = _text("residuals_caption", methods=methods)
        words = _text("panels_words", what="The residuals", filters=filters, methods=methods)
        yield f"residuals_{name}", partial(panels.residuals, material, methods), caption, words
    shown = {"plain": material.plain, "strength": material.sharpening, "published": published}
    for norm, method in ((1, "C1"), (2, "D1")):
        caption = _text("surface_caption", norm=norm, **shown)
        lowest = list(zip(study.names, study.objective(method).tolist(), strict=True))
        words = _text("surface_words", norm=norm, lowest=lowest)
        yield f"surface_l{norm}", partial(curves.surfaces, material, norm), caption, words
    yield "richer", partial(curves.richer, material), _text("richer_caption"), _text("richer_words")
