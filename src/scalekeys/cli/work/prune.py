"""What ``scalekeys prune`` does: open a network, remove its dead filters, write it if its outputs are the same."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scalekeys.cli.work import Step
from scalekeys.cli.work.network_file import Same, check_request, write_network
from scalekeys.cli.work.network_task import NetworkTask, example_of, read_batches
from scalekeys.errors import ModelError
from scalekeys.images import open_unlabelled, sample
from scalekeys.networks import Pruning, prune_dead
from scalekeys.networks.measuring.same_outputs import Reference
from scalekeys.networks.pruning.removal import KEPT_FOR_WIDTH
from scalekeys.training.network_source import Figures, NamedNetwork, preparation_of

_BATCH = 2  # so that the axis of the batch is not taken for one of size 1


@dataclass(frozen=True)
class Task(NetworkTask):
    """What is pruned, and what is written."""

    output: Path
    images: str | None
    limit: int | None
    figures: Figures
    shape: tuple[int, ...] | None
    multiple_of: int
    tolerance: float
    seed: int
    force: bool


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out."""

    task: Task
    pruning: Pruning
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures that ``--json`` writes."""
        return {
            "network": self.task.network,
            "output": str(self.task.output),
            **self.pruning.to_dict(),
            "notes": list(self.notes),
        }


def prune_network(task: Task, step: Step) -> Outcome:
    """Write a network without its dead filters, whose outputs are those of the original."""
    check_request(task.network, task.output, "pruned")
    network = task.opened(step)
    example, images = _inputs(network, task, step)
    step("removing dead filters")
    pruning = prune_dead(
        network.module,
        example,
        images=images,
        multiple_of=task.multiple_of,
        tolerance=task.tolerance,
        seed=task.seed,
    )
    if not pruning.removed:
        hint = "; --multiple-of 1 lets the width be any number" if KEPT_FOR_WIDTH in pruning.why_none else ""
        raise ModelError(f"{task.network}: no filter is removed ({pruning.why_none}); nothing is written{hint}")
    step(f"writing {task.output}")
    same = Same(lambda: Reference(network.module, example, images or (), task.seed), task.tolerance, "--tolerance")
    write_network(pruning.module, example, task.output, label=task.network, force=task.force, same=same)
    return Outcome(task, pruning, network.notes)


def _inputs(network: NamedNetwork, task: Task, step: Step) -> tuple[Tensor, list[Tensor] | None]:
    """Return an example, and the images in batches of its size."""
    example = example_of(network, task.figures, task.shape, count=_BATCH, seed=task.seed)
    if task.images is None:
        return example, None
    source, prepare = open_unlabelled(task.images), preparation_of(network, task.figures)
    found = read_batches(source, sample(source, task.limit, task.seed), prepare, step, size=_BATCH)
    return example, [inputs for inputs, _ in found]
