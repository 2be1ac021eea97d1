"""Functions of a variance as sums of decaying exponentials, of which every solution of the heat equation consists."""

from collections.abc import Callable
from math import log

import torch
from jaxtyping import Float
from scipy.linalg import qr
from torch import Tensor

_CANDIDATES = 300
_SAMPLES = 600
_SLOWEST = 0.1  # slowest rate, times the largest variance
_RANK = 1e-15  # all that are chosen count
_NEGLIGIBLE = 1e-13  # share of an exponential that the ones chosen before it do not explain


def exponential_sum(
    function: Callable[[Tensor], Tensor], maximum: float, fastest: float
) -> tuple[Float[Tensor, "rates"], Float[Tensor, "values rates"]]:
    r"""Return the rates and the coefficients of functions as sums :math:`\sum_k c_k e^{-r_k t}`, in float64.

    `function`: from variances of shape (n,) to values of shape (values, n).
    `maximum`: the largest variance; 0 is the smallest.
    `fastest`: the largest rate that may occur.

    Rates are chosen among several hundred, spread evenly in their logarithm, by a QR decomposition with pivoting of the
    exponentials at many variances; coefficients are those of least squares. Errors are about 1e-14 for the discrete
    analogue of the Gaussian, and about 1e-10 of the largest value for its continuous derivatives.

    >>> rates, coefficients = exponential_sum(lambda t: (1 / (1 + t))[None], 9.0, fastest=30.0)
    >>> t = torch.linspace(0, 9, 7, dtype=torch.float64)
    >>> bool(((coefficients @ torch.exp(-rates[:, None] * t) - 1 / (1 + t)).abs() < 1e-11).all())
    True
    """
    bend = (maximum / fastest) ** 0.5
    position = torch.cos(torch.pi * (torch.arange(_SAMPLES, dtype=torch.float64) + 0.5) / _SAMPLES)
    share = (position + 1) / 2 * (maximum / (bend + maximum))
    t = (bend * share / (1 - share)).clamp(0.0, maximum)
    candidates = torch.linspace(log(_SLOWEST / maximum), log(fastest), _CANDIDATES, dtype=torch.float64).exp()
    decays = torch.exp(-t[:, None] * candidates)
    triangle, order = qr(decays.numpy(), mode="r", pivoting=True)
    left = abs(triangle.diagonal())
    chosen = torch.from_numpy(order[: int((left > _NEGLIGIBLE * left[0]).sum())]).long().sort().values
    # "gelsy", the default, gives other digits in each process
    coefficients = torch.linalg.lstsq(decays[:, chosen], function(t).T, driver="gelsd", rcond=_RANK).solution.T
    return candidates[chosen], coefficients.contiguous()
