"""The sentences of an article: exact, computed from the study, and true of every study."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import torch

from scalekeys.paper import METHODS, RICHER_MODELS, Comparison
from scalekeys.paper.curves import norm_at
from scalekeys.report.article.measures import METHOD, PER_AXIS, Material, Move, members, method_words
from scalekeys.report.article.tables import model_words
from scalekeys.report.page.words import count, listed, number, percent, plural, significant, size_name
from scalekeys.scalespace import FAMILIES, Window

_RELATIVE = "|K - N| / |N|"
_FLAT = 0.02
"""Relative change of an objective below which it is called flat."""

_AT_BOUND = 1e-9
_ONE_SIDED = ("forward", "backward")
_STATUS = {
    "ok": "identified",
    "flat": "flat, which means that two standard errors either side span the whole range of the search, or that the "
    "objective does not curve upwards",
    "at-zero": "at zero, an end of the range: no smoothing there",
    "at-bound": "at the largest scale that is searched",
}


def lead(material: Material) -> str:
    """State the result in a few sentences."""
    fit = _residual_sentence(material)
    if not material.study.published:
        return f"{_what(material)} {fit} There are no published values to compare with."
    reached = [one for one in material.comparisons if one.reached]
    missed = [one for one in material.comparisons if not one.reached]
    first = f"{count(len(reached))} of {plural(len(material.comparisons), 'published value')} "
    first += "is reached" if len(reached) == 1 else "are reached"
    if reached:
        worst = max(reached, key=lambda one: one.deviation)
        first += " within the accuracy of the published searches, with a deviation of at most "
        first += f"{significant(worst.deviation, 2)} "
        first += f"({worst.quantity} of filter {worst.filter}, {worst.table})"
    return f"{first}. {_missed(material, missed)}{fit}"


def filters(material: Material) -> list[str]:
    """Say what the filters are and how they are modelled."""
    rows, cols = material.study.size
    families = Counter(material.study.families)
    named = listed([f"{name} ({times})" if times > 1 else name for name, times in families.items()])
    modelled = "It is modelled by" if len(material.study.names) == 1 else "Each is modelled by one of"
    family = "the family" if len(families) == 1 else "the families"
    if len(material.study.names) > 1 and len(families) == 1:
        modelled = "Each is modelled by"
    return [
        f"{_what(material)} {modelled} {family} {named}. x points right and y points up; scales sigma are standard "
        f"deviations in pixels, and sigma = 0 means no smoothing. A filter has {count(rows * cols)} taps."
    ]


def spread(material: Material) -> list[str]:
    """Say what the spread tells of separability and of half a pixel."""
    study = material.study
    v = study.spread.covariance
    correlation = (v[:, 0, 1] / (v[:, 0, 0] * v[:, 1, 1]).sqrt()).abs().tolist()
    paragraphs = [
        "The absolute values of a filter, as a weight on its grid, have a mean M(|h|) and a covariance V(|h|). The "
        f"absolute correlation |Vxy| / sqrt(Vxx Vyy) {_spans(correlation, study.names, 3)}; it is 0 where |h| is a "
        "product of a profile along x and a profile along y."
    ]
    plain, weighted = (_one_sided(material, measured.mean) for measured in (study.spread, study.weighted_spread))
    if plain:
        whose = "The mean of the one-sided difference" if len(plain) == 1 else "The mean of the one-sided differences"
        paragraphs.append(
            f"{whose} lies off the centre, along the axis of differentiation: its distance "
            f"{_spans(list(plain.values()), list(plain))} pixels, and, weighted, "
            f"{_spans(list(weighted.values()), list(plain))} pixels. The middle between two neighbouring taps is half "
            "a pixel off."
        )
    return paragraphs


def normalisation(material: Material) -> list[str]:
    """Say how amplitude and offset are fixed."""
    paragraphs = []
    if len(material.smoothing) < len(material.study.names):
        paragraphs.append(
            "A derivative is divided by its response to a unit ramp along its axis, taken about the mean M(|h|); "
            "nothing is subtracted."
        )
    if material.smoothing:
        paragraphs.append(
            "From a smoothing or a sharpening the DC offset C is subtracted that minimises sqrt(det V(|h - C|)), and "
            "the rest is divided by its sum. Between two values of the filter the minimum cannot lie, so trying the "
            "values of the filter is an exact search."
        )
    else:
        paragraphs.append("No filter is a smoothing or a sharpening, so no DC offset is subtracted.")
    return paragraphs


def scales(material: Material) -> list[str]:
    """Say how the scales are found, and where they are zero."""
    paragraphs = [
        "Methods A and B compare widths: A uses the formulas for continuous Gaussians and their first "
        "derivatives, B the model itself. "
        "Methods C and D minimise the l1 and the l2 norm of K - N. The digit says which scales are free: 1 one for "
        "each axis, 2 one for both axes, 3 one for a group of filters. Everything in this section is in the published "
        "window, where T is cropped before differences are taken."
    ]
    if material.sharpening:
        paragraphs.append(
            "Sharpening has one scale for both axes and a strength alpha; in methods A and B it takes those of l2, and "
            "it stands in a section of its own."
        )
    largest = max(material.study.size) * (1 - _AT_BOUND)
    zeros, ends = _where(material, lambda sigma: sigma == 0), _where(material, lambda sigma: sigma >= largest)
    if zeros:
        paragraphs.append(f"Exactly 0 {'is' if len(zeros) == 1 else 'are'} {listed(zeros)}: no smoothing there.")
    if ends:
        paragraphs.append(
            f"At the largest scale that is searched, so that nothing is known but a lower bound: {listed(ends)}."
        )
    return paragraphs


def no_groups(material: Material) -> str:
    """Say why no scale is shared, or how the groups are formed."""
    if not material.study.groups:
        return "No filters share a scale, so each filter keeps, by the methods with the digit 3, the scales of its own."
    groups = [f"{{{', '.join(members(material.study, group))}}}" for group in material.study.groups]
    return f"The {'group is' if len(groups) == 1 else 'groups are'} {listed(groups)}."


def residuals(material: Material) -> list[str]:
    """Say what the models leave."""
    study = material.study
    names, parts = study.names, []
    for method in METHODS:
        values = study.relative_error(method.name).tolist()
        if any(math.isfinite(value) for value in values):
            parts.append((max(value for value in values if math.isfinite(value)), method.name))
    paragraphs = [
        f"{_residual_sentence(material)} A scale tells little without the residual beside it: where the residual is "
        "large, it is the scale of the nearest model, not of the filter."
    ]
    if parts and len(names) > 1:
        best, worst = min(parts), max(parts)
        paragraphs.append(
            f"The largest residual of all filters is smallest by method {best[1]} ({number(best[0], 3)}) and largest "
            f"by method {worst[1]} ({number(worst[0], 3)})."
        )
    above = [name for name, value in zip(names, study.relative_error("D1").tolist(), strict=True) if value > 1]
    if above:
        filters, leave = ("Filter", "leaves") if len(above) == 1 else ("Filters", "leave")
        paragraphs.append(
            f"{filters} {listed(above)} {leave} more than 1 even by D1: with the amplitude that the moments fix, the "
            "model is further from the filter than zero is."
        )
    return paragraphs


def surfaces(material: Material) -> list[str]:
    """Say what the objective surfaces show."""
    text = (
        "The objectives of methods C and D as functions of the parameters. A long valley means that a parameter, or a "
        "combination of two, is poorly determined; the l1 norm has creases where a residual changes sign."
    )
    best, common = (material.study.objective(method).tolist() for method in ("D1", "D2"))
    inexact = [i for i in material.plain if best[i] > 0]
    cost = [common[i] / best[i] - 1 for i in inexact]
    if not cost:
        return [text]
    names = [material.study.names[i] for i in inexact]
    return [
        text,
        "The price of one scale for both axes, the l2 norm at its minimum over that at the minimum with two scales, "
        f"minus 1, {_spans(cost, names, 4)}.",
    ]


def sharpening(material: Material) -> list[str]:
    """Say how scale and strength are fitted."""
    one = len(material.sharpening) == 1
    return [
        f"The model is impulse - alpha L5 T, with the five-point Laplacian L5. For filter{'' if one else 's'} "
        f"{listed([material.study.names[i] for i in material.sharpening])} scale and strength are fitted together, by "
        "l1 and by l2."
    ]


def unreached_strengths(material: Material) -> str:
    """Point at the published values of sharpening that are not reached; empty if there is none."""
    missed = [one for one in material.comparisons if one.table.startswith("sharpening") and not one.reached]
    if not missed:
        return ""
    which = listed([f"{one.quantity} by {one.table.split(', ')[1]}" for one in missed])
    return f"Not reached: the published {which} of filter {missed[0].filter}. The reasons stand under"


def window(material: Material) -> list[str]:
    """Say which scales the exact window moves, and by how much."""
    paragraphs = [
        "In the exact window T is evaluated on a support that is wide enough, differences are taken, and the result is "
        "cropped; in the published window T is cropped first. The two differ at the border, and the more so the wider "
        "the model is for the window."
    ]
    moves = [move for move in material.moves if math.isfinite(move.value)]
    largest = max(moves, key=lambda move: abs(move.value), default=None)
    if largest is None or largest.value == 0:
        return [*paragraphs, "No scale moves."]
    text = f"The largest move is {_move(material, largest)}."
    rest = [move for move in moves if METHOD[move.method].criterion != "l1"]
    second = max(rest, key=lambda move: abs(move.value), default=largest)
    if METHOD[largest.method].criterion == "l1":
        text += f"{_flatness(material, largest)} By the other criteria the largest move is {_move(material, second)}."
    return [*paragraphs, text]


def uncertainty(material: Material) -> list[str]:
    """Count what is identifiable, and say what a standard error assumes."""
    status = material.study.fits["published", "D1"].sigma_status
    words = Counter(str(status[i, j]) for i in range(len(status)) for j in range(1 if i in material.sharpening else 2))
    total = sum(words.values())
    parts = [f"{count(words[word])} {meaning}" for word, meaning in _STATUS.items() if words[word]]
    return [
        "With the Hessian H of the sum of squares at the optimum and the residual variance s², the covariance of the "
        f"parameters is 2 s² / H. Of {plural(total, 'scale')}: {'; '.join(parts)}.",
        "Caution: these errors assume residuals that are independent from tap to tap. Residuals of a model that does "
        "not fit are not: they have structure, as the pictures of residuals show. So read an error as the curvature of "
        "the objective in units of the misfit, not as a confidence interval.",
    ]


def richer(material: Material) -> list[str]:
    """Say how much each theory explains, and at what price."""
    study = material.study
    taps = study.size[0] * study.size[1]
    parts = [
        f"{model_words(model)} ({numbers} numbers) {_spans(study.richer[model].r2.tolist(), study.names, 3)}"
        for model, numbers in RICHER_MODELS.items()
    ]
    paragraphs = [
        "A jet is a free mixture of all discrete derivatives of one smoothing kernel up to an order. Here amplitudes "
        "and offset are free, and the window is exact, so the figures are not those of the methods above. The share r2 "
        f"that is explained, by model: {'; '.join(parts)}. A filter has {count(taps)} taps."
    ]
    gain = (study.richer["jet2"].r2 - study.richer["ideal8"].r2).tolist()
    finite = [(value, name) for value, name in zip(gain, study.names, strict=True) if math.isfinite(value)]
    if len(finite) > 1:
        most, least = max(finite), min(finite)
        paragraphs.append(
            f"From the single family to the 2-jet, r2 changes most for filter {most[1]}, by {number(most[0], 3)}, and "
            f"least for filter {least[1]}, by {number(least[0], 3)}."
        )
    spent = [model_words(model) for model, numbers in RICHER_MODELS.items() if numbers >= taps]
    if spent:
        one = len(spent) == 1
        paragraphs.append(
            f"The {listed(spent)} {'spends' if one else 'spend'} as many numbers as a filter has taps, or more, so "
            f"{'its' if one else 'their'} r2 says nothing."
        )
    return paragraphs


def disagreements(material: Material) -> str:
    """Introduce the disagreements."""
    cases = len(material.conventions)
    return (
        f"{plural(cases, 'case')} where a slip or a grid decides a published number, or where a published "
        "convention changes a result. Both objective values stand beside each other; lower is closer to the filter."
    )


def agreement(material: Material) -> str:
    """Introduce the comparison with the published values."""
    reached = sum(one.reached for one in material.comparisons)
    return (
        f"{count(reached)} of {plural(len(material.comparisons), 'published value')} "
        f"{'is' if reached == 1 else 'are'} reached. Reached means within the accuracy of the published search: "
        "half a unit of its last decimal, or a step of its grid. Figures for which the public sources give no "
        "number, such as the responses to monomials that the normalisation divides by, are not counted."
    )


def _where(material: Material, holds: Callable[[float], bool]) -> list[str]:
    """Name the scales of which something holds, each with the methods that say so."""
    found = []
    for i in material.plain:
        for j, axis in enumerate("xy"):
            methods = [m for m in PER_AXIS if holds(float(material.study.fits["published", m].sigma[i, j]))]
            found += [f"sigma_{axis} of filter {material.study.names[i]} by {listed(methods)}"] if methods else []
    return found


def _what(material: Material) -> str:
    rows, cols = material.study.size
    filters = len(material.study.names)
    return f"{plural(filters, 'filter')} of {size_name(f'{rows}x{cols}')} taps."


def _missed(material: Material, missed: Sequence[Comparison]) -> str:
    if not missed:
        return ""
    named = [
        f"{one.quantity} of filter {one.filter} ({one.table}), published {number(one.published, 4)} and here "
        f"{number(one.computed, 4)}"
        for one in missed
    ]
    why = dict.fromkeys(reason for one in missed if (reason := _reason(material, one)))
    reasons = "".join(f" {reason}." for reason in why)
    return f"Not reached: {'; '.join(named)}.{reasons} "


def _reason(material: Material, one: Comparison) -> str:
    """Title of the disagreement that explains a value that is not reached; empty if there is none."""
    norm = one.table.split(", ")[-1]
    titles = [c.title for c in material.conventions if c.filter == one.filter and c.title.startswith(f"The {norm} ")]
    return titles[0] if titles else ""


def _residual_sentence(material: Material) -> str:
    values = material.study.relative_error("D1").tolist()
    one = len(values) == 1
    return (
        f"With a scale for each axis, by l2 (D1), the {'model leaves' if one else 'models leave'} a relative residual "
        f"{_RELATIVE} that {_spans(values, material.study.names, 3)}."
    )


def _spans(values: Sequence[float], names: Sequence[str], digits: int = 2) -> str:
    """Say in which range values lie, and whose they are."""
    finite = [(value, name) for value, name in zip(values, names, strict=True) if math.isfinite(value)]
    if not finite:
        return "is not defined"
    if len(finite) == 1:
        return f"is {number(finite[0][0], digits)}"
    (low, first), (high, last) = min(finite), max(finite)
    return f"ranges from {number(low, digits)} (filter {first}) to {number(high, digits)} (filter {last})"


def _one_sided(material: Material, mean: torch.Tensor) -> dict[str, float]:
    """Distance of the mean of each one-sided difference from the centre, along its axis."""
    found = {}
    for i, (name, family) in enumerate(zip(material.study.names, material.study.families, strict=True)):
        for axis, operator in enumerate(FAMILIES[family].terms[0].operators):
            if operator in _ONE_SIDED:
                found[name] = abs(float(mean[i, axis]))
    return found


def _move(material: Material, move: Move) -> str:
    sigma = f"sigma_{move.axis}" if move.axis else "sigma"
    where = f"{sigma} of filter {material.study.names[move.index]} by {move.method} ({method_words(move.method)})"
    return f"{significant(move.value)} pixels, of {where}"


def _flatness(material: Material, move: Move) -> str:
    """Say how little the l1 objective changes between the two optima; empty for a shared scale."""
    if METHOD[move.method].scales == "shared" or move.index in material.sharpening:
        return ""
    here, there = (
        float(norm_at(material.study, move.index, x, y, 1))
        for x, y in (_scales(material, move, "published"), _scales(material, move, "exact"))
    )
    change = there / here - 1
    text = f" Between these two scales the objective, in the published window, changes by {percent(change, 2)}"
    return f"{text}: the l1 minimum lies in a flat valley with creases." if change < _FLAT else f"{text}."


def _scales(material: Material, move: Move, window: Window) -> list[float]:
    pair: list[float] = material.study.fits[window, move.method].sigma[move.index].tolist()
    return pair
