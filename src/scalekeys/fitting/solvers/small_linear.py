"""Positive linear systems of a few unknowns, for many problems at once. Problems are the last axis."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Factors:
    """``Q = L D L^T``; pivots that rounding has eaten are held up, so that dependent unknowns do no harm.

    `entry`: gives the entry of a row and a column that is not above it, shape (n,).
    `floor`: the least share of its diagonal entry that a pivot has.
    """

    def __init__(self, entry: Callable[[int, int], Tensor], count: int, floor: float) -> None:
        self._lower: dict[tuple[int, int], Tensor] = {}
        self.pivots: list[Tensor] = []
        for i in range(count):
            pivot = entry(i, i)
            least = floor * pivot + torch.finfo(pivot.dtype).tiny
            for j in range(i):
                own = entry(i, j)
                for k in range(j):
                    own = own - self._lower[i, k] * self._lower[j, k] * self.pivots[k]
                self._lower[i, j] = own / self.pivots[j]
                pivot = pivot - self._lower[i, j] * own
            self.pivots.append(torch.maximum(pivot, least))

    def half_solved(self, right: Sequence[Tensor]) -> list[Tensor]:
        """Return ``L^-1 b``; right sides have shape (..., n)."""
        out: list[Tensor] = []
        for i, value in enumerate(right):
            for j in range(i):
                value = value - self._lower[i, j] * out[j]
            out.append(value)
        return out

    def solve(self, right: Sequence[Tensor]) -> list[Tensor]:
        """Return ``Q^-1 b``."""
        out = [value / pivot for value, pivot in zip(self.half_solved(right), self.pivots, strict=True)]
        for i in reversed(range(len(out))):
            for j in range(i + 1, len(out)):
                out[i] = out[i] - self._lower[j, i] * out[j]
        return out
