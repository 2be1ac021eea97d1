"""Components of families at given parameters, and the sums over the taps that a search asks for. Problems are last."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scalekeys.fitting.separable import contracted, table_of


class Moving(ABC):
    """Components at n parameters, and how they change with the two parameters.

    Attributes
    ----------
    values : Tensor, shape (components, taps, n)
        The components.
    """

    values: Tensor

    @abstractmethod
    def products(self, weights: Tensor) -> Tensor:
        """Return the products of columns (taps, n) with the components and their derivatives.

        Shape (6, components, n), in the order [value, 1, 2, 11, 12, 22].
        """

    @abstractmethod
    def slopes_along(self, weights: Tensor) -> Tensor:
        """Return the first three of the products, shape (3, components, n)."""

    @abstractmethod
    def squares(self, weights: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``J W J^T`` and ``J W 1`` for the changes J of ``sum a_c K_c`` by both parameters and by each a_c.

        Parameters
        ----------
        weights : Tensor, shape (taps, n)
        a : Tensor, shape (components, n)

        Returns
        -------
        Tensor, shape (2 + components, 2 + components, n)
        Tensor, shape (2 + components, n)
        """


@dataclass(frozen=True, eq=False)
class WholeMoving(Moving):
    """Components whose values and slopes are at hand.

    Parameters
    ----------
    values : Tensor, shape (components, taps, n)
    slopes : Tensor, shape (2, components, taps, n)
    derivatives : callable
        The products.
    """

    values: Tensor
    slopes: Tensor
    derivatives: Callable[[Tensor], Tensor]

    def products(self, weights: Tensor) -> Tensor:
        """Return the products with the components and their derivatives."""
        return self.derivatives(weights)

    def slopes_along(self, weights: Tensor) -> Tensor:
        """Return the first three of them."""
        return torch.cat([(self.values * weights).sum(1)[None], (self.slopes * weights).sum(2)])

    def squares(self, weights: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``J W J^T`` and ``J W 1``."""
        moves = torch.cat([(self.slopes * a[:, None]).sum(1), self.values])
        found = weights.new_empty(len(moves), len(moves), weights.shape[1])
        sums = []
        for row in range(len(moves)):
            weighted = moves[row] * weights
            found[row, row:] = found[row:, row] = (weighted * moves[row:]).sum(1)
            sums.append(weighted.sum(0))
        return found, torch.stack(sums)


class OuterMoving(Moving):
    """One outer product of two profiles, with a scale for each axis: all sums are taken along x first.

    Parameters
    ----------
    y, x : Tensor, shape (3, taps, n)
        Profiles with two derivatives.
    """

    def __init__(self, y: Tensor, x: Tensor) -> None:
        self._y, self._x = y, x
        self.values = (y[0, :, None] * x[0]).flatten(0, 1)[None]

    def products(self, weights: Tensor) -> Tensor:
        """Return the products with the component and its derivatives."""
        return table_of(contracted(self._block(weights), self._x), self._y)[:, None]

    def slopes_along(self, weights: Tensor) -> Tensor:
        """Return the first three of them."""
        moved = contracted(self._block(weights), self._x[:2])  # (taps in y, 2, n)
        with_value = (moved * self._y[0][:, None]).sum(0)
        with_slope = (moved[:, 0] * self._y[1]).sum(0)
        return torch.stack([with_value[0], with_value[1], with_slope])[:, None]

    def squares(self, weights: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``J W J^T`` and ``J W 1``: products of components are products of their profiles."""
        x0, x1, y0, y1 = self._x[0], self._x[1], self._y[0], self._y[1]
        moved = contracted(self._block(weights), torch.stack([x0, x1, x0 * x0, x0 * x1, x1 * x1]))
        own = (moved[:, :2] * y0[:, None]).sum(0)  # K, K_x
        same = (moved[:, 2:] * (y0 * y0)[:, None]).sum(0)  # K K, K K_x, K_x K_x
        mixed = (moved[:, 2:4] * (y0 * y1)[:, None]).sum(0)  # K K_y, K_x K_y
        along_y, twice = (moved[:, 0] * y1).sum(0), (moved[:, 2] * (y1 * y1)).sum(0)
        a = a[0]
        rows = [
            [a * a * same[2], a * a * mixed[1], a * same[1]],
            [a * a * mixed[1], a * a * twice, a * mixed[0]],
            [a * same[1], a * mixed[0], same[0]],
        ]
        squares = torch.stack([torch.stack(row) for row in rows])
        return squares, torch.stack([a * own[1], a * along_y, own[0]])

    def _block(self, weights: Tensor) -> Tensor:
        return weights.view(self._y.shape[1], self._x.shape[1], -1)
