"""Found keys beside known receptive fields: how alike they are, and the frame that makes them look alike."""

from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from scalekeys.clustering.windows import symmetries, unit_rows
from scalekeys.filters import coordinates, master_keys
from scalekeys.shapes import Size

_CENTRE = (0.1, 0.2, 0.3)  # of the references along x, y and z: off the grid, so that no mirror image is as much alike


@lru_cache(maxsize=16)
def published_rows(window: Size) -> Float[Tensor, "eight taps"]:
    """Return the published keys as centred unit vectors in a window: cropped to a smaller one, padded to a larger one.

    A key of which nothing is left in the window is zero.
    """
    return unit_rows(master_keys(), window)[0]


@lru_cache(maxsize=16)
def reference_rows(window: Size) -> Float[Tensor, "references taps"]:
    """Return what keys are aligned with, as centred unit vectors in a window.

    These are the published keys on two axes, and else a Gaussian and its first derivatives along the axes, at scale 1,
    with the signs of the families: a derivative is positive to the left.
    """
    if len(window) == 2:
        return published_rows(window)
    like = torch.zeros(1, dtype=torch.float64)
    points = [axis - centre for axis, centre in zip(coordinates(*window, like=like), _CENTRE, strict=False)]
    gaussian = torch.exp(-torch.stack(points).square().sum(0) / 2)
    return unit_rows(torch.stack([gaussian, *(-point * gaussian for point in points)]), window)[0]


def likeness(
    keys: Float[Tensor, "keys taps"], window: Size, symmetry: str
) -> tuple[Float[Tensor, "keys references"], Int[Tensor, "keys references"]]:
    """Return the correlation of each key with each reference, of the symmetry with the largest, and which it is."""
    images = keys.cpu()[:, symmetries(window, symmetry)]
    correlation = images @ reference_rows(window).T
    best = correlation.abs().argmax(1)
    return correlation.gather(1, best[:, None])[:, 0], best


def in_standard_frame(keys: Float[Tensor, "keys taps"], window: Size, symmetry: str) -> Float[Tensor, "keys taps"]:
    """Return keys with the sign, and in the frame, in which they are most like a reference, each of unit norm.

    That is positive correlation with the reference most like it; where none is alike, a positive largest tap.
    """
    correlation, transform = likeness(keys, window, symmetry)
    best = correlation.abs().argmax(1, keepdim=True)
    chosen, moves = transform.gather(1, best), symmetries(window, symmetry)
    framed = keys.cpu().gather(1, moves[chosen[:, 0]])
    peak = framed.gather(1, framed.abs().argmax(1, keepdim=True))
    likest = correlation.gather(1, best)
    sign = torch.where(likest.abs() > 1e-6, likest, peak).sign()
    return (normalize(framed) * sign).to(keys.device)
