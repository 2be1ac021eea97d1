"""Figures of a training by epoch: a CSV file and TensorBoard."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from scalekeys.files import new_file
from scalekeys.optional import require
from scalekeys.training.snapshots import Row

METRICS = "metrics.csv"
TENSORBOARD = "tensorboard"


def write_metrics(rows: Sequence[Row], path: Path) -> None:
    """Write one line an epoch; a figure that an epoch lacks stays empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with new_file(path, force=True) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def tagged(row: Row) -> Row:
    """Name figures as TensorBoard groups them: those of the layers together.

    >>> tagged({"formation": 0.5, "formation stages.0.dw": 0.4})
    {'formation': 0.5, 'formation/stages.0.dw': 0.4}
    """
    return {name.replace(" ", "/"): value for name, value in row.items()}


class Record:
    """Writes the figures of each epoch into a folder.

    `rows`: of the epochs that are done. The last is written again, since a run may have been killed between its
    snapshot and its figures; what TensorBoard shows of later ones is hidden.
    """

    def __init__(self, folder: Path, rows: Sequence[Row]) -> None:
        self.folder = folder
        writer = require("torch.utils.tensorboard", extra="train", package="tensorboard").SummaryWriter
        self._board: Any = writer(str(folder / TENSORBOARD), purge_step=max(len(rows), 1))
        if rows:
            self.write(rows)

    def __enter__(self) -> "Record":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._board.close()

    def write(self, rows: Sequence[Row]) -> None:
        """Write the figures of the last epoch."""
        write_metrics(rows, self.folder / METRICS)
        for name, value in tagged(rows[-1]).items():
            if name != "epoch":
                self._board.add_scalar(name, value, len(rows))
        self._board.flush()
