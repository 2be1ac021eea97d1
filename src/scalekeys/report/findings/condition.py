"""Findings about the condition of networks: how far their filters have formed, and how many are dead."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scalekeys.atlas import Atlas
from scalekeys.fitting.formation import WORDS
from scalekeys.report.atlas.questions import KERNELS
from scalekeys.report.atlas.summary import AtlasSummary
from scalekeys.report.findings import figures, questions
from scalekeys.report.findings.estimates import mean_over_designs
from scalekeys.report.findings.finding import Comparison, Finding, in_markdown, interval, last_part
from scalekeys.report.findings.questions import Names
from scalekeys.report.page.words import count, listed, number, number_in, percent, plural

_SHOWN = 14
"""Networks with a bar of their own."""

_LEAST = 5
"""Networks that are named as least formed."""

_LIMIT = """0 is noise; 1 means that every filter is explained better than all noise of its kernel size. Impulses \
count as formed. Formation does not compare architectures: a network can reach a high accuracy with depthwise kernels \
that are as noise, when other layers do the work. Its false alarms and misses are calibrated in \
docs/results.md ("Formation, calibrated")."""

_Row = Mapping[str, Any]


def formed(summary: AtlasSummary, designs: Mapping[str, str]) -> Finding | None:
    """Say how far the filters of each network stand above noise."""
    rows = [row for row in summary.rows("networks") if row["formation"] is not None]
    if not rows:
        return None
    rows.sort(key=lambda row: (row["formation"], row["source"]))
    matched, white = (
        Comparison.of_mean(
            f"formation, all networks, beside {noise} noise",
            mean_over_designs([row[column] for row in rows], [designs[row["source"]] for row in rows]),
            1,
        )
        for noise, column in (("matched", "beyond_matched_noise"), ("white", "formation"))
    )
    return Finding(
        "formation",
        "Networks have trained kernels.",
        "taken for granted",
        _formation_sentence(rows, matched, white),
        _LIMIT,
        (matched, white),
        {"formation": KERNELS},
        {"formation": summary.tables["kernels"]},
        figures.formation(rows),
    )


def _formation_sentence(rows: Sequence[_Row], matched: Comparison, white: Comparison) -> str:
    words = Counter(row["formation_word"] for row in rows)
    counts = listed([f"{words[word]} are {word}" for word in WORDS if words[word]])
    least = listed(
        [
            f"{in_markdown(last_part(row['source']))} "
            f"{number_in(row['formation'], row['formation_low'], row['formation_high'])}"
            for row in rows[:_LEAST]
        ]
    )
    return (
        f"Of {plural(len(rows), 'network')} whose kernels can tell, {counts}. The mean formation is "
        f"**{number(white.value)}**{interval(white)} beside white noise and **{number(matched.value)}**"
        f"{interval(matched)} beside matched noise, over {plural(white.designs, 'design')}. The least formed: {least}."
    )


def dead(atlas: Atlas, names: Names) -> Finding | None:
    """Say how many filters of each network are zero or negligible."""
    query = questions.dead(names)
    table = atlas.sql(query).to_arrow()
    rows = table.to_pylist()
    if not rows:
        return None
    found = mean_over_designs([row["value"] for row in rows], [row["design"] for row in rows])
    test = replace(Comparison.of_mean("dead, all networks", found, 0), p=None)
    shown = [(last_part(row["source"]), row["value"]) for row in rows[:_SHOWN] if row["dead"]]
    alternative = "The networks with the largest share of dead filters."
    return Finding(
        "dead",
        "Networks hold filters that do nothing.",
        "measured here",
        _dead_sentence(rows, test),
        "Negligible is a norm below a ten-thousandth of the usual one of the layer. A filter that is alive by this "
        "measure can still have no effect on the output.",
        (test,),
        {"dead": query},
        {"dead": table},
        figures.shares(shown, "share of dead filters", alternative) if shown else None,
    )


def _dead_sentence(rows: Sequence[_Row], test: Comparison) -> str:
    filters, gone = (sum(row[column] for row in rows) for column in ("filters", "dead"))
    some = sum(row["dead"] > 0 for row in rows)
    many = sum(row["value"] >= 0.1 for row in rows)
    control = "of 201,600 by fifteen usual initialisers none is dead, of 13,440 by a sparse one seven"
    return (
        f"{count(gone)} of {count(filters)} filters are zero or negligible. They are in {some} of "
        f"{plural(len(rows), 'network')}; in {many} they are a tenth or more. The mean share is "
        f"**{percent(test.value)}**{interval(test, 1, 100)}, over {plural(test.designs, 'design')}. The control is "
        f'filters at initialisation: {control} (docs/results.md, "Formation, calibrated").'
    )
