"""What ``scalekeys keys --eliminate`` does: open a network and images, eliminate candidates, measure the curve."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from scalekeys.checkpoints import extract
from scalekeys.cli.work import Step
from scalekeys.cli.work.network_task import BATCH, NetworkTask, check_classes
from scalekeys.cli.work.search import Search
from scalekeys.clustering import Keys, with_other_keys
from scalekeys.clustering.elimination import measurements
from scalekeys.errors import DataError, FilterError, ModelError
from scalekeys.filters import FilterBank
from scalekeys.filters.choice import matching_layers
from scalekeys.images import Images, batches, open_images, open_unlabelled, sample
from scalekeys.images.preparation import Preparation
from scalekeys.networks import eliminate_keys, evaluate, key_curve
from scalekeys.networks.measuring.key_curve import Measured, curve_counts, curve_measurements
from scalekeys.networks.measuring.key_elimination import By
from scalekeys.report.keys.elimination import EliminationSummary, summarize_elimination
from scalekeys.shapes import size_text
from scalekeys.training.network_source import Figures, NamedNetwork, preparation_of


@dataclass(frozen=True)
class Task(NetworkTask):
    """What is eliminated, and on what it is measured."""

    data: str
    labels: Path | None
    images: int
    """One half of them decides what is eliminated, the other is measured."""
    by: By
    candidates: int | None
    """How many keys are found at first; None for the filters themselves."""
    draws: int
    figures: Figures
    seed: int


@dataclass(frozen=True, eq=False)
class Opened:
    """A network with images, ready to be measured."""

    task: Task
    network: NamedNetwork
    bank: FilterBank
    """Its filters."""
    halves: tuple[Sequence[tuple[Tensor, Tensor]], Sequence[tuple[Tensor, Tensor]]]
    """On which candidates are eliminated, and on which the curve is measured."""
    measured: Measured
    notes: tuple[str, ...]

    def candidates(self, banks: Sequence[FilterBank], search: Search, step: Step) -> Tensor:
        """Return the candidates, found among some filters."""
        if self.task.candidates is None:
            return search.filters(banks)
        try:
            return search.keys(banks, self.task.candidates, step, controls=False).filters
        except FilterError as error:
            raise FilterError(f"--candidates {self.task.candidates}: {error}") from None

    def eliminate(self, candidates: Tensor, found: Keys, search: Search, step: Step) -> tuple[Keys, EliminationSummary]:
        """Return as many keys as were found, but those that an elimination leaves, and what it was measured to cost."""
        if len(candidates) <= len(found):
            raise FilterError(
                f"an elimination that leaves {len(found)} keys needs more candidates than the {len(candidates)} there "
                "are; ask for fewer keys with -k"
            )
        task, module = self.task, self.network.module
        counts = curve_counts(len(candidates), len(found))
        layers = _layers(self.bank, search, every=any(bank is not self.bank for bank in found.banks))
        total = 0 if task.by == "responses" else measurements(len(candidates), counts[-1])
        elimination = eliminate_keys(
            module,
            candidates,
            self.halves[0],
            keep=counts[-1],
            by=task.by,
            layers=layers,
            progress=step(f"eliminating {len(candidates) - counts[-1]} candidates by {task.by}", total or None),
        )
        curve = key_curve(
            module,
            elimination,
            self.halves[1],
            statistics=self.halves[0],
            counts=counts,
            measured=self.measured,
            layers=layers,
            draws=task.draws,
            seed=task.seed,
            progress=step("measuring the curve", curve_measurements(counts, len(candidates), task.draws)),
        )
        summary = summarize_elimination(curve, network=self.network.label, data=task.data, notes=self.notes)
        return with_other_keys(found, elimination.keys(len(found))), summary


def open_task(task: Task, step: Step) -> Opened:
    """Open the network and the images, and check that the network takes them."""
    network = task.opened(step)
    bank = replace(extract(network.module), model=network.label)
    step(f"reading {task.data}")
    prepare = preparation_of(network, task.figures)
    images, reason = _images(task, network, prepare)
    chosen = sample(images, task.images, task.seed)
    if len(chosen) < 2:
        raise DataError(f"{task.data}: has one image; one half of the images decides, the other is measured: give two")
    first, second = (list(batches(images, prepare, size=BATCH, indices=chosen[start::2])) for start in (0, 1))
    measured: Measured = "accuracy"
    if reason is None:
        try:
            evaluate(network.module, first[:1])
        except ModelError as error:
            if task.by == "accuracy":
                raise
            reason = str(error)
    if reason is not None:
        measured, reason = "outputs", f"no accuracies, as there are no labels to use: {reason}"
    notes = network.notes if reason is None else (*network.notes, reason)
    return Opened(task, network, bank, (first, second), measured, notes)


def _images(task: Task, network: NamedNetwork, prepare: Preparation) -> tuple[Images, str | None]:
    """Return the images, and why their labels cannot be used where none are needed."""
    try:
        images = open_images(task.data, labels=task.labels)
        check_classes(network, images, prepare)
    except (DataError, ModelError) as error:
        if task.labels is not None:
            raise
        images = open_unlabelled(task.data)  # says what is wrong where there are no images
        if task.by == "accuracy":
            raise DataError(f"{error}; without labels give --by outputs or --by responses") from None
        return images, str(error)
    return images, None


def _layers(bank: FilterBank, search: Search, *, every: bool) -> list[str] | None:
    """Return in which layers of the network filters are replaced; None for all of them.

    The patterns of layers choose among those of the sources, and so among those of the network where it is the source.
    """
    patterns = None if every else search.layers
    size = search.sizes if isinstance(search.sizes, tuple) else None
    if patterns is None and size is None:
        return None
    named = zip(bank, matching_layers(bank, patterns), strict=True)
    chosen = [layer.name for layer, mine in named if mine and size in (None, layer.size)]
    if not chosen and size is not None:
        sizes = ", ".join(map(size_text, bank.sizes))
        raise FilterError(f"{bank.model}: no layer has kernels of {size_text(size)}; the sizes are {sizes}")
    return chosen
