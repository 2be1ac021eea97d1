r"""On which terms models with different numbers compete: by what they explain, less what their numbers are worth.

The evidence for a model of p numbers that explains a share :math:`r^2` of a filter with n taps is

.. math:: E = -n \log(1 - r^2) - (p - 1) \log n ,

by how much the Bayesian information criterion (Schwarz, Annals of Statistics 6(2), 1978) of a constant exceeds that of
the model.
"""

import torch
from torch import Tensor

from scalekeys.scalespace import FAMILIES

_SMALLEST_LEFT = 1e-12


def numbers_of(name: str) -> int:
    """Return how many numbers a family fits to a filter: two parameters, its coefficients and an offset.

    Examples
    --------
    >>> numbers_of("smooth"), numbers_of("jet2")
    (4, 9)
    """
    return 3 + len(FAMILIES[name].components)


def evidence(r2: Tensor, numbers: Tensor | int, taps: Tensor | int) -> Tensor:
    """Return by how much the information criterion of a constant exceeds that of a model; larger is better.

    Parameters
    ----------
    r2 : Tensor, shape (...)
        Share of the centred energy that least squares explain.
    numbers : Tensor of shape (...) or int
        How many numbers were fitted.
    taps : Tensor of shape (...) or int
    """
    count = torch.as_tensor(taps, dtype=r2.dtype, device=r2.device)
    return -taps * torch.log((1 - r2).clamp(min=_SMALLEST_LEFT)) - (numbers - 1) * torch.log(count)


def eligible(families: tuple[str, ...], taps: int) -> tuple[tuple[str, ...], ...]:
    """Group families by their numbers, and leave those out that would fit more of them than half of the taps.

    What is left over then judges the model; with fewer left, a criterion for many taps means nothing.

    Examples
    --------
    >>> [len(group) for group in eligible(("dx", "smooth", "jet1", "jet2"), 9)]
    [2]
    """
    counts = sorted({numbers_of(name) for name in families})
    groups = [tuple(name for name in families if numbers_of(name) == count) for count in counts if 2 * count <= taps]
    return tuple(groups)
