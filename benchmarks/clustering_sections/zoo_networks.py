"""Published networks of a list with their tasks, and the rules by which they are put together."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import scalekeys as sk
from scalekeys.filters import FilterBank
from scalekeys.shapes import Size

TASKS = (
    ("super-resolution", ("super-resolution",)),
    ("image restoration", ("low-light", "exposure", "retouching", "denoising")),
    ("image classification", ("image classification",)),
    ("faces", ("face",)),
    ("object and pose detection", ("object", "pose")),
    ("medical segmentation", ("polyp", "medical")),
    ("scene segmentation", ("segmentation",)),
    ("text", ("text",)),
    ("sound", ("speech", "voice", "keyword")),
)
"""Groups of tasks: a task belongs to the first group of which it holds one of the words."""

LEAST, MOST = 64, 500
"""Filters that are not dead which a network needs of a kernel size, and about how many of them are taken."""


@dataclass(frozen=True, eq=False)
class Network:
    """A network of the list.

    Parameters
    ----------
    banks : mapping of Size to FilterBank
        By kernel size, for sizes of two axes of three taps or more of which the network has enough filters: every n-th
        filter of each layer that is not dead.
    architecture, task : str
        As listed.
    """

    banks: dict[Size, FilterBank]
    architecture: str
    task: str

    @property
    def series(self) -> str:
        """The architecture up to its first space or hyphen, so that sizes and versions of one network stay together."""
        return re.split("[ -]", self.architecture)[0]

    @property
    def group(self) -> str:
        """The group of the task; the task itself where none fits."""
        return next((group for group, words in TASKS if any(word in self.task for word in words)), self.task)


def networks_of(path: Path) -> Iterator[Network]:
    """Read the networks of a CSV file with columns source, architecture and task, whose sources lie beside it."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            bank = sk.extract(path.parent / row["source"])
            banks = {size: _of_size(bank, size) for size in bank.sizes if len(size) == 2 and min(size) >= 3}
            some: dict[Size, FilterBank] = {size: _thinned(one) for size, one in banks.items() if len(one) >= LEAST}
            yield Network(some, row["architecture"], row["task"])


def _of_size(bank: FilterBank, size: Size) -> FilterBank:
    """Return the filters of one kernel size that are not negligible."""
    layers = [
        replace(layer, kernels=layer.kernels[~bank.negligible[rows]])
        for layer, rows in bank.parts()
        if layer.size == size
    ]
    return FilterBank(tuple(layers), model=bank.model)


def _thinned(bank: FilterBank) -> FilterBank:
    step = -(-len(bank) // MOST)
    return bank.with_filters([layer.kernels[::step] for layer in bank])
