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
from scalekeys.report.findings.claims import told
from scalekeys.report.findings.estimates import mean_over_designs
from scalekeys.report.findings.finding import Comparison, Finding, in_markdown, last_part, sentence
from scalekeys.report.findings.questions import Names
from scalekeys.report.page.words import number_in

_SHOWN = 14
"""Networks with a bar of their own."""

_LEAST = 5
"""Networks that are named as least formed."""

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
        **told()["formation"],
        sentence=_formation_sentence(rows, matched, white),
        tests=(matched, white),
        queries={"formation": KERNELS},
        tables={"formation": summary.tables["kernels"]},
        plate=figures.formation(rows),
    )


def _formation_sentence(rows: Sequence[_Row], matched: Comparison, white: Comparison) -> str:
    words = Counter(row["formation_word"] for row in rows)
    return sentence(
        "formation",
        networks=len(rows),
        counts=[f"{words[word]} are {word}" for word in WORDS if words[word]],
        matched=matched,
        white=white,
        least=[
            f"{in_markdown(last_part(row['source']))} "
            f"{number_in(row['formation'], row['formation_low'], row['formation_high'])}"
            for row in rows[:_LEAST]
        ],
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
        **told()["dead"],
        sentence=sentence(
            "dead",
            filters=sum(row["filters"] for row in rows),
            gone=sum(row["dead"] for row in rows),
            some=sum(row["dead"] > 0 for row in rows),
            many=sum(row["value"] >= 0.1 for row in rows),
            networks=len(rows),
            test=test,
        ),
        tests=(test,),
        queries={"dead": query},
        tables={"dead": table},
        plate=figures.shares(shown, "share of dead filters", alternative) if shown else None,
    )
