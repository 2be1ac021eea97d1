"""What ``scalekeys compare`` does: read runs, write report and table, print the conditions."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scalekeys.cli.work import Step
from scalekeys.files.csv_cells import safe_cell
from scalekeys.report.trainings import write_trainings_report
from scalekeys.training.comparison import Comparison
from scalekeys.training.runs import Run, read_run


def read_runs(folders: Sequence[Path], step: Step) -> list[Run]:
    """Read the folder of every training."""
    runs = []
    for folder in folders:
        step(f"reading {folder}")
        runs.append(read_run(folder))
    return runs


def write_comparison(comparison: Comparison, folder: Path, step: Step) -> None:
    """Write ``runs.csv`` and ``report.html`` into a folder."""
    rows = [{name: safe_cell(cell) for name, cell in row.items()} for row in comparison.table()]
    pd.DataFrame(rows).to_csv(folder / "runs.csv", index=False, lineterminator="\n")
    step("fitting scales, and writing the report")
    write_trainings_report(comparison, folder / "report.html")
