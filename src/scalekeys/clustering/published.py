"""Found keys beside the eight published ones: how alike they are, and the frame that makes them look alike."""

from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.clustering.windows import symmetries, unit_rows
from scalekeys.filters import master_keys
from scalekeys.filters.window import Size


@lru_cache(maxsize=16)
def published_rows(window: Size) -> Float[Tensor, "eight taps"]:
    """Return the published keys as centred unit vectors in a window: cropped to a smaller one, padded to a larger one.

    A key of which nothing is left in the window is zero.
    """
    return unit_rows(master_keys(), window)[0]


def likeness(
    keys: Float[Tensor, "keys taps"], window: Size, symmetry: str
) -> tuple[Float[Tensor, "keys eight"], Int[Tensor, "keys eight"]]:
    """Return the correlation of each key with each published one, of the symmetry with the largest, and which it is."""
    images = keys.cpu()[:, symmetries(window, symmetry)]
    correlation = images @ published_rows(window).T
    best = correlation.abs().argmax(1)
    return correlation.gather(1, best[:, None])[:, 0], best


def in_standard_frame(keys: Float[Tensor, "keys taps"], window: Size, symmetry: str) -> Float[Tensor, "keys taps"]:
    """Return keys with the sign, and in the frame, in which they are most like a published key.

    That is positive correlation with the published key most like it; where none is alike, a positive largest tap.
    """
    correlation, transform = likeness(keys, window, symmetry)
    best = correlation.abs().argmax(1, keepdim=True)
    chosen, moves = transform.gather(1, best), symmetries(window, symmetry)
    framed = keys.cpu().gather(1, moves[chosen[:, 0]])
    peak = framed.gather(1, framed.abs().argmax(1, keepdim=True))
    likest = correlation.gather(1, best)
    sign = torch.where(likest.abs() > 1e-6, likest, peak).sign()
    return (framed * sign).to(keys.device)
