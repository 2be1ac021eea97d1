"""The figures of the filters in TensorBoard, for the Trainer of Hugging Face."""

from pathlib import Path
from typing import Any

from scalekeys.optional import require
from scalekeys.training.callbacks.board import MOST, TensorBoardFigures


def trainer_callback(folder: Path | str | None = None, *, most: int | None = MOST) -> Any:
    """Return a callback for the Trainer of Hugging Face that logs what training makes of the depthwise filters.

    Parameters
    ----------
    folder : Path or str, optional
        Of the event files of TensorBoard; by default ``filters`` in the output folder of the trainer.
    most : int, optional
        Filters of each layer that are fitted; None for all.

    Returns
    -------
    transformers.TrainerCallback
        For ``Trainer(callbacks=[...])``. The first process measures, at the start and after each epoch; figures are
        written at the step of the optimiser.

    Raises
    ------
    MissingExtraError
        If transformers is not installed; when training starts, if tensorboard is not.
    CheckpointError
        When training starts, if the network has no depthwise layers.
    """

    class FilterFigures(require("transformers", extra="transformers").TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
            if state.is_world_process_zero:
                home = Path(args.output_dir) / "filters" if folder is None else folder
                self._figures = TensorBoardFigures(home, most=most)
                self._figures.write(given["model"], state.global_step)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
            if state.is_world_process_zero:
                self._figures.write(given["model"], state.global_step)

        def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
            if state.is_world_process_zero:
                self._figures.close()

    return FilterFigures()
