"""What ``scalekeys evaluate`` does: open a network and images, recalibrate, evaluate."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scalekeys.cli.work import Step
from scalekeys.cli.work.network_task import NetworkTask, opened_images
from scalekeys.errors import ModelError
from scalekeys.images import Images, batches, open_unlabelled, sample
from scalekeys.images.preparation import Preparation
from scalekeys.networks import AccuracyDifference, Evaluation, evaluate, recalibrate
from scalekeys.optional import first_line
from scalekeys.training.network_source import Figures, NamedNetwork, open_network, preparation_of

ITS_OWN = "pretrained"
"""Stands for the weights that come with the name of a network."""


@dataclass(frozen=True)
class Task(NetworkTask):
    """What is evaluated, on what."""

    data: str
    labels: Path | None
    recalibration: str | None
    """A folder or data set, or a number of images of the data."""
    reference: str | None
    """The checkpoint of the network before it was changed, or :data:`ITS_OWN`."""
    figures: Figures
    batch_size: int
    limit: int | None
    seed: int
    device: str


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out."""

    task: Task
    evaluation: Evaluation
    reference: Evaluation | None
    """Of the network before it was changed."""
    recalibrated: int
    """On how many images; 0 for not at all."""
    images_per_second: float
    """Reading and preparing included."""
    preparation: Mapping[str, Any]
    """How images were prepared."""
    notes: tuple[str, ...]

    @property
    def difference(self) -> AccuracyDifference | None:
        """How the network compares with what it was."""
        return None if self.reference is None else self.evaluation.difference(self.reference)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it but the images."""
        result = {
            "network": self.task.network,
            "checkpoint": None if self.task.checkpoint is None else str(self.task.checkpoint),
            "data": self.task.data,
            **self.evaluation.to_dict(),
            "recalibrated_on": self.recalibrated,
            "images_per_second": self.images_per_second,
            "preparation": {name: _plain(value) for name, value in self.preparation.items()},
            "notes": list(self.notes),
        }
        if self.reference is not None and self.difference is not None:
            result["reference"] = self.reference.to_dict()
            result["difference"] = vars(self.difference)
        return result


def run_evaluation(task: Task, step: Step) -> Outcome:
    """Evaluate a network, and what it was before if that is given."""
    network = task.opened(step)
    prepare = preparation_of(network, task.figures)
    before = _reference(task)
    images = opened_images(network, task.data, prepare, labelled=True, labels=task.labels)
    module = _on(task.device, network.module)
    reference = None if before is None else _on(task.device, before.module)
    recalibrated = 0
    if task.recalibration is not None:
        module, recalibrated = _recalibrated(module, reference, task, images, prepare, step)
    evaluation, seconds = _evaluated(module, f"evaluating {task.network}", task, images, prepare, step)
    compared = None
    if reference is not None:
        compared, _ = _evaluated(reference, "evaluating the reference", task, images, prepare, step)
    speed = evaluation.count / seconds
    return Outcome(task, evaluation, compared, recalibrated, speed, prepare.figures, network.notes)


def _reference(task: Task) -> NamedNetwork | None:
    if task.reference is None:
        return None
    return open_network(task.network, checkpoint=None if task.reference == ITS_OWN else Path(task.reference))


def _on(device: str, module: nn.Module) -> nn.Module:
    try:
        return module.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"--device {device}: cannot be used ({first_line(error)})") from None


def _recalibrated(
    module: nn.Module, reference: nn.Module | None, task: Task, images: Images, prepare: Preparation, step: Step
) -> tuple[nn.Module, int]:
    assert task.recalibration is not None
    count = int(task.recalibration) if task.recalibration.isdecimal() else None
    source = images if count is not None else open_unlabelled(task.recalibration)
    chosen = sample(source, count, task.seed)
    step(f"recalibrating on {len(chosen)} images")
    return recalibrate(module, batches(source, prepare, size=task.batch_size, indices=chosen), reference), len(chosen)


def _evaluated(
    module: nn.Module, text: str, task: Task, images: Images, prepare: Preparation, step: Step
) -> tuple[Evaluation, float]:
    """Return the evaluation, and how many seconds it took."""
    chosen = sample(images, task.limit, task.seed)
    progress = step(text, len(chosen))
    start = time.perf_counter()
    found = evaluate(module, batches(images, prepare, size=task.batch_size, indices=chosen), progress=progress)
    if task.device.startswith("cuda"):
        torch.cuda.synchronize()
    return found, time.perf_counter() - start


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else list(value)
