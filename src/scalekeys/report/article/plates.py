"""The figures of an article with their captions and text alternatives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from matplotlib.figure import Figure

from scalekeys.report.article import curves, panels
from scalekeys.report.article.measures import COMMON, PER_AXIS, SHARED, Material, methods_words
from scalekeys.report.article.panels import SHOWN
from scalekeys.report.page import canvas
from scalekeys.report.page.words import listed, number, plural, size_name

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
    caption: str | Callable[[Material], str]
    alternative: str | Callable[[Material], str]


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
                _said(recipe.caption, material) + _first(material, recipe.name),
                _said(recipe.alternative, material),
                canvas.file_bytes(figure, "png"),
                canvas.file_bytes(figure, "pdf"),
                (float(width), float(height)),
            )


def _said(text: str | Callable[[Material], str], material: Material) -> str:
    return text if isinstance(text, str) else text(material)


def _first(material: Material, name: str) -> str:
    count = len(material.smoothing if name == "dc_offset" else material.study.names)
    return f" Shown are the first {SHOWN} of {plural(count, 'filter')}." if count > SHOWN else ""


def _models_caption(methods: tuple[str, ...]) -> Callable[[Material], str]:
    def caption(material: Material) -> str:
        strength = ", or scale and strength for sharpening" if material.sharpening else ""
        return (
            "Left, the normalised filter N; beside it its models K in the published window by method: "
            f"{methods_words(methods)}. Under each model its scale, or the scales along x and y{strength}, in pixels. "
            "Each row has one range of colours, which stands at its right."
        )

    return caption


def _residuals_caption(methods: tuple[str, ...]) -> str:
    return (
        f"What the models leave, K - N, in the published window by the methods {listed(methods)}. Under each picture "
        "|K - N| / |N| in the l2 norm. Each row has one range of colours, which stands at its right; it is not the "
        "range of the filter."
    )


def _offset_caption(material: Material) -> str:
    beside = " Dashed, the published offset." if material.study.published else ""
    return (
        "The objective of the DC offset, sqrt(det V(|h - C|)), around its minimum. It has a kink at every value of the "
        f"filter (dots), and its minimum lies on one.{beside}"
    )


def _surface_caption(norm: int) -> Callable[[Material], str]:
    def caption(material: Material) -> str:
        axes = []
        if material.plain:
            axes.append("the two scales (dotted: one scale for both axes)")
        if material.sharpening:
            axes.append("scale and strength, for sharpening")
        if not material.study.published:
            beside = ""
        elif norm == 1:
            beside = " Published are the common scales, on the diagonal, and for sharpening the strength alone: a line."
        else:
            beside = " Published are the common scales, on the diagonal, and scale and strength for sharpening."
        return (
            f"The l{norm} norm of K - N in the published window over {listed(axes)}. Light is low; from one contour to "
            "the next the distance from the minimum grows as a square. At the upper right of each panel, the value at "
            f"the minimum.{beside}"
        )

    return caption


def _filters_words(material: Material) -> str:
    rows, cols = material.study.size
    who = listed([f"{n} {f}" for n, f in zip(material.study.names, material.study.families, strict=True)])
    return f"Pictures of {plural(len(material.study.names), 'filter')} of {size_name(f'{rows}x{cols}')} taps: {who}."


def _panels_words(what: str, methods: tuple[str, ...]) -> Callable[[Material], str]:
    def words(material: Material) -> str:
        return (
            f"{what} of {plural(len(material.study.names), 'filter')}, a row for each, by the methods "
            f"{listed(methods)}. The tables of scales and residuals hold the numbers."
        )

    return words


def _offset_words(material: Material) -> str:
    study = material.study
    minima = [f"{number(study.dc_offset[study.names[i]], 5)} for filter {study.names[i]}" for i in material.smoothing]
    return f"Curves with kinks that fall to a minimum and rise again. The minimum is at C = {listed(minima)}."


def _surface_words(norm: int) -> Callable[[Material], str]:
    def words(material: Material) -> str:
        method = "C1" if norm == 1 else "D1"
        lowest = material.study.objective(method).tolist()
        values = [f"filter {n} {number(v, 3)}" for n, v in zip(material.study.names, lowest, strict=True)]
        return (
            f"Contour plots with marked minima, one for each filter. The l{norm} norm at the minimum: {listed(values)}."
        )

    return words


_FILTERS_CAPTION = "The filters in one range of colours; zero is white. x points right and y points up."
_RICHER_CAPTION = (
    "Share r2 of the energy of each centred filter that a model explains, by least squares with free amplitudes and "
    "offset; in brackets the numbers that the model spends on a filter."
)
_RICHER_WORDS = (
    "A dot plot with a row for each filter and a dot for each model; the table of richer models holds the values."
)

_RECIPES = (
    _Recipe("filters", panels.filters, _FILTERS_CAPTION, _filters_words),
    _Recipe("dc_offset", curves.dc_offset, _offset_caption, _offset_words),
    _Recipe(
        "models_per_axis",
        lambda material: panels.models(material, PER_AXIS),
        _models_caption(PER_AXIS),
        _panels_words("The normalised filters and their models", PER_AXIS),
    ),
    _Recipe(
        "models_common_shared",
        lambda material: panels.models(material, _COMMON_SHARED),
        _models_caption(_COMMON_SHARED),
        _panels_words("The normalised filters and their models", _COMMON_SHARED),
    ),
    _Recipe(
        "residuals_per_axis",
        lambda material: panels.residuals(material, PER_AXIS),
        _residuals_caption(PER_AXIS),
        _panels_words("The residuals", PER_AXIS),
    ),
    _Recipe(
        "residuals_common_shared",
        lambda material: panels.residuals(material, _COMMON_SHARED),
        _residuals_caption(_COMMON_SHARED),
        _panels_words("The residuals", _COMMON_SHARED),
    ),
    _Recipe("surface_l1", lambda material: curves.surfaces(material, 1), _surface_caption(1), _surface_words(1)),
    _Recipe("surface_l2", lambda material: curves.surfaces(material, 2), _surface_caption(2), _surface_words(2)),
    _Recipe("richer", curves.richer, _RICHER_CAPTION, _RICHER_WORDS),
)
