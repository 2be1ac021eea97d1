"""The figures behind the sentences of an article, which stand in ``templates/text.txt.j2``."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from scalekeys.paper import METHODS, RICHER_MODELS, Comparison
from scalekeys.paper.curves import norm_at
from scalekeys.report.article.measures import METHOD, PER_AXIS, Material, Move, members, method_words
from scalekeys.report.article.tables import model_words
from scalekeys.report.page.document import paragraph, paragraphs
from scalekeys.scalespace import FAMILIES, Window

_FLAT = 0.02
"""Relative change of an objective below which it is called flat."""

_AT_BOUND = 1e-9
_ONE_SIDED = ("forward", "backward")


@dataclass(frozen=True)
class Range:
    """In which range values lie, and whose the ends are; `low` is None where there is but one value."""

    low: float | None
    high: float
    first: str
    last: str

    @classmethod
    def of(cls, values: Sequence[float], names: Sequence[str]) -> "Range | None":
        """Return the range of the finite values; None if there are none."""
        finite = [(value, name) for value, name in zip(values, names, strict=True) if math.isfinite(value)]
        if not finite:
            return None
        (low, first), (high, last) = min(finite), max(finite)
        return cls(None if len(finite) == 1 else low, high, first, last)


def _text(section: str, **facts: Any) -> list[str]:
    return paragraphs("article/text.txt.j2", section, **facts)


def _one(section: str, **facts: Any) -> str:
    return paragraph("article/text.txt.j2", section, **facts)


def lead(material: Material) -> str:
    """State the result in a few sentences."""
    reached = [one for one in material.comparisons if one.reached]
    missed = [one for one in material.comparisons if not one.reached]
    return _one(
        "lead",
        study=material.study,
        range=_residual(material),
        compared=len(material.comparisons),
        reached=len(reached),
        worst=max(reached, key=lambda one: one.deviation, default=None),
        missed=missed,
        reasons=list(dict.fromkeys(reason for one in missed if (reason := _reason(material, one)))),
    )


def filters(material: Material) -> list[str]:
    """Say what the filters are and how they are modelled."""
    families = Counter(material.study.families)
    named = [f"{name} ({times})" if times > 1 else name for name, times in families.items()]
    return _text("filters", study=material.study, families=named)


def spread(material: Material) -> list[str]:
    """Say what the spread tells of separability and of half a pixel."""
    study = material.study
    v = study.spread.covariance
    correlation = (v[:, 0, 1] / (v[:, 0, 0] * v[:, 1, 1]).sqrt()).abs().tolist()
    plain, weighted = (_one_sided(material, measured.mean) for measured in (study.spread, study.weighted_spread))
    return _text(
        "spread",
        correlation=Range.of(correlation, study.names),
        one_sided=len(plain),
        plain=Range.of(list(plain.values()), list(plain)),
        weighted=Range.of(list(weighted.values()), list(plain)),
    )


def normalisation(material: Material) -> list[str]:
    """Say how amplitude and offset are fixed."""
    smoothing = len(material.smoothing)
    return _text("normalisation", derivatives=smoothing < len(material.study.names), smoothing=smoothing)


def scales(material: Material) -> list[str]:
    """Say how the scales are found, and where they are zero."""
    largest = max(material.study.size) * (1 - _AT_BOUND)
    zeros, ends = _where(material, lambda sigma: sigma == 0), _where(material, lambda sigma: sigma >= largest)
    return _text("scales", sharpening=material.sharpening, zeros=zeros, ends=ends)


def no_groups(material: Material) -> str:
    """Say why no scale is shared, or how the groups are formed."""
    groups = [f"{{{', '.join(members(material.study, group))}}}" for group in material.study.groups]
    return _one("groups", members=groups)


def residuals(material: Material) -> list[str]:
    """Say what the models leave."""
    study, parts = material.study, []
    for method in METHODS:
        finite = [value for value in study.relative_error(method.name).tolist() if math.isfinite(value)]
        parts += [(max(finite), method.name)] if finite and len(study.names) > 1 else []
    above = [name for name, value in zip(study.names, study.relative_error("D1").tolist(), strict=True) if value > 1]
    best, worst = min(parts, default=None), max(parts, default=None)
    return _text("residuals", study=study, range=_residual(material), best=best, worst=worst, above=above)


def surfaces(material: Material) -> list[str]:
    """Say what the objective surfaces show."""
    best, common = (material.study.objective(method).tolist() for method in ("D1", "D2"))
    inexact = [i for i in material.plain if best[i] > 0]
    cost = Range.of([common[i] / best[i] - 1 for i in inexact], [material.study.names[i] for i in inexact])
    return _text("surfaces", known=bool(inexact), cost=cost)


def sharpening(material: Material) -> list[str]:
    """Say how scale and strength are fitted."""
    return _text("sharpening", names=[material.study.names[i] for i in material.sharpening])


def unreached_strengths(material: Material) -> str:
    """Point at the published values of sharpening that are not reached; empty if there is none."""
    missed = [one for one in material.comparisons if one.table.startswith("sharpening") and not one.reached]
    if not missed:
        return ""
    which = [f"{one.quantity} by {one.table.split(', ')[1]}" for one in missed]
    return _one("unreached_strengths", missed=which, filter=missed[0].filter)


def window(material: Material) -> list[str]:
    """Say which scales the exact window moves, and by how much."""

    def told(move: Move) -> dict[str, object]:
        return vars(move) | {"filter": material.study.names[move.index], "words": method_words(move.method)}

    moves = [move for move in material.moves if math.isfinite(move.value)]
    largest = max(moves, key=lambda move: abs(move.value), default=None)
    if largest is None or largest.value == 0:
        return _text("window", largest=None, second=None, change=None, flat=False)
    second, change = None, None
    if METHOD[largest.method].criterion == "l1":
        rest = [move for move in moves if METHOD[move.method].criterion != "l1"]
        second = told(max(rest, key=lambda move: abs(move.value), default=largest))
        change = _change(material, largest)
    flat = change is not None and change < _FLAT
    return _text("window", largest=told(largest), second=second, change=change, flat=flat)


def uncertainty(material: Material) -> list[str]:
    """Count what is identifiable, and say what a standard error assumes."""
    status = material.study.fits["published", "D1"].sigma_status
    words = Counter(str(status[i, j]) for i in range(len(status)) for j in range(1 if i in material.sharpening else 2))
    return _text("uncertainty", words=words)


def richer(material: Material) -> list[str]:
    """Say how much each theory explains, and at what price."""
    study = material.study
    taps = study.size[0] * study.size[1]
    gain = (study.richer["jet2"].r2 - study.richer["ideal8"].r2).tolist()
    finite = [(value, name) for value, name in zip(gain, study.names, strict=True) if math.isfinite(value)]
    several = finite if len(finite) > 1 else []
    return _text(
        "richer",
        models=[
            (model_words(model), numbers, Range.of(study.richer[model].r2.tolist(), study.names))
            for model, numbers in RICHER_MODELS.items()
        ],
        taps=taps,
        most=max(several, default=None),
        least=min(several, default=None),
        spent=[model_words(model) for model, numbers in RICHER_MODELS.items() if numbers >= taps],
    )


def disagreements(material: Material) -> str:
    """Introduce the disagreements."""
    return _one("disagreements", cases=len(material.conventions))


def agreement(material: Material) -> str:
    """Introduce the comparison with the published values."""
    reached = sum(one.reached for one in material.comparisons)
    return _one("agreement", compared=len(material.comparisons), reached=reached)


def _where(material: Material, holds: Callable[[float], bool]) -> list[tuple[str, str, list[str]]]:
    """Return the scales of which something holds: axis, filter, and the methods that say so."""
    found = []
    for i in material.plain:
        for j, axis in enumerate("xy"):
            methods = [m for m in PER_AXIS if holds(float(material.study.fits["published", m].sigma[i, j]))]
            found += [(axis, material.study.names[i], methods)] if methods else []
    return found


def _reason(material: Material, one: Comparison) -> str:
    """Title of the disagreement that explains a value that is not reached; empty if there is none."""
    norm = one.table.split(", ")[-1]
    titles = [c.title for c in material.conventions if c.filter == one.filter and c.title.startswith(f"The {norm} ")]
    return titles[0] if titles else ""


def _residual(material: Material) -> Range | None:
    return Range.of(material.study.relative_error("D1").tolist(), material.study.names)


def _one_sided(material: Material, mean: torch.Tensor) -> dict[str, float]:
    """Distance of the mean of each one-sided difference from the centre, along its axis."""
    found = {}
    for i, (name, family) in enumerate(zip(material.study.names, material.study.families, strict=True)):
        for axis, operator in enumerate(FAMILIES[family].terms[0].operators):
            if operator in _ONE_SIDED:
                found[name] = abs(float(mean[i, axis]))
    return found


def _change(material: Material, move: Move) -> float | None:
    """By which share the l1 objective changes between the two optima; None for a shared scale."""
    if METHOD[move.method].scales == "shared" or move.index in material.sharpening:
        return None
    here, there = (
        float(norm_at(material.study, move.index, x, y, 1))
        for x, y in (_scales(material, move, "published"), _scales(material, move, "exact"))
    )
    return there / here - 1


def _scales(material: Material, move: Move, window: Window) -> list[float]:
    pair: list[float] = material.study.fits[window, move.method].sigma[move.index].tolist()
    return pair
