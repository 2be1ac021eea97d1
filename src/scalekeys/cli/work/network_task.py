"""What all verbs are told that open a network, and how they read images for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from scalekeys.cli.work.step import Step
from scalekeys.images import Images, batches
from scalekeys.images.preparation import Preparation
from scalekeys.training.network_source import NamedNetwork, open_network


@dataclass(frozen=True)
class NetworkTask:
    """A network that is opened; the fields of a task that are not explained are options of the verb."""

    network: str
    checkpoint: Path | None
    weights: str | None

    def opened(self, step: Step) -> NamedNetwork:
        """Return the network."""
        step(f"reading {self.network}")
        return open_network(self.network, checkpoint=self.checkpoint, weights=self.weights)


def read_batches(
    images: Images, chosen: Sequence[int], prepare: Preparation, step: Step, *, size: int
) -> list[tuple[Tensor, Tensor]]:
    """Read the chosen images, with their labels or what stands for these."""
    step(f"reading {len(chosen)} images")
    return list(batches(images, prepare, size=size, indices=chosen))
