"""What ``scalekeys analyze`` does: the one path from a bank to its report and table, shared by the verbs."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from scalekeys.cli.work.step import Step
from scalekeys.filters import FilterBank, matched_noise_like, white_noise_like
from scalekeys.fitting import fit
from scalekeys.report import Summary, write_report


def analyze_bank(
    bank: FilterBank, folder: Path, *, model: str | Sequence[str] = "ideal", seed: int = 0, step: Step
) -> Summary:
    """Fit a bank and both its controls, and write ``report.html`` and ``filters.parquet`` into a folder."""
    fitted = fit(bank, model, progress=step(f"fitting {bank.model}", len(bank)))
    white = fit(white_noise_like(bank, seed=seed), model, progress=step("fitting white noise", len(bank)))
    matched = fit(matched_noise_like(bank, seed=seed), model, progress=step("fitting matched noise", len(bank)))
    step("writing the report")
    with (folder / "filters.parquet").open("wb") as file:  # as Arrow takes no path that is not in UTF-8
        pq.write_table(fitted.to_arrow(), file)
    return write_report(fitted, white, matched, folder / "report.html")
