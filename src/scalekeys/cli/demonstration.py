"""What the demonstration does: train, save, and analyse it and what comes with the package."""

from pathlib import Path

import torch

from scalekeys.checkpoints import extract
from scalekeys.checkpoints.sources.builtin import BUILTINS
from scalekeys.cli.analysis import Step, analyze_bank
from scalekeys.files import new_file, new_folder
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
    with new_file(output / "digits.pth", force=force) as path:
        torch.save(trained.network.state_dict(), path)
    banks = {"digits": extract(trained.network)} | {name: extract(f"builtin:{name}") for name in BUILTINS}
    summaries = {}
    for name, bank in banks.items():
        with new_folder(output / name, force=force) as folder:
            summaries[name] = analyze_bank(bank, folder, seed=seed, step=step)
    return trained.accuracy, summaries
