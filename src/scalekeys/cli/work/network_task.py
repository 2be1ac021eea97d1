"""What all verbs are told that open a network, and how they get inputs for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scalekeys.cli.work import Step
from scalekeys.errors import DataError, ModelError
from scalekeys.images import Images, batches, open_images, open_unlabelled
from scalekeys.images.preparation import Preparation
from scalekeys.networks import evaluate
from scalekeys.networks.running.batches import evaluating
from scalekeys.optional import in_short, require
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


@torch.no_grad()
def check_runs(network: NamedNetwork, inputs: Tensor) -> None:
    """Refuse images that a network does not take, because of their size or their channels."""
    try:
        with evaluating(network.module):
            network.module(inputs)
    except Exception as error:  # whatever a network raises
        raise ModelError(
            f"{network.label}: does not run on images of shape {tuple(inputs.shape[1:])} ({in_short(error)}); give the "
            "--size that it takes, and --grey, --mean and --std if it takes one channel"
        ) from error


def opened_images(
    network: NamedNetwork, source: str, prepare: Preparation, *, labelled: bool, labels: Path | None = None
) -> Images:
    """Open images without classes, or with those of a network: with labels the classes have to be its own."""
    if not labelled:
        return open_unlabelled(source)
    images = open_images(source, labels=labels)
    check_classes(network, images, prepare)
    return images


def check_classes(network: NamedNetwork, images: Images, prepare: Preparation) -> None:
    """Refuse places in a list of classes for the numbers of a network that has more or fewer of them."""
    if images.classes is None:
        return
    inputs = prepare(images[0][0])[None]
    check_runs(network, inputs)
    outputs = evaluate(network.module, [(inputs, [0])]).classes
    if outputs != images.classes:
        raise DataError(
            f"{images.label}: the places of its {images.classes} classes in order are not their numbers among the "
            f"{outputs} classes of {network.label}; say the numbers with --labels, or call the folders by them"
        )


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
