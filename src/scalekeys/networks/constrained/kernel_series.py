"""Chebyshev series of functions of a variance."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

_LENGTHS = (17, 33, 49, 65, 97, 129, 193, 257)
_ROUNDING = 2e-14
_PROBES = 257


def series_coefficients(
    function: Callable[[Tensor], Tensor], maximum: float, bend: float
) -> Float[Tensor, "values length"]:
    r"""Return the coefficients of functions of a variance ``0 <= t <= maximum``, in float64.

    Parameters
    ----------
    function : callable
        From variances of shape (n,) to values of shape (values, n).
    maximum : float
        Largest variance.
    bend : float
        The number c below. The series is shortest where it is the geometric mean of the largest variance and the one
        below which the functions change fast.

    Returns
    -------
    Tensor, shape (values, length), float64
        Of Chebyshev polynomials of the first kind in :math:`2 s - 1`, where s is :math:`t / (c + t)` divided by its
        value at :math:`t_{max}`. The length is the shortest of a few for which the error between the nodes stays below
        2e-14 of the largest value of each function, or the longest.

    Examples
    --------
    At t = 0 the polynomials are 1, -1, 1, -1, ...:

    >>> coefficients = series_coefficients(lambda t: torch.exp(-t)[None], 9.0, bend=3.0)
    >>> (coefficients[:, ::2].sum(1) - coefficients[:, 1::2].sum(1) - 1).abs() < 1e-13
    tensor([True])
    """
    probe = torch.linspace(-1, 1, _PROBES, dtype=torch.float64)
    known = function(_variances(probe, maximum, bend))
    allowed = _ROUNDING * known.abs().amax(1).clamp(min=1.0)
    coefficients = known[:, :0]
    for length in _LENGTHS:
        coefficients = _interpolating(function, length, maximum, bend)
        terms = torch.cos(torch.arange(length, dtype=torch.float64)[:, None] * torch.arccos(probe))
        if bool(((coefficients @ terms - known).abs().amax(1) < allowed).all()):
            break
    return coefficients


def _interpolating(function: Callable[[Tensor], Tensor], length: int, maximum: float, bend: float) -> Tensor:
    """Return the coefficients of the polynomials through the Chebyshev nodes, shape (values, length)."""
    angle = math.pi * (torch.arange(length, dtype=torch.float64) + 0.5) / length
    values = function(_variances(torch.cos(angle), maximum, bend))
    coefficients = 2 / length * values @ torch.cos(torch.arange(length, dtype=torch.float64)[:, None] * angle).T
    coefficients[:, 0] /= 2
    return coefficients


def _variances(position: Tensor, maximum: float, bend: float) -> Tensor:
    """Return the variances at positions from -1 to 1."""
    share = (position + 1) / 2 * (maximum / (bend + maximum))
    return (bend * share / (1 - share)).clamp(0.0, maximum)
