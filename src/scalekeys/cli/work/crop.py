"""What ``scalekeys crop`` does: read a network or its weights, crop kernels that are larger than what they hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from scalekeys.checkpoints import open_source
from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.state_dict_writing import SUFFIXES, state_dict_copying
from scalekeys.cli.work import Step
from scalekeys.cli.work.network_task import NetworkTask, read_batches
from scalekeys.errors import ModelError, OutputError, listed
from scalekeys.files import new_files
from scalekeys.filters.window import cropped
from scalekeys.images import open_unlabelled, sample
from scalekeys.networks.changing.crop import CroppedLayer, Cropping, crop, cropped_layer, refitted_layer, windows_of
from scalekeys.shapes import Size
from scalekeys.training.network_source import Figures, preparation_of


@dataclass(frozen=True)
class Task(NetworkTask):
    """What is cropped, and what is written; the network may be a file or folder of weights."""

    output: Path
    tolerance: float
    layers: Mapping[str, int | Size] | None
    refit: bool
    images: str | None
    limit: int
    figures: Figures
    seed: int
    force: bool


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out."""

    task: Task
    layers: tuple[CroppedLayer, ...]
    left: Mapping[str, str]
    numbers: tuple[int, int]
    """Depthwise weights before and now."""
    images: int
    """On how many images the statistics were matched; 0 for not at all."""
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures that ``--json`` writes."""
        return {
            "network": self.task.network,
            "output": str(self.task.output),
            "tolerance": None if self.task.layers else self.task.tolerance,
            **Cropping(None, self.layers, self.left, self.numbers).to_dict(),  # type: ignore[arg-type]
            "matched_on": self.images,
            "notes": list(self.notes),
        }


def crop_network(task: Task, step: Step) -> Outcome:
    """Write a network, or its weights, with smaller kernels."""
    if task.output.suffix not in SUFFIXES:
        allowed = listed(SUFFIXES, word="or")
        raise OutputError(f"{task.output}: cropped weights are written as a state dict; name it {allowed}")
    path = Path(task.network).expanduser()
    return _of_weights(task, step) if path.exists() and path.suffix != ".py" else _of_network(task, step)


def _of_network(task: Task, step: Step) -> Outcome:
    network = task.opened(step)
    inputs: list[Tensor] | None = None
    if task.images is not None:
        source = open_unlabelled(task.images)
        chosen = sample(source, task.limit, task.seed)
        read = read_batches(source, chosen, preparation_of(network, task.figures), step)
        inputs = [images for images, _ in read]
    step("cropping kernels")
    found = crop(network.module, inputs, tolerance=task.tolerance, layers=task.layers, refit=task.refit)
    images = sum(map(len, inputs or ()))
    outcome = Outcome(task, found.layers, found.left, found.numbers, images, network.notes)
    _write(outcome, lambda: found.module.state_dict(), step) if found.layers else _refuse(outcome)
    return outcome


def _of_weights(task: Task, step: Step) -> Outcome:
    """Crop the weights of a file, which does not say how they are used."""
    given = {"--checkpoint": task.checkpoint, "--images": task.images}
    if more := [name for name, value in given.items() if value is not None]:
        raise ModelError(
            f"{task.network}: holds weights alone, with which {listed(more)} cannot be used; give FILE.py:FUNCTION "
            "that returns the network, and this file as --checkpoint"
        )
    step(f"reading {task.network}")
    opened = open_source(task.network, weights=task.weights)
    if opened.is_graph:
        raise ModelError(
            f"{task.network}: holds a graph, which is not changed; give the network as FILE.py:FUNCTION, or its state "
            "dict"
        )
    opened.check_copied(opened.prefix)
    bank = opened.bank()
    windows = windows_of(bank, task.tolerance, task.layers)
    keys = {layer.name: found.key for layer, found in zip(bank.layers, opened.layers, strict=True)}
    plain = {layer.key for layer in opened.layers if opened.is_plain(layer)}
    left = {name: _WHY for name in windows if keys[name] not in plain}
    done = tuple(cropped_layer(layer, windows[layer.name]) for layer in bank if layer.name in {*windows} - {*left})
    before = sum(layer.kernels.numel() for layer in bank)
    notes = (
        *bank.notes,
        "only the tensors of the network are written, as one flat state dict, which load_state_dict takes",
    )
    outcome = Outcome(task, done, left, (before, before - sum(one.saved for one in done)), 0, notes)
    filters = {layer.name: layer for layer in bank}
    smaller = {
        keys[one.layer]: refitted_layer(filters[one.layer], one.kernel_size)
        if task.refit
        else cropped(filters[one.layer].kernels, one.kernel_size)
        for one in done
    }
    _write(outcome, lambda: _state(opened, smaller), step) if done else _refuse(outcome)
    return outcome


_WHY = "its weight is not stored as it is, but computed or arranged otherwise"


def _state(opened: Checkpoint, smaller: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Load all tensors of a network, with other kernels in the place of some."""
    state = opened.state(opened.prefix)
    state |= {key: kernels[:, None].to(state[key].dtype).contiguous() for key, kernels in smaller.items()}
    return {key.removeprefix(opened.prefix): tensor for key, tensor in state.items()}


def _refuse(outcome: Outcome) -> None:
    why = "; ".join(f"layer {name!r} could be, but {reason}" for name, reason in outcome.left.items())
    raise ModelError(
        f"{outcome.task.network}: no kernels are cropped ({why or 'none is larger than what it holds'}); "
        "nothing is written"
    )


def _write(outcome: Outcome, state: Any, step: Step) -> None:
    step(f"writing {outcome.task.output}")
    with new_files(outcome.task.output, force=outcome.task.force) as target:
        state_dict_copying(outcome.task.network, state).write([], target)
