"""What ``scalekeys analyze`` does: the one path from a bank to its report and table, shared by the verbs."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from scalekeys.cli.work.step import Step
from scalekeys.filters import FilterBank, noise_like
from scalekeys.fitting import fit
from scalekeys.report import Summary, write_report


def analyze_bank(
    bank: FilterBank, folder: Path, *, model: str | Sequence[str] = "ideal8", seed: int = 0, step: Step
) -> Summary:
    """Fit a bank and its random control, and write ``report.html`` and ``filters.parquet`` into a folder."""
    control = noise_like(bank, seed=seed)
    fitted = fit(bank, model, progress=step(f"fitting {bank.model}", len(bank)))
    control_fitted = fit(control, model, progress=step("fitting the random control", len(control)))
    step("writing the report")
    with (folder / "filters.parquet").open("wb") as file:  # as Arrow takes no path that is not in UTF-8
        pq.write_table(fitted.to_arrow(), file)
    return write_report(fitted, control_fitted, folder / "report.html")
