"""The figures of the filters in TensorBoard, for a training loop of one's own."""

from pathlib import Path
from types import TracebackType
from typing import Any

from torch import nn

from scalekeys.optional import require
from scalekeys.training.filter_figures import filter_figures
from scalekeys.training.records import tagged

MOST = 64
"""Filters of each layer that a callback fits, unless it is told otherwise."""


class TensorBoardFigures:
    """Writes what training makes of the depthwise filters to TensorBoard.

    Parameters
    ----------
    folder : Path or str
        Of the event files.
    most : int, optional
        Filters of each layer that are fitted; None for all.

    Raises
    ------
    MissingExtraError
        If tensorboard is not installed.

    Examples
    --------
    >>> import tempfile
    >>> network = nn.Conv2d(8, 8, 7, groups=8)
    >>> with tempfile.TemporaryDirectory() as folder, TensorBoardFigures(folder) as figures:
    ...     for epoch in range(2):
    ...         figures.write(network, epoch)
    """

    def __init__(self, folder: Path | str, *, most: int | None = MOST) -> None:
        self._most = most
        self._board: Any = require("torch.utils.tensorboard", extra="train", package="tensorboard").SummaryWriter(
            str(folder)
        )

    def __enter__(self) -> "TensorBoardFigures":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, network: nn.Module, step: int) -> None:
        """Measure the filters of a network, and write the figures at a step, such as the number of the epoch."""
        for name, value in tagged(filter_figures(network, most=self._most)).items():
            self._board.add_scalar(name, value, step)
        self._board.flush()

    def close(self) -> None:
        """Close the event file."""
        self._board.close()
