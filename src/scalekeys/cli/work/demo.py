"""What the demonstration does: train, save, and analyse it and what comes with the package."""

import io
from pathlib import Path

import torch

from scalekeys.checkpoints import extract
from scalekeys.checkpoints.sources.builtin import BUILTINS
from scalekeys.checkup.naming import Named
from scalekeys.cli.work.analyze import Filters, analyze
from scalekeys.cli.work.step import Step
from scalekeys.files import new_folder
from scalekeys.report import Summary
from scalekeys.training.digits import EPOCHS, train_digits


def run_demo(
    output: Path, *, epochs: int | None, seed: int, force: bool, step: Step
) -> tuple[float, dict[str, Summary]]:
    """Train the digits network, write its checkpoint, and analyse it and what comes with the package.

    Returns
    -------
    accuracy : float
        Share of the held-out digits that are read correctly.
    summaries : dict of Summary
        By name of the folder that holds the report.
    """
    epochs = EPOCHS if epochs is None else epochs
    trained = train_digits(epochs=epochs, seed=seed, progress=step("training on handwritten digits", epochs))
    banks = {"digits": extract(trained.network)} | {name: extract(f"builtin:{name}") for name in BUILTINS}
    summaries, weights = {}, io.BytesIO()
    torch.save(trained.network.state_dict(), weights)
    with new_folder(output, force=force) as folder:
        (folder / "digits.pth").write_bytes(weights.getvalue())
        for name, bank in banks.items():
            (folder / name).mkdir()
            summaries[name] = analyze(Filters(bank, Named()), folder / name, step, seed=seed)
    return trained.accuracy, summaries
