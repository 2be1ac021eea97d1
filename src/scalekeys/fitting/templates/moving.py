"""Components of a family at given coordinates, and the sums over the taps that a search asks for. Problems are last."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Moving:
    """Components at n points, and how they change with the search coordinates."""

    table: Tensor
    """Shape (entries, components, taps, n). See :mod:`scalekeys.scalespace.second_order`."""
    parameters: int

    @property
    def values(self) -> Tensor:
        """The components, shape (components, taps, n)."""
        return self.table[0]

    def products(self, weights: Tensor) -> Tensor:
        """Return products of columns (taps, n) with the components and their derivatives: (entries, components, n)."""
        return (self.table * weights).sum(2)

    def squares(self, weights: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``J W J^T`` and ``J W 1`` for the changes J of ``sum a_c K_c`` by the coordinates and by each a_c.

        `weights`: shape (taps, n).
        `a`: shape (components, n).
        Returns a tensor of shape (parameters + components, parameters + components, n).
        Returns a tensor of shape (parameters + components, n).
        """
        slopes = self.table[1 : self.parameters + 1]
        moves = torch.cat([(slopes * a[:, None]).sum(1), self.values])
        found = weights.new_empty(len(moves), len(moves), weights.shape[1])
        sums = []
        for row in range(len(moves)):
            weighted = moves[row] * weights
            found[row, row:] = found[row:, row] = (weighted * moves[row:]).sum(1)
            sums.append(weighted.sum(0))
        return found, torch.stack(sums)
