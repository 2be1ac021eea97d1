"""All random numbers of a training, as functions of the seed, the epoch and the step.

What is drawn for an image belongs to it and its place in the batch of a step, not to a process: it is the same on any
number of processes, and a training that was interrupted goes on as if it had not been. Only what the network draws for
itself, such as the paths that it drops, depends also on which process works on which part of a batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.training.recipe import Augmentation

_ORDER, _STEP, _SUBSET, _NETWORK = range(4)  # what a generator is for
_BELOW_ONE = 1 - 2**-24  # the largest number of float32 below 1, uniform numbers above which would be rounded to 1


def generator(seed: int, purpose: int, *numbers: int) -> np.random.Generator:
    """Return a generator that depends on these numbers and on nothing else."""
    return np.random.default_rng([seed, purpose, *numbers])


@dataclass(frozen=True, eq=False)
class Draws:
    """Images of a batch, or a part of it, and the random numbers of each."""

    rows: Int[Tensor, "images"]
    """Which images of the data set."""
    crop: Float[Tensor, "images 4"]
    """Uniform numbers for area, ratio and place of a crop, or two of them for a shift."""
    flip: Float[Tensor, "images"]
    """A uniform number."""
    erase: Float[Tensor, "images 5"]
    """Uniform numbers: whether, area, ratio and place of a rectangle."""
    noise: Int[Tensor, "images"]
    """Seeds."""
    mix: Float[Tensor, "images 4"]
    """The same for both images of a pair, the first with the second and so on: which way (uniform), the share of the
    own image (beta), and the centre of a rectangle (uniform)."""

    def __getitem__(self, part: slice) -> "Draws":
        return Draws(*(getattr(self, field.name)[part] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device) -> "Draws":
        """Bring all numbers to a device."""
        return Draws(*(getattr(self, field.name).to(device) for field in fields(self)))


def subset(images: int, wanted: int | None, seed: int, part: int) -> Int[Tensor, "chosen"]:
    """Return which images to take, in their order: all, or so many by the seed."""
    if wanted is None or wanted >= images:
        return torch.arange(images)
    return torch.from_numpy(np.sort(generator(seed, _SUBSET, part).permutation(images)[:wanted]))


def epoch_draws(images: int, batch: int, seed: int, epoch: int, augmentation: Augmentation) -> Iterator[Draws]:
    """Give the batches of an epoch; what is left of the images at the end is not used."""
    order = torch.from_numpy(generator(seed, _ORDER, epoch).permutation(images))
    for step in range(images // batch):
        rows = order[step * batch : (step + 1) * batch]
        yield _draws(rows, generator(seed, _STEP, epoch, step), augmentation)


def _draws(rows: Tensor, numbers: np.random.Generator, augmentation: Augmentation) -> Draws:
    count, pairs = len(rows), -(-len(rows) // 2)
    crop, flip, erase = numbers.random((count, 4)), numbers.random(count), numbers.random((count, 5))
    noise = numbers.integers(2**31, size=count)
    way, place = numbers.random(pairs), numbers.random((pairs, 2))
    mixup, cutmix = (_beta(numbers, value, pairs) for value in (augmentation.mixup, augmentation.cutmix))
    share = np.where(way < _mixup_share(augmentation), mixup, cutmix)
    mix = np.column_stack([np.minimum(way, _BELOW_ONE), share, place]).repeat(2, axis=0)[:count]
    crops, flips, erasures = (torch.from_numpy(values).float().clamp(max=_BELOW_ONE) for values in (crop, flip, erase))
    return Draws(rows, crops, flips, erasures, torch.from_numpy(noise), torch.from_numpy(mix).float())


def _beta(numbers: np.random.Generator, parameter: float, count: int) -> np.ndarray:
    values = numbers.beta(parameter or 1.0, parameter or 1.0, count)
    return values if parameter else np.ones(count)


def _mixup_share(augmentation: Augmentation) -> float:
    """Return the share of pairs that are mixed by mixup rather than by cutmix."""
    if augmentation.mixup and augmentation.cutmix:
        return 0.5
    return 1.0 if augmentation.mixup else 0.0


def is_mixup(draws: Draws, augmentation: Augmentation) -> Tensor:
    """Tell which images are mixed by mixup rather than by cutmix; shape (images,)."""
    return draws.mix[:, 0] < _mixup_share(augmentation)


def seed_network(seed: int, *numbers: int) -> None:
    """Set the global generators of torch, from which a network draws (paths that it drops, dropout)."""
    torch.manual_seed(int(generator(seed, _NETWORK, *numbers).integers(2**63)))
