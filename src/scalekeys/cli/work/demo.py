"""What the demonstration does: analyse what comes with the package."""

from pathlib import Path

from scalekeys.checkpoints.core.kinds import DEPTHWISE
from scalekeys.checkpoints.sources.builtin import BUILTINS
from scalekeys.cli.work import Step
from scalekeys.cli.work.analyze import Filters, analyze
from scalekeys.files import new_folder
from scalekeys.report import Summary


def run_demo(output: Path, *, seed: int, force: bool, step: Step) -> dict[str, Summary]:
    """Analyse the networks and the filters that come with the package.

    Returns
    -------
    dict of Summary
        By name of the folder that holds the report.
    """
    summaries = {}
    with new_folder(output, force=force) as folder:
        for name in BUILTINS:
            (folder / name).mkdir()
            summaries[name] = analyze(Filters.read(f"builtin:{name}", None, DEPTHWISE), folder / name, step, seed=seed)
    return summaries
