"""How many filters of an atlas gain from a free angle, beside both controls, by kernel and by network."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from scalekeys.report.page.orientation import Orientation, Verdict, share_of

_KINDS = ("", "matched_", "white_")
_FORM = pa.schema(
    [
        *((name, pa.string()) for name in ("kernel", "source")),
        *(
            field
            for kind in _KINDS
            for field in (
                (f"{kind}filters", pa.int64()),
                (f"{kind}gaining", pa.int64()),
                *((f"{kind}{name}", pa.float64()) for name in ("share", "low", "high")),
            )
        ),
        ("beside_noise", pa.string()),
    ]
)


def orientation_table(counts: pa.Table) -> pa.Table:
    """Add shares, intervals and verdicts to the answer of :data:`scalekeys.report.atlas.questions.ORIENTATION`."""
    rows: list[dict[str, Any]] = []
    for row in counts.to_pylist():
        found = _orientation(row)
        for kind, share in zip(_KINDS, (found.real, found.matched, found.white), strict=True):
            row |= {f"{kind}{name}": getattr(share, name) for name in ("share", "low", "high")}
        rows.append(row | {"beside_noise": found.verdict.value})
    return pa.Table.from_pylist(rows, schema=_FORM)


def by_kernel(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Orientation, dict[Verdict, int]]]:
    """Return what the rows of :func:`orientation_table` say of each kernel size, largest first.

    Of each: the filters of all networks, and in how many networks which verdict stands.
    """
    verdicts = [(row["kernel"], Verdict(row["beside_noise"])) for row in rows if row["source"] is not None]
    return [
        (_orientation(row), {one: verdicts.count((row["kernel"], one)) for one in Verdict})
        for row in rows
        if row["source"] is None
    ]


def _orientation(row: Mapping[str, Any]) -> Orientation:
    real, matched, white = (share_of(row[f"{kind}gaining"], row[f"{kind}filters"]) for kind in _KINDS)
    return Orientation(row["kernel"], real, white, matched)
