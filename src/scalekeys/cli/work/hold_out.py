"""What ``scalekeys keys --hold-out`` does: read groups of networks from a list, and leave out each of them once."""

from collections.abc import Sequence
from pathlib import Path

from scalekeys.atlas.references import expand
from scalekeys.cli.work import Step
from scalekeys.cli.work.search import Search
from scalekeys.clustering import held_out_cover
from scalekeys.errors import AtlasError
from scalekeys.files.csv_cells import safe_cell
from scalekeys.filters import FilterBank
from scalekeys.report.keys.summary import HeldOutGroup, HeldOutSummary


def grouped(sources: Sequence[str], column: str) -> tuple[list[str], list[str]]:
    """Return the sources that lists name, and the value of each in a column; empty where none is known.

    Raises
    ------
    AtlasError
        If no source has a value in the column.
    """
    references = expand(sources)
    groups = [reference.metadata.get(column, "") for reference in references]
    if not any(groups):
        columns = list(dict.fromkeys(name for reference in references for name in reference.metadata))
        there = f"the columns are {', '.join(columns)}" if columns else "give a .csv list of sources that has it"
        raise AtlasError(f"--hold-out: no source has a value in a column {column!r}; {there}")
    return [reference.source for reference in references], groups


def hold_out(
    banks: Sequence[FilterBank], groups: Sequence[str], column: str, folder: Path, k: int, search: Search, step: Step
) -> HeldOutSummary:
    """Measure what keys of the other groups explain of each group, and write ``held_out.csv`` into a folder."""
    known = [(bank, group) for bank, group in zip(banks, groups, strict=True) if group]
    found = held_out_cover(
        [bank for bank, _ in known],
        [group for _, group in known],
        k,
        **search.without_weighting,
        progress=step(f"holding out each {column}", len({group for _, group in known})),
    )
    table = found.networks.assign(
        network=found.networks.network.map(safe_cell), group=found.networks.group.map(safe_cell)
    )
    table.drop(columns="series").to_csv(folder / "held_out.csv", index=False, lineterminator="\n")
    unknown = len(banks) - len(known)
    notes = (f"sources without {column} are left out: {unknown} of {len(banks)}",) if unknown else ()
    rows = found.groups.astype(object).where(found.groups.notna(), None)
    return HeldOutSummary(column, k, tuple(HeldOutGroup(*row) for row in rows.values), (*notes, *found.notes))
