"""The tables of an article: a study in, tables out."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from scalekeys.paper import METHODS, RICHER_MODELS, SPREAD_MEASURES, spread_table, worst_deviations
from scalekeys.paper.curves import offset_objective
from scalekeys.report.article.measures import COMMON, METHOD, PER_AXIS, SHARED, Material, members
from scalekeys.report.article.table import Cell, Deviation, Table
from scalekeys.report.page.words import listed

_RELATIVE = "|K - N| / |N|"


def all_tables(material: Material) -> dict[str, Table]:
    """Return every table that has rows, by its name."""
    tables = [make(material) for make in _TABLES]
    return {table.name: table for table in tables if table.rows}


def spread(material: Material) -> Table:
    """Tabulate the spread of each filter, with published values where there are any."""
    study = material.study
    rows: list[tuple[Cell, ...]] = []
    for i, computed in enumerate(spread_table(study.spread).tolist()):
        who = _who(material, i)
        if not study.published:
            rows.append((*who, *computed))
            continue
        known = [material.published["spread", study.names[i], quantity] for quantity in SPREAD_MEASURES]
        rows.append((*who, "computed", *computed))
        rows.append((*who, "published", *(one.published for one in known)))
        rows.append((*who, "deviation", *(Deviation(one.deviation) for one in known)))
    return Table(
        "spread",
        "Spread of the filters: l1 norm, mean M(|h|) and covariance V(|h|), in pixels and pixels squared.",
        ("filter", "family", *(("value",) if study.published else ()), *SPREAD_MEASURES),
        tuple(rows),
        group="filter" if study.published else "",
    )


def weighted_spread(material: Material) -> Table:
    """Tabulate the spread near the centre."""
    rows: list[tuple[Cell, ...]] = [
        (*_who(material, i), *values) for i, values in enumerate(spread_table(material.study.weighted_spread).tolist())
    ]
    return Table(
        "weighted_spread",
        "Spread weighted with the absolute template w of the same family at scale 1: l1 norm, mean M(|h| w) and "
        "covariance V(|h| w). The DC offset of a smoothing or a sharpening is subtracted first.",
        ("filter", "family", *SPREAD_MEASURES),
        tuple(rows),
    )


def dc_offsets(material: Material) -> Table:
    """Tabulate the DC offsets of smoothing and sharpening filters, and what they minimise."""
    study = material.study
    rows: list[tuple[Cell, ...]] = []
    for i in material.smoothing:
        name = study.names[i]
        offset = study.dc_offset[name]
        at_offset, at_zero = offset_objective(study.filters[i], study.filters.new_tensor([offset, 0.0])).tolist()
        rows.append((*_who(material, i), *_beside(material, "DC offset", name, "C", offset), at_offset, at_zero))
    return Table(
        "dc_offset",
        "DC offset C of each smoothing or sharpening filter, and the objective sqrt(det V(|h - C|)) there and without "
        "an offset.",
        ("filter", "family", *_heads(material, "C"), "objective at C", "objective at 0"),
        tuple(rows),
        digits=6,
    )


def normalised(material: Material) -> Table:
    """Tabulate the spread of the filters 7 and 8 after the normalisation, beside the published values."""
    rows: list[tuple[Cell, ...]] = [
        (
            one.filter,
            one.table.removeprefix("spread, "),
            one.quantity,
            one.computed,
            one.published,
            Deviation(one.deviation),
        )
        for one in material.comparisons
        if one.table in ("spread, normalised", "spread, weighted")
    ]
    return Table(
        "normalised",
        "Spread of the filters that have a DC offset, after the normalisation by moments: l1 norm, and covariance "
        "weighted with T at scale 0.707 (filter 7) and 1 (filter 8).",
        ("filter", "spread", "quantity", "computed", "published", "deviation"),
        tuple(rows),
    )


def scales_per_axis(material: Material) -> Table:
    """Tabulate the scales by the methods that have one for each axis."""
    return Table(
        "scales_per_axis",
        "Scales with one for each axis, in the published window: A1 variance of a continuous Gaussian, B1 variance, C1 "
        "l1, D1 l2; and the relative residual that each leaves in the l2 norm.",
        ("method", "filter", "family", *_heads(material, "sigma_x"), *_heads(material, "sigma_y"), _RELATIVE),
        tuple(_scale_rows(material, PER_AXIS, "per axis", ("sigma_x", "sigma_y"))),
        group="method",
    )


def scales_common(material: Material) -> Table:
    """Tabulate the scales by the methods that have one for both axes."""
    return Table(
        "scales_common",
        "Scales with one for both axes, in the published window: C2 l1, D2 l2; and the relative residual in the l2 "
        "norm.",
        ("method", "filter", "family", *_heads(material, "sigma"), _RELATIVE),
        tuple(_scale_rows(material, COMMON, "common", ("sigma",))),
        group="method",
    )


def _scale_rows(
    material: Material, methods: Sequence[str], scales: str, quantities: Sequence[str]
) -> Iterator[tuple[Cell, ...]]:
    """Yield a row for each method and filter: its scales beside the published ones, and the relative residual."""
    study = material.study
    for method in methods:
        table = f"scales, {METHOD[method].criterion}, {scales}"
        sigma, relative = study.fits["published", method].sigma.tolist(), study.relative_error(method).tolist()
        for i in material.plain:
            values = zip(quantities, sigma[i], strict=False)
            cells = [_beside(material, table, study.names[i], quantity, value) for quantity, value in values]
            yield method, *_who(material, i), *chain(*cells), relative[i]


def scales_shared(material: Material) -> Table:
    """Tabulate the scale of each group."""
    study = material.study
    rows: list[tuple[Cell, ...]] = []
    for method in SHARED:
        sigma, relative = study.fits["published", method].sigma[:, 0], study.relative_error(method)
        for group, indices in study.groups.items():
            inside = list(indices)
            table = f"scales, {METHOD[method].criterion}, shared"
            value = _beside(material, table, group, "sigma", float(sigma[inside[0]]))
            rows.append((method, listed(members(study, group)), *value, float(relative[inside].max())))
    return Table(
        "scales_shared",
        "Scales shared by groups of filters, in the published window: A3 and B3 the geometric mean of the scales of "
        "all members by variance, C3 and D3 the minimum of the summed l1 and of the summed squared l2 error; and the "
        "largest relative residual in the group, in the l2 norm.",
        ("method", "filters", *_heads(material, "sigma"), f"largest {_RELATIVE}"),
        tuple(rows),
        group="method",
    )


def sharpening(material: Material) -> Table:
    """Tabulate scale and strength of the sharpening filters."""
    study = material.study
    rows: list[tuple[Cell, ...]] = []
    for method in ("C1", "D1"):
        criterion = METHOD[method].criterion
        result, relative = study.fits["published", method], study.relative_error(method)
        objective = study.objective(method)
        for i in material.sharpening:
            name = study.names[i]
            sigma, alpha = float(result.sigma[i, 0]), float(result.alpha[i])
            rows.append(
                (
                    name,
                    criterion,
                    *_beside(material, f"sharpening, {criterion}", name, "sigma", sigma),
                    *_beside(material, f"sharpening, {criterion}", name, "alpha", alpha),
                    float(objective[i]),
                    float(relative[i]),
                )
            )
    return Table(
        "sharpening",
        "Scale and strength of sharpening, impulse - alpha L5 T, in the published window; the norm of K - N that is "
        "minimised, and the relative residual in the l2 norm.",
        ("filter", "norm", *_heads(material, "sigma"), *_heads(material, "alpha"), "objective", _RELATIVE),
        tuple(rows),
    )


def residuals(material: Material) -> Table:
    """Tabulate the relative residuals by every method."""
    study = material.study
    columns = [study.relative_error(method.name).tolist() for method in METHODS]
    rows: list[tuple[Cell, ...]] = [
        (*_who(material, i), *(column[i] for column in columns)) for i in range(len(study.names))
    ]
    return Table(
        "residuals",
        f"Relative residual {_RELATIVE} in the l2 norm by every method, in the published window. 1 is what a model of "
        "zeros would leave.",
        ("filter", "family", *(method.name for method in METHODS)),
        tuple(rows),
    )


def window(material: Material) -> Table:
    """Tabulate how far the exact window moves each scale, the filter that moves most first."""
    study = material.study
    columns = [
        (method.name, axis) for method in METHODS for axis in (("x", "y") if method.scales == "per-axis" else ("",))
    ]
    moves = {(move.index, move.method, move.axis): move.value for move in material.moves}

    def cells(index: int) -> list[float]:
        return [moves.get((index, *column), moves.get((index, column[0], ""), math.nan)) for column in columns]

    def largest(index: int) -> float:
        return max((abs(value) for value in cells(index) if math.isfinite(value)), default=0.0)

    order = sorted(range(len(study.names)), key=largest, reverse=True)
    heads = [f"{method} sigma_{axis}" if axis else f"{method} sigma" for method, axis in columns]
    return Table(
        "exact_window",
        "Scale in the exact window minus scale in the published window, by method; the filter with the largest move "
        "first. Sharpening has a fit of its own by C1 and D1 only.",
        ("filter", "family", "largest", *heads),
        tuple((*_who(material, i), largest(i), *cells(i)) for i in order),
    )


def uncertainty(material: Material) -> Table:
    """Tabulate standard errors of the scales by l2 and whether they are identifiable."""
    study = material.study
    result = study.fits["published", "D1"]
    rows: list[tuple[Cell, ...]] = []
    for i in range(len(study.names)):
        cells: list[Cell] = []
        for axis in range(2):
            cells += [
                float(result.sigma[i, axis]),
                float(result.sigma_error[i, axis]),
                str(result.sigma_status[i, axis]),
            ]
        rows.append((*_who(material, i), *cells))
    heads = [head for axis in "xy" for head in (f"sigma_{axis}", f"error of sigma_{axis}", f"status of sigma_{axis}")]
    return Table(
        "uncertainty",
        "Standard errors of the l2 scales with one for each axis (D1), from the curvature of the sum of squares at the "
        "optimum, in the published window, with amplitude and offset held.",
        ("filter", "family", *heads),
        tuple(rows),
    )


def richer(material: Material) -> Table:
    """Tabulate how much richer models explain."""
    study = material.study
    columns = [study.richer[model].r2.tolist() for model in RICHER_MODELS]
    heads = [f"{model_words(model)}, {numbers} numbers" for model, numbers in RICHER_MODELS.items()]
    return Table(
        "richer_models",
        "Share r2 of the energy of each centred filter that a model explains: least squares, free amplitudes and "
        "offset, exact window; with the numbers that the model spends on a filter.",
        ("filter", "family", *heads),
        tuple((*_who(material, i), *(column[i] for column in columns)) for i in range(len(study.names))),
    )


def disagreements(material: Material) -> Table:
    """Tabulate questionable published numbers and conventions with both objective values."""
    rows = [(one.title, one.filter, one.measure, one.published, one.here) for one in material.conventions]
    return Table(
        "disagreements",
        "Published numbers that a slip or a grid decides, and conventions that change a result: the value with the "
        "published number or convention, and the value here.",
        ("disagreement", "filter", "measure", "published", "here"),
        tuple(rows),
    )


def agreement(material: Material) -> Table:
    """Tabulate the worst deviation of each published table."""
    total = Counter(one.table for one in material.comparisons)
    reached = Counter(one.table for one in material.comparisons if one.reached)
    rows = [
        (
            *(table, total[table], reached[table], Deviation(one.tolerance), one.filter, one.quantity),
            *(one.published, one.computed, Deviation(one.deviation)),
        )
        for table, one in worst_deviations(material.comparisons).items()
    ]  # fmt: skip
    return Table(
        "agreement",
        "Published values and how many of them are reached: within half a unit of the last decimal that is compared "
        "or, where the published value is a node of a grid, within a step of this grid. The last columns hold the "
        "value of each published table that deviates most.",
        ("table", "values", "reached", "tolerance", "filter", "quantity", "published", "computed", "deviation"),
        tuple(rows),
        digits=6,
    )


def model_words(model: str) -> str:
    """Name a richer model.

    Examples
    --------
    >>> model_words("ideal8"), model_words("jet2")
    ('single family', '2-jet')
    """
    return f"{model.removeprefix('jet')}-jet" if model.startswith("jet") else "single family"


_TABLES: tuple[Callable[[Material], Table], ...] = (
    spread, weighted_spread, dc_offsets, normalised, scales_per_axis, scales_common, scales_shared, residuals,
    sharpening, window, uncertainty, richer, disagreements, agreement,
)  # fmt: skip


def _who(material: Material, index: int) -> tuple[str, str]:
    return material.study.names[index], material.study.families[index]


def _heads(material: Material, quantity: str) -> tuple[str, ...]:
    """Headings of a value, and of what stands beside it."""
    return (quantity, "published", "deviation") if material.study.published else (quantity,)


def _beside(material: Material, table: str, name: str, quantity: str, computed: float) -> tuple[Cell, ...]:
    """Return a computed value, and the published one and the deviation where the study has published values."""
    if not material.study.published:
        return (computed,)
    known = material.published.get((table, name, quantity))
    return (computed, known.published, Deviation(known.deviation)) if known else (computed, None, None)
