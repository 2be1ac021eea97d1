"""What ``scalekeys separate`` does: open a network, compute its layers axis by axis where that pays, write it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scalekeys.cli.work import Step
from scalekeys.cli.work.network_file import ONNX, Same, check_request, write_network
from scalekeys.cli.work.network_task import NetworkTask, example_of, opened_images, read_batches
from scalekeys.errors import ModelError, listed
from scalekeys.images import sample
from scalekeys.networks import Separation, separate
from scalekeys.networks.measuring.same_outputs import Reference
from scalekeys.networks.running.batches import inputs_of
from scalekeys.training.network_source import Figures, NamedNetwork, preparation_of

_EXPORTED = 2  # inputs, so that the axis of the batch is not taken for one of size 1
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Task(NetworkTask):
    """What is separated, and what is written."""

    output: Path
    goal: Mapping[str, Any]
    """At most one of rank, tolerance, accuracy and time."""
    runtime: str | None
    layers: Sequence[str] | None
    images: str | None
    labels: Path | None
    labelled: bool
    limit: int
    figures: Figures
    shape: tuple[int, ...] | None
    batch_size: int
    seed: int
    force: bool


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out."""

    task: Task
    separation: Separation
    images: int
    """On how many images outer products and statistics were matched; 0 for not at all."""
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures that ``--json`` writes."""
        return {
            "network": self.task.network,
            "output": str(self.task.output),
            **self.task.goal,
            **self.separation.to_dict(),
            "matched_on": self.images,
            "notes": list(self.notes),
        }


def separate_network(task: Task, step: Step) -> Outcome:
    """Write a network whose depthwise layers are computed axis by axis, where that is faster."""
    check_request(task.network, task.output, "separated")
    network = task.opened(step)
    drawn = example_of(network, task.figures, task.shape, count=max(_EXPORTED, task.batch_size), seed=task.seed)
    example = next(inputs_of(drawn, network.module))
    inputs = None if task.images is None else _images(network, task, step)
    runtime = task.runtime or ("onnxruntime" if task.output.suffix == ONNX else "torch")
    step(f"separating and timing layers in {runtime}")
    found = separate(
        network.module, example[: task.batch_size], batches=inputs, runtime=runtime, layers=task.layers, **task.goal
    )
    if not found.layers:
        why = [f"{name!r}, because {reason}" for name, reason in found.left.items()]
        raise ModelError(f"{task.network}: no layer is separated: {listed(why, limit=3)}; nothing is written")
    step(f"writing {task.output}")
    few = example[:_EXPORTED]
    same = Same(lambda: Reference(found.module, few), _ROUNDING)
    write_network(found.module, few, task.output, label=task.network, force=task.force, same=same)
    return Outcome(task, found, sum(len(images) for images, _ in inputs or ()), network.notes)


def _images(network: NamedNetwork, task: Task, step: Step) -> list[tuple[Tensor, Tensor]]:
    """Return images in batches; their labels count only where they have some."""
    assert task.images is not None
    prepare = preparation_of(network, task.figures)
    source = opened_images(network, task.images, prepare, labelled=task.labelled, labels=task.labels)
    chosen = sample(source, task.limit, task.seed)
    return read_batches(source, chosen, prepare, step)
