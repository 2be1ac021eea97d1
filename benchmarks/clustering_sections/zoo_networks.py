"""Published networks of a list with their tasks, and the rules by which they are put together."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import scalekeys as sk

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

LEAST = 64
"""Filters that are not dead which a network needs of a kernel size."""


@dataclass(frozen=True, eq=False)
class Network:
    """A network of the list.

    Parameters
    ----------
    bank : FilterBank
    architecture, task : str
        As listed.
    """

    bank: sk.FilterBank
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

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        """Kernel sizes of two axes of three taps or more, of which the network has enough filters."""
        return [size for size in self.bank.sizes if len(size) == 2 and min(size) >= 3 and self.live(size) >= LEAST]

    def live(self, size: tuple[int, ...]) -> int:
        """Return how many filters of a size are not negligible."""
        return sum(int((~self.bank.negligible[rows]).sum()) for layer, rows in self.bank.parts() if layer.size == size)


def networks_of(path: Path) -> Iterator[Network]:
    """Read the networks of a CSV file with columns source, architecture and task, whose sources lie beside it."""
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield Network(sk.extract(path.parent / row["source"]), row["architecture"], row["task"])
