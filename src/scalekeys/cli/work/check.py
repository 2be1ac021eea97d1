"""What ``scalekeys check`` does: read a network or its weights, fit its filters, and examine them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scalekeys.checkpoints import open_source
from scalekeys.checkpoints.sources.paths import HUBS, code_of, scheme_of
from scalekeys.checkup import Checkup
from scalekeys.checkup.api import examined
from scalekeys.checkup.evidence import Evidence
from scalekeys.checkup.naming import Named, Storage
from scalekeys.checkup.normalisations import batch_norms_of
from scalekeys.checkup.responses import LEAST_IMAGES, Responses
from scalekeys.cli.work import Step
from scalekeys.cli.work.network_task import NetworkTask, check_runs, opened_images, read_batches
from scalekeys.errors import DataError
from scalekeys.filters.bank import LeftOut
from scalekeys.fitting import fit
from scalekeys.images import sample
from scalekeys.shapes import Size, size_text
from scalekeys.training.network_source import Figures, NamedNetwork, preparation_of

_BATCH = 32


@dataclass(frozen=True)
class Task(NetworkTask):
    """What is examined; the network may be a file or folder of weights."""

    kinds: str
    images: str | None
    data: str | None
    labels: Path | None
    limit: int
    figures: Figures
    sides: Size | None
    """Of the inputs, for the audit of the reach."""
    seed: int

    @property
    def runs(self) -> bool:
        """Whether the network itself is needed, and not only its weights."""
        given = (self.checkpoint, self.images, self.data)
        return any(one is not None for one in given) or code_of(self.network) is not None

    def named(self, storage: Storage) -> Named:
        """Return the network as commands name it."""
        checkpoint = None if self.checkpoint is None else str(self.checkpoint)
        images = self.data if self.images is None else self.images
        sized = scheme_of(self.network) in HUBS
        return Named(self.network, checkpoint, self.weights, images, _options(self.figures, sized=sized), storage)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out."""

    checkup: Checkup
    notes: Sequence[str]
    left_out: Sequence[LeftOut]


def check_network(task: Task, step: Step) -> Outcome:
    """Examine a network."""
    network = None
    if task.runs:
        network = task.opened(step)
        opened = open_source(network.module, kinds=task.kinds)
    else:
        step(f"reading {task.network}")
        opened = open_source(task.network, weights=task.weights, kinds=task.kinds)
    storage = Storage.at(task.checkpoint, task.weights) if task.checkpoint else Storage.of(opened)
    bank, norms = opened.bank(), batch_norms_of(opened if network is None else network.module)
    responses = None if network is None else _responses(network, task, step)
    fitted = fit(bank, progress=step("fitting filters", len(bank)))
    step("examining kernels")
    evidence = Evidence(task.named(storage), fitted, task.seed, sides=task.sides, norms=norms, responses=responses)
    notes = (*(network.notes if network else ()), *bank.notes, *opened.passed_over)
    return Outcome(examined(evidence), notes, bank.left_out)


def _options(figures: Figures, *, sized: bool) -> str:
    """Return the options that stand for figures of the preparation of images.

    `sized`: whether that of the size is among them; commands name it by themselves where a network has no own size.
    """
    mean, std = (None if one is None else ",".join(map(str, one)) for one in (figures.mean, figures.std))
    given = {
        "--size": size_text(tuple(dict.fromkeys(figures.size))) if sized and figures.size else None,
        "--crop-pct": figures.crop_pct,
        "--mean": mean,
        "--std": std,
        "--interpolation": figures.interpolation,
    }
    told = [f"{name} {value}" for name, value in given.items() if value is not None]
    return " ".join([*told, "--grey"] if figures.is_grey else told)


def _responses(network: NamedNetwork, task: Task, step: Step) -> Responses | None:
    source = task.images if task.data is None else task.data
    if source is None:
        return None
    labelled, prepare = task.data is not None, preparation_of(network, task.figures)
    images = opened_images(network, source, prepare, labelled=labelled, labels=task.labels)
    chosen = sample(images, task.limit, task.seed)
    if len(chosen) < LEAST_IMAGES:
        raise DataError(f"{source}: holds {len(chosen)} images; a check-up by images needs at least {LEAST_IMAGES}")
    found = read_batches(images, chosen, prepare, step, size=_BATCH)
    check_runs(network, found[0][0][:2])
    given = found if labelled else [inputs for inputs, _ in found]
    return Responses.of(network.module, given, labelled=labelled)
