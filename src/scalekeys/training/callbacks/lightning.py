"""The figures of the filters in the loggers of Lightning."""

from typing import Any

from scalekeys.optional import require
from scalekeys.training.callbacks.board import MOST
from scalekeys.training.filter_figures import filter_figures
from scalekeys.training.records import tagged


def lightning_callback(*, most: int | None = MOST) -> Any:
    """Return a Lightning callback that logs what training makes of the depthwise filters, after each epoch.

    Parameters
    ----------
    most : int, optional
        Filters of each layer that are fitted; None for all.

    Returns
    -------
    lightning.pytorch.Callback
        For ``Trainer(callbacks=[...])``. The first process measures; every logger of the trainer gets the figures, at
        the step of the optimiser.

    Raises
    ------
    MissingExtraError
        If lightning is not installed.
    CheckpointError
        When training starts, if the module has no depthwise layers.
    """

    class FilterFigures(require("lightning.pytorch", extra="lightning").Callback):  # type: ignore[misc]
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            self._log(trainer, pl_module)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self._log(trainer, pl_module)

        def _log(self, trainer: Any, pl_module: Any) -> None:
            if trainer.is_global_zero:
                figures = tagged(filter_figures(pl_module, most=most))
                for logger in trainer.loggers:
                    logger.log_metrics(figures, step=trainer.global_step)

    return FilterFigures()
