"""What ``scalekeys analyze`` does: the one path from a bank to its report and table, shared by the verbs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scalekeys.checkpoints import open_source
from scalekeys.checkup.api import examined_fit
from scalekeys.checkup.naming import Named, Storage
from scalekeys.checkup.normalisations import BatchNorm, batch_norms_of
from scalekeys.cli.work import Step
from scalekeys.filters import FilterBank, matched_noise_like, white_noise_like
from scalekeys.fitting import fit
from scalekeys.fitting.spec import IDEAL
from scalekeys.report import Summary, write_report
from scalekeys.scalespace import Discretization


@dataclass(frozen=True, eq=False)
class Filters:
    """What is explained, and what else is known of its network."""

    bank: FilterBank
    source: Named
    norms: tuple[BatchNorm, ...] | None = None

    @classmethod
    def read(cls, source: str, weights: str | None, kinds: str) -> "Filters":
        """Read the filters of a source."""
        opened = open_source(source, weights=weights, kinds=kinds)
        bank = opened.bank()
        bank = replace(bank, notes=(*bank.notes, *opened.passed_over))
        return cls(bank, Named(source, weights=weights, storage=Storage.of(opened)), batch_norms_of(opened))


def analyze(
    filters: Filters,
    folder: Path,
    step: Step,
    *,
    model: str | Sequence[str] = IDEAL,
    discretization: Discretization = "discrete",
    seed: int = 0,
) -> Summary:
    """Fit filters and both their controls, and write ``report.html``, ``filters.parquet`` and ``ladder.parquet``.

    The last one has a row for each layer and step of the ladder; it is written for the idealized families alone.
    """
    bank = filters.bank
    fitted, white, matched = (
        fit(some, model, discretization=discretization, progress=step(f"fitting {name}", len(bank)))
        for name, some in (
            (bank.model, bank),
            ("white noise", white_noise_like(bank, seed=seed)),
            ("matched noise", matched_noise_like(bank, seed=seed)),
        )
    )
    step("comparing models and writing the report")
    found = examined_fit(fitted, matched, filters.source, filters.norms)
    summary = write_report(fitted, white, matched, folder / "report.html", checkup=found)
    tables = {"filters": fitted.to_arrow()}
    if summary.ladder:
        tables["ladder"] = pa.Table.from_pylist([row for group in summary.ladder.layers for row in group.rows()])
    for name, table in tables.items():
        with (folder / f"{name}.parquet").open("wb") as file:  # as Arrow takes no path that is not in UTF-8
            pq.write_table(table, file)
    return summary
