"""Claims about single filters: the mean of each network beside the same mean of noise in the place of its filters."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from scalekeys.atlas import Atlas
from scalekeys.report.findings import figures, questions
from scalekeys.report.findings.estimates import Mean, mean_over_designs
from scalekeys.report.findings.finding import Comparison, Finding, sentence
from scalekeys.report.findings.questions import Names
from scalekeys.report.page.words import NONE, number

Row = Mapping[str, Any]

TAPS = (("up to 9 taps", 0, 9), ("10 to 25 taps", 10, 25), ("more taps", 26, 10**9))
"""Classes of kernels: what a network is called by the median number of taps of its filters."""

_STEP = 0.05
"""Of the histogram of offsets, in pixels."""

QUESTIONS: Mapping[str, Callable[[Names], str]] = {
    "families": questions.families,
    "alignment": questions.alignment,
    "half-pixel": questions.offsets,
    "separability": questions.separability,
    "published-keys": questions.published_keys,
    "flat": questions.flat_scales,
    "depth": questions.scales_over_depth,
}
"""What asks for each claim; its words stand under the same name in ``claims.toml``."""


@dataclass(frozen=True)
class Claim:
    """A claim that one mean can test.

    Parameters
    ----------
    name, title, origin : str
    measure : str
        What the mean of a network is.
    direction : int
        1 if the claim is that trained filters have more than matched noise, -1 if less, 0 where the value is measured
        and cannot decide.
    limit : str
    beside : float, optional
        What the value itself is compared with, in the place of matched noise.
    """

    name: str
    title: str
    origin: str
    measure: str
    direction: int
    limit: str
    beside: float | None = None


@cache
def claims() -> tuple[Claim, ...]:
    """Return all claims, in the order of the page."""
    return tuple(Claim(name, **entry) for name, entry in told().items() if name in QUESTIONS)


@cache
def told() -> dict[str, dict[str, Any]]:
    """Return title, origin and limit of every finding, and what else is said of those that one mean tests."""
    text = resources.files("scalekeys.report").joinpath("findings", "claims.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def test_claim(claim: Claim, atlas: Atlas, names: Names) -> Finding | None:
    """Ask one claim; nothing where no network of the atlas can answer."""
    query = QUESTIONS[claim.name](names)
    table = atlas.sql(query).to_arrow()
    rows = table.to_pylist()
    if not rows:
        return None
    tests = tuple(_tests(claim, rows))
    return Finding(
        claim.name,
        claim.title,
        claim.origin,
        _sentence(claim, rows, tests[0]),
        claim.limit,
        tests,
        {claim.name: query},
        {claim.name: table},
        figures.beside_matched(rows, claim.measure, TAPS),
    )


def with_all_offsets(finding: Finding, atlas: Atlas, names: Names) -> Finding:
    """Show the distribution of the offsets of all filters in the place of the means of networks."""
    more = _with_table(finding, "all_offsets", questions.all_offsets(names), atlas)
    drawn = figures.histogram(
        more.tables["all_offsets"].to_pylist(),
        _STEP,
        "distance of the centre from the central tap, in pixels",
        "Distributions of the distance of the centre of one-sided filters from the central tap, for trained filters "
        "and both kinds of noise.",
    )
    return replace(more, plate=drawn)


def with_pitch(finding: Finding, atlas: Atlas, names: Names) -> Finding:
    """Add scales in pixels of the image, where the strides on the way to a layer are known."""
    more = _with_table(finding, "scales_by_pitch", questions.scales_by_pitch(names), atlas)
    found = more.tables["scales_by_pitch"].to_pylist()
    rows = [row for row in found if row["filters"] >= questions.LEAST_FILTERS]
    if not rows:
        return finding
    told = sentence("pitch", rows=rows, filters=sum(row["filters"] for row in rows))
    return replace(more, sentence=f"{finding.sentence} {told}")


def _with_table(finding: Finding, name: str, query: str, atlas: Atlas) -> Finding:
    table = atlas.sql(query).to_arrow()
    return replace(finding, queries={**finding.queries, name: query}, tables={**finding.tables, name: table})


def _tests(claim: Claim, rows: Sequence[Row]) -> list[Comparison]:
    """Compare all networks, and then those of each class of kernels."""
    classes = [("all networks", rows)]
    classes += [(name, [row for row in rows if low <= row["taps"] <= high]) for name, low, high in TAPS]
    return [_test(claim, name, some) for name, some in classes if some]


def _test(claim: Claim, name: str, rows: Sequence[Row]) -> Comparison:
    against = "beside matched noise" if claim.beside is None else f"less {claim.beside:g}"
    found = _mean(rows, lambda row: _compared(claim, row))
    test = Comparison.of_mean(f"{claim.name}, {name}, {against}", found, claim.direction)
    return test if claim.direction else replace(test, p=None)


def _compared(claim: Claim, row: Row) -> float:
    value: float = row["value"] - (row["matched"] if claim.beside is None else claim.beside)
    return value


def _mean(rows: Sequence[Row], value: Callable[[Row], float]) -> Mean:
    return mean_over_designs([value(row) for row in rows], [row["design"] for row in rows])


def _average(rows: Sequence[Row], column: str) -> str:
    """Return the mean of a column over designs; a dash where no network has a value."""
    known = [row for row in rows if row[column] is not None]
    return number(_mean(known, lambda row: float(row[column])).value, 3) if known else NONE


def _sentence(claim: Claim, rows: Sequence[Row], test: Comparison) -> str:
    real, matched, white = (_average(rows, column) for column in ("value", "matched", "white"))
    return sentence(
        "claim",
        claim=claim,
        test=test,
        real=real,
        matched=matched,
        white=white,
        filters=sum(row["filters"] for row in rows),
        true_of=sum(_compared(claim, row) * claim.direction > 0 for row in rows),
        networks=len(rows),
    )
