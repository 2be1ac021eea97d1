"""The discrete analogue of the Gaussian as a Chebyshev series in its variance, for any number of t at once.

The recurrence of :func:`scalekeys.scalespace.discrete_gaussian` is exact for every t, and walks through dozens of
steps. A search asks for the same few taps at millions of variances inside one known interval, on which a short series
is exact to rounding.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

from scalekeys.scalespace import discrete_gaussian

_LENGTHS = (17, 33, 65, 129)  # 2^k + 1, which doubling reaches
_ROUNDING = 2e-14


class KernelSeries:
    """``T(0; t) .. T(radius; t)`` for ``0 <= t <= maximum``.

    Parameters
    ----------
    radius : int
        The last tap.
    maximum : float
        Largest variance.

    Notes
    -----
    The series runs in ``s = t / (c + t)`` with ``c = sqrt(maximum)``, scaled to ``-1 .. 1``. Its length is the shortest
    of a few for which the error that is measured between the nodes stays below 2e-14.
    """

    def __init__(self, radius: int, maximum: float) -> None:
        self.radius, self.maximum = radius, maximum
        self._bend = math.sqrt(maximum)
        probe = torch.linspace(-1, 1, 257, dtype=torch.float64)
        known = self._kernels(self._variance(probe))
        for length in _LENGTHS:
            self._coefficients = self._interpolating(length)
            if float((self(self._variance(probe)) - known).abs().max()) < _ROUNDING:
                break

    def __call__(self, t: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the kernel at variances of shape (n,), or some linear functions of it: shape (radius + 1 or rows, n).

        Parameters
        ----------
        t : Tensor, shape (n,)
        rows : Tensor, shape (rows, radius + 1), optional
            The linear functions.
        """
        coefficients = self._coefficients if rows is None else rows @ self._coefficients
        return coefficients.to(t) @ self.basis(t)

    def basis(self, t: Tensor) -> Tensor:
        """Return the terms of the series at variances of shape (n,): shape (length, n)."""
        return _chebyshev(self._position(t), self._coefficients.shape[1])

    @property
    def coefficients(self) -> Tensor:
        """What the terms are multiplied by, shape (radius + 1, length)."""
        return self._coefficients

    def _interpolating(self, length: int) -> Tensor:
        """Coefficients of the polynomial through the Chebyshev nodes, shape (radius + 1, length)."""
        angle = math.pi * (torch.arange(length, dtype=torch.float64) + 0.5) / length
        values = self._kernels(self._variance(torch.cos(angle)))
        weights = torch.cos(torch.arange(length, dtype=torch.float64)[:, None] * angle)
        coefficients = 2 / length * values @ weights.T
        coefficients[:, 0] /= 2
        return coefficients

    def _kernels(self, t: Tensor) -> Tensor:
        return discrete_gaussian(t, self.radius)[:, self.radius :].T.contiguous()

    def _position(self, t: Tensor) -> Tensor:
        return 2 * t / (self._bend + t) * ((self._bend + self.maximum) / self.maximum) - 1

    def _variance(self, position: Tensor) -> Tensor:
        share = (position + 1) / 2 * (self.maximum / (self._bend + self.maximum))
        return (self._bend * share / (1 - share)).clamp(0.0, self.maximum)


def _chebyshev(position: Tensor, length: int) -> Tensor:
    """Chebyshev polynomials 0 .. length - 1, shape (length, n), by doubling: ``T_(m+j) = 2 T_m T_j - T_(m-j)``."""
    out = position.new_empty(length, len(position))
    out[0] = 1.0
    out[1] = position
    known = 1
    while known < length - 1:
        new = out[known + 1 : 2 * known + 1]
        torch.mul(out[1 : known + 1], 2 * out[known], out=new)
        new -= out[:known].flip(0)
        known *= 2
    return out


@lru_cache(maxsize=64)
def kernel_series(radius: int, maximum: float) -> KernelSeries:
    """Return the series of a radius and a largest variance, built once."""
    return KernelSeries(radius, maximum)
