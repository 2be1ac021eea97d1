"""Inputs of the shape that a network takes, and what a network has to be for a verb that runs it."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scalekeys.errors import ModelError
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


def refuse_weights(network: str) -> None:
    """Refuse a file of weights where a network is needed that runs."""
    if Path(network).is_file() and Path(network).suffix != ".py":
        raise ModelError(
            f"{network}: a file of weights does not say how the network uses them; give FILE.py:FUNCTION that "
            f"returns the network, and this file as --checkpoint"
        )
