"""The discrete analogue of the Gaussian as a Chebyshev series in its variance."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.scalespace import discrete_gaussian

_LENGTHS = (17, 33, 49, 65, 97, 129, 193, 257)
_ROUNDING = 2e-14
_PROBES = 257


def series_coefficients(radius: int, maximum: float) -> Float[Tensor, "values length"]:
    r"""Return the coefficients of ``T(0; t) .. T(radius; t)`` for ``0 <= t <= maximum``, in float64.

    Parameters
    ----------
    radius : int
        The last tap.
    maximum : float
        Largest variance.

    Returns
    -------
    Tensor, shape (radius + 1, length), float64
        Of Chebyshev polynomials of the first kind in :math:`2 s - 1`, where s is :math:`t / (c + t)` with
        :math:`c = \sqrt{t_{max}}`, divided by its value at :math:`t_{max}`. The length is the shortest of a few for
        which the error between the nodes stays below 2e-14.

    Examples
    --------
    At t = 0 the polynomials are 1, -1, 1, -1, ..., and the kernel is the unit impulse:

    >>> coefficients = series_coefficients(1, 9.0)
    >>> (coefficients[:, ::2].sum(1) - coefficients[:, 1::2].sum(1)).abs() < 1 + 1e-13
    tensor([True, True])
    """
    probe = torch.linspace(-1, 1, _PROBES, dtype=torch.float64)
    known = _kernels(probe, radius, maximum)
    coefficients = known[:, :0]
    for length in _LENGTHS:
        coefficients = _interpolating(length, radius, maximum)
        terms = torch.cos(torch.arange(length, dtype=torch.float64)[:, None] * torch.arccos(probe))
        if float((coefficients @ terms - known).abs().max()) < _ROUNDING:
            break
    return coefficients


def _interpolating(length: int, radius: int, maximum: float) -> Tensor:
    """Return the coefficients of the polynomials through the Chebyshev nodes, shape (radius + 1, length)."""
    angle = math.pi * (torch.arange(length, dtype=torch.float64) + 0.5) / length
    values = _kernels(torch.cos(angle), radius, maximum)
    coefficients = 2 / length * values @ torch.cos(torch.arange(length, dtype=torch.float64)[:, None] * angle).T
    coefficients[:, 0] /= 2
    return coefficients


def _kernels(position: Tensor, radius: int, maximum: float) -> Tensor:
    """Return ``T(0) .. T(radius)`` at positions from -1 to 1, shape (radius + 1, positions)."""
    bend = math.sqrt(maximum)
    share = (position + 1) / 2 * (maximum / (bend + maximum))
    t = (bend * share / (1 - share)).clamp(0.0, maximum)
    return discrete_gaussian(t, radius)[:, radius:].T.contiguous()
