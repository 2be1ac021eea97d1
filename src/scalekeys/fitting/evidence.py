r"""On which terms models with different numbers compete: by what they explain, less what their numbers are worth.

The evidence for a model of p numbers that explains a share :math:`r^2` of a filter with n taps is

.. math:: E = -n \log(1 - r^2) - (p - 1) \log n ,

by how much the Bayesian information criterion (Schwarz, Annals of Statistics 6(2), 1978) of a constant exceeds that of
the model.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

_SMALLEST_LEFT = 1e-12


def evidence(r2: Tensor, numbers: Tensor | int, taps: Tensor | int) -> Tensor:
    """Return by how much the information criterion of a constant exceeds that of a model; larger is better.

    `r2`: shape (...); share of the centred energy that least squares explain.
    `numbers`: of shape (...) or int; how many numbers were fitted.
    `taps`: of shape (...) or int.
    """
    count = torch.as_tensor(taps, dtype=r2.dtype, device=r2.device)
    return -taps * torch.log((1 - r2).clamp(min=_SMALLEST_LEFT)) - (numbers - 1) * torch.log(count)


def eligible(numbers: Mapping[str, int], taps: int) -> list[tuple[int, tuple[str, ...]]]:
    """Group families by their numbers, and leave those out that would fit more of them than half of the taps.

    What is left over then judges the model; with fewer left, a criterion for many taps means nothing.

    >>> eligible({"dx": 4, "smooth": 4, "jet1": 6, "jet2": 9}, 9)
    [(4, ('dx', 'smooth'))]
    """
    counts = sorted({count for count in numbers.values() if 2 * count <= taps})
    return [(count, tuple(name for name, own in numbers.items() if own == count)) for count in counts]
