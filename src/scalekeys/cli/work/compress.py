"""What ``scalekeys compress`` does: models of different sizes share a budget, and held-out images say what it costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from torch import nn

from scalekeys.checkpoints.sources.module import open_module
from scalekeys.cli.work import Step
from scalekeys.cli.work.learning_images import Data, Shares, read_images, work_file
from scalekeys.cli.work.network_file import Same, check_request, write_network
from scalekeys.cli.work.network_task import NetworkTask
from scalekeys.errors import ModelError
from scalekeys.networks import AccuracyDifference, Compression, Evaluation, compress, evaluate
from scalekeys.networks.changing.compress import HALVINGS, candidates_for, check_aim
from scalekeys.networks.measuring.same_outputs import Reference

_SAME = 1e-3  # of the largest output


@dataclass(frozen=True)
class Task(NetworkTask):
    """What is compressed, and what is written."""

    output: Path
    data: Data
    budget: float | None
    tolerance: float | None
    models: Sequence[str] | None
    layers: Sequence[str] | None
    force: bool


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out."""

    task: Task
    compression: Compression
    images: tuple[int, int]
    """How many were learned from, and how many held out."""
    before: Evaluation | None
    after: Evaluation | None
    """`before` and `after`: on the images that were held out."""
    notes: tuple[str, ...]

    @property
    def difference(self) -> AccuracyDifference | None:
        """By how much the network is better than before."""
        return None if self.before is None or self.after is None else self.after.difference(self.before)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures that ``--json`` writes."""
        accuracy = {}
        if self.before is not None and self.after is not None:
            accuracy = {
                "before": self.before.to_dict(),
                "after": self.after.to_dict(),
                "difference": vars(self.after.difference(self.before)),
            }
        return {
            "network": self.task.network,
            "output": str(self.task.output),
            "budget": self.task.budget,
            "tolerance": self.task.tolerance,
            "share": self.compression.share,
            "models": self.compression.chosen.to_pandas().to_dict("records"),
            "learned_on": self.images[0],
            "measured_on": self.images[1],
            **accuracy,
            "notes": list(self.notes),
        }


def compress_network(task: Task, step: Step) -> Outcome:
    """Write a network whose depthwise filters cost fewer numbers."""
    check_request(task.network, task.output, "compressed")
    check_aim(task.budget, task.tolerance)
    network = task.opened(step)
    models = task.models or candidates_for(open_module(network.module).bank())
    shares = read_images(network, task.data, step, labelled=True)
    if task.tolerance is not None and not shares.measuring:
        raise ModelError(
            f"{task.data.source}: has no folder of images for each class, without which no accuracy is known to "
            "tolerate a loss of; give --budget, or images with classes"
        )
    work = work_file(
        task.output, network, shares, {"--layer": task.layers, "--model": models, "--seed": task.data.seed}
    )
    found = compress(
        network.module,
        shares.inputs if task.tolerance is None else shares.learning,
        budget=task.budget,
        tolerance=task.tolerance,
        models=models,
        layers=task.layers,
        seed=task.data.seed,
        progress=_bar(step, 2 + len(models) + (1 if task.tolerance is None else HALVINGS)),
        keep=work.keep,
    )
    before, after = (_measured(module, shares, step) for module in (network.module, found.module))
    step(f"writing {task.output}")
    example = shares.inputs[0][:2]
    same = Same(lambda: Reference(found.module, example), _SAME)
    write_network(found.module, example, task.output, label=task.network, force=task.force, same=same)
    work.clear()
    return Outcome(task, found, shares.counts, before, after, (*network.notes, *work.notes))


def _bar(step: Step, total: int) -> Callable[[str], None]:
    """Return what shows the pieces of the work as parts of one bar."""
    done = count()
    return lambda text: step(text, total)(next(done))


def _measured(module: nn.Module, shares: Shares, step: Step) -> Evaluation | None:
    if not shares.measuring:
        return None
    return evaluate(module, shares.measuring, progress=step("measuring on held-out images", shares.counts[1]))
