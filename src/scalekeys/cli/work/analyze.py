"""What ``scalekeys analyze`` does: the one path from a bank to its report and table, shared by the verbs."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scalekeys.cli.work.step import Step
from scalekeys.filters import FilterBank, matched_noise_like, white_noise_like
from scalekeys.fitting import fit
from scalekeys.report import Summary, write_report
from scalekeys.scalespace import Discretization


def analyze_bank(
    bank: FilterBank,
    folder: Path,
    *,
    model: str | Sequence[str] = "ideal",
    discretization: Discretization = "discrete",
    seed: int = 0,
    step: Step,
) -> Summary:
    """Fit a bank and both its controls, and write ``report.html``, ``filters.parquet`` and ``ladder.parquet``.

    The last one has a row for each layer and step of the ladder; it is empty where the model is another than the
    idealized families.
    """
    fitted, white, matched = (
        fit(filters, model, discretization=discretization, progress=step(f"fitting {name}", len(bank)))
        for name, filters in (
            (bank.model, bank),
            ("white noise", white_noise_like(bank, seed=seed)),
            ("matched noise", matched_noise_like(bank, seed=seed)),
        )
    )
    step("comparing models and writing the report")
    summary = write_report(fitted, white, matched, folder / "report.html")
    groups = summary.ladder.layers if summary.ladder else ()
    steps = pa.Table.from_pylist([row for group in groups for row in group.rows()])
    tables = {"filters": fitted.to_arrow(), "ladder": steps}
    for name, table in tables.items():
        with (folder / f"{name}.parquet").open("wb") as file:  # as Arrow takes no path that is not in UTF-8
            pq.write_table(table, file)
    return summary
