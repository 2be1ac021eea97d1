"""How large kernels have to be for what they hold."""

from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import FilterError
from scalekeys.filters.window import cropped, in_window
from scalekeys.shapes import FilterStack, Size

OUTER_ENERGY = 0.02
"""The share of the energy of a layer that may be cut off: MCUNet lost 1.6 points of top-1 by it (-0.2 to 3.4)."""

SMALLEST = 3
"""The side below which no axis is cut by itself."""

_RIDGE = 1e-6
"""What is added to the diagonal of a covariance, as a share of its mean."""


def smallest_window(kernels: FilterStack, tolerance: float = OUTER_ENERGY) -> tuple[Size, float] | None:
    """Return the smallest window around the central taps that holds nearly all energy of the filters of a layer.

    `kernels`: shape (filters, *sides); filters that are not finite are left out.
    `tolerance`: the share of the energy, summed over all filters, that may lie outside the window.
    Returns the sides of the window, and the share of the energy outside; None where no smaller window will do, or there
    is no energy. Each axis loses a tap at either end in each step, down to a side of 3 or 4.
    Raises FilterError if the tolerance is no share.

    >>> kernels = torch.nn.functional.pad(torch.ones(4, 3, 3), (2, 2, 2, 2))
    >>> smallest_window(kernels)
    ((3, 3), 0.0)
    >>> smallest_window(torch.ones(4, 7, 7)) is None
    True
    """
    if not 0 <= tolerance < 1:
        raise FilterError(f"the tolerance is a share of energy, at least 0 and below 1, got {tolerance}")
    finite = kernels[kernels.flatten(1).isfinite().all(1)]
    if not finite.any():
        return None
    best, window = None, tuple(kernels.shape[1:])
    while (smaller := tuple(side - 2 if side - 2 >= SMALLEST else side for side in window)) != window:
        window, share = smaller, outer_share(finite, smaller)
        if share > tolerance:
            break
        best = window, share
    return best


def outer_share(kernels: FilterStack, window: Size) -> float:
    """Return the share of the energy of filters outside a window around their central taps.

    >>> outer_share(torch.ones(2, 5, 5), (3, 3)), outer_share(torch.ones(2, 5), (5,))
    (0.64, 0.0)
    """
    kernels = kernels.double()
    return float(outside(kernels, window).square().sum() / kernels.square().sum())


def outside(kernels: Float[Tensor, "filters *sides"], window: Size) -> Float[Tensor, "filters *sides"]:
    """Set the taps of filters inside a window around their central taps to zero.

    >>> outside(torch.ones(1, 5), (3,))
    tensor([[1., 0., 0., 0., 1.]])
    """
    return kernels - in_window(in_window(kernels, window), tuple(kernels.shape[1:]))


def refitted(
    kernels: FilterStack, window: Size, covariance: Float[Tensor, "#filters taps taps"]
) -> Float[Tensor, "filters *window"]:
    r"""Return kernels in a smaller window whose responses are as near to those of the whole ones as they can be.

    `kernels`: shape (filters, *sides).
    `window`: a side for each axis, none larger than before.
    `covariance`: shape (filters or 1, taps, taps); of the patches that the whole kernels see.
    Returns a tensor of shape (filters, *window): of the type of the kernels. Filters that are not finite are cut and no
    more.

    Neighbouring values of a patch tell much of each other. So what the taps outside (o) add is foretold from those
    inside (i) by regression: :math:`h_i + S_{ii}^{-1} S_{io} h_o` minimises the mean square of the difference of the
    responses for patches of covariance S.

    >>> kernels = torch.tensor([[0.1, 1.0, 1.0, 1.0, 0.1]], dtype=torch.float64)
    >>> refitted(kernels, (3,), torch.eye(5)[None])
    tensor([[1., 1., 1.]], dtype=torch.float64)
    >>> refitted(kernels, (3,), torch.eye(5)[None] + 9)
    tensor([[1.0643, 1.0643, 1.0643]], dtype=torch.float64)
    """
    small = cropped(kernels, window)
    inside = in_window(torch.ones(window), tuple(kernels.shape[1:])).flatten() > 0
    inner, outer = inside.nonzero()[:, 0], (~inside).nonzero()[:, 0]
    rows, shared = kernels.detach().double().flatten(1), covariance.double()
    known, between = shared[:, inner][:, :, inner], shared[:, inner][:, :, outer]
    ridge = _RIDGE * known.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(len(inner), dtype=torch.float64)
    change = torch.linalg.solve(known + ridge, between @ rows[:, outer, None])[..., 0]
    changed: Tensor = small + change.nan_to_num(0.0, 0.0, 0.0).reshape(small.shape).to(small)
    return changed


def white_share(size: Size, window: Size) -> float:
    """Return the share of the energy of white noise outside a window: that of the taps.

    >>> white_share((5, 5), (3, 3))
    0.64
    """
    return 1 - prod(window) / prod(size)
