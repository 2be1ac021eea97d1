"""What all verbs are told that open a network, and how they get inputs for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scalekeys.cli.work import Step
from scalekeys.images import Images, batches
from scalekeys.images.preparation import Preparation
from scalekeys.optional import require
from scalekeys.training.network_source import Figures, NamedNetwork, open_network, preparation_of

BATCH = 50
"""Images that are read, and go through a network, together."""

_SIDE = 256  # of pictures of random pixels


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
    images: Images, chosen: Sequence[int], prepare: Preparation, step: Step, *, size: int = BATCH
) -> list[tuple[Tensor, Tensor]]:
    """Read the chosen images, with their labels or what stands for these."""
    step(f"reading {len(chosen)} images")
    return list(batches(images, prepare, size=size, indices=chosen))


def example_of(
    network: NamedNetwork, figures: Figures, shape: tuple[int, ...] | None, *, count: int, seed: int
) -> Tensor:
    """Return a batch of inputs: zeros of a shape, or pictures of random pixels, prepared as the network wants them."""
    if shape is not None:
        return torch.zeros(count, *shape)
    prepare = preparation_of(network, figures)
    image = require("PIL.Image", extra="images")
    pixels = np.random.default_rng(seed).integers(256, size=(count, _SIDE, _SIDE, 3), dtype=np.uint8)
    return torch.stack([prepare(image.fromarray(picture)) for picture in pixels])
