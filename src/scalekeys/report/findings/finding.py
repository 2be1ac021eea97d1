"""What a finding is: a claim, its tests, one figure, one sentence, one limit, and the question behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from scalekeys.proportions import holm_adjusted
from scalekeys.report.findings.estimates import LEVEL, Mean
from scalekeys.report.page.document import paragraph


@dataclass(frozen=True)
class Comparison:
    """One comparison.

    Parameters
    ----------
    what : str
        What is compared with what.
    value : float
        The difference, or the correlation.
    low, high : float or None
        Its interval of 95 %.
    p : float or None
        That nothing is there.
    direction : int
        1 if the claim says that the value is positive, -1 if negative, 0 where the claim says neither; without a p the
        value is then only measured.
    networks, designs : int
        How many it rests on.
    """

    what: str
    value: float
    low: float | None
    high: float | None
    p: float | None
    direction: int
    networks: int
    designs: int

    @classmethod
    def of_mean(cls, what: str, found: Mean, direction: int) -> "Comparison":
        """Return the comparison of a mean with 0."""
        return cls(what, found.value, found.low, found.high, found.p, direction, found.networks, found.designs)

    def verdict(self, p_adjusted: float | None) -> str:
        """Say what the comparison says of the claim, once its p is adjusted for all that are made together.

        Examples
        --------
        >>> test = Comparison("trained less noise", 0.1, 0.05, 0.15, 0.001, 1, 20, 9)
        >>> test.verdict(0.01), test.verdict(0.2), test.verdict(None)
        ('supported', 'undecided', 'too few networks')
        """
        if p_adjusted is None:
            return "too few networks" if self.direction else "measured"
        if p_adjusted >= LEVEL:
            return "undecided"
        if not self.direction:
            return "goes with it"
        return "supported" if self.value * self.direction > 0 else "refuted"


@dataclass(frozen=True)
class Plate:
    """A figure as a file, with its text alternative."""

    png: bytes
    alternative: str


@dataclass(frozen=True, eq=False)
class Finding:
    """A claim and what the atlas says of it.

    Parameters
    ----------
    name : str
        Of its anchor, figure and tables.
    title : str
        The claim, as a sentence.
    origin : str
        Who made the claim.
    sentence : str
        The numbers, each beside its controls.
    limit : str
        What the finding does not say.
    tests : tuple of Comparison
        The first one decides about the claim.
    queries : mapping of str to str
        The SQL behind the tables, by the name of the table.
    tables : mapping of str to pyarrow.Table
        What is written beside the page.
    plate : Plate or None
    """

    name: str
    title: str
    origin: str
    sentence: str
    limit: str
    tests: tuple[Comparison, ...]
    queries: Mapping[str, str]
    tables: Mapping[str, pa.Table]
    plate: Plate | None


@dataclass(frozen=True, eq=False)
class Findings:
    """What an atlas says of all claims.

    Parameters
    ----------
    findings : tuple of Finding
        In the order of the page.
    """

    findings: tuple[Finding, ...]

    @cached_property
    def adjusted(self) -> Mapping[Comparison, float | None]:
        """The p of every comparison: those that decide adjusted for their number, and all others for theirs."""
        deciding = [finding.tests[0] for finding in self.findings]
        further = [test for finding in self.findings for test in finding.tests[1:]]
        found = _adjusted(deciding) | _adjusted(further)
        return {test: found[test] for finding in self.findings for test in finding.tests}

    def verdict(self, test: Comparison) -> str:
        """Say what a comparison says of its claim, beside all others."""
        return test.verdict(self.adjusted[test])


def _adjusted(tests: Sequence[Comparison]) -> dict[Comparison, float | None]:
    known = [(test, test.p) for test in tests if test.p is not None]
    found = dict(zip((test for test, _ in known), holm_adjusted([p for _, p in known]), strict=True))
    return {test: found.get(test) for test in tests}


def sentence(finding: str, **facts: Any) -> str:
    """Return the sentence of a finding with its numbers."""
    return paragraph("findings/text.txt.j2", finding, **facts)


def in_markdown(text: str) -> str:
    r"""Return a text that Markdown, also in a cell of a table, shows as it is.

    Examples
    --------
    >>> print(in_markdown("a|b_<i> [top-1]"))
    a\|b\_&lt;i> \[top-1]
    """
    signs = {ord(sign): f"\\{sign}" for sign in "\\|`*_["} | {ord("&"): "&amp;", ord("<"): "&lt;"}
    return " ".join(text.split()).translate(signs)


def last_part(source: str) -> str:
    """Return the name of a file without its folder."""
    return source.rsplit("/", 1)[-1]
