"""Inputs of the shape that a network takes."""

import numpy as np
import torch
from torch import Tensor

from scalekeys.optional import require
from scalekeys.training.network_source import Figures, NamedNetwork, preparation_of

_SIDE = 256  # of pictures of random pixels


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
