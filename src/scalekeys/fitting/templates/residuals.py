"""Residuals of templates, with the derivatives of sums of functions of them. Problems are the last axis."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scalekeys.fitting.templates.whole import WholeFamily
from scalekeys.scalespace.second_order import pairs


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
        Shapes (moves, moves, n) and (moves, n), of parameters and components.
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


@dataclass(frozen=True, eq=False)
class Residuals:
    """What models leave of some filters, one problem each.

    The unknowns of a problem are the search coordinates of its family and, where they are free, the coefficients of the
    components and the offset.
    """

    family: WholeFamily
    """The family. Where the offset is free, its components are taken less their means."""
    targets: Tensor
    """Shape (taps, n)."""
    units: Tensor | None = None
    """Shape (components, n). Where coefficients and offset are free: their units, 1 / u for the coefficients and that
    of a constant of unit norm for the offset."""
    amplitudes: Tensor | None = None
    """Shape (n,). Where the one coefficient is given."""

    def select(self, index: Tensor) -> "Residuals":
        """Return those of some of the problems, by ascending number."""
        units, amplitudes = (
            None if part is None else part.index_select(-1, index) for part in (self.units, self.amplitudes)
        )
        return Residuals(self.family, self.targets.index_select(1, index), units, amplitudes)

    def moving(self, coordinates: Tensor) -> Moving:
        """Return the components at coordinates of shape (parameters, n)."""
        table = self.family(coordinates)
        if self.units is not None:
            table = table - table.mean(2, keepdim=True)
        return Moving(table, self.family.parameters)

    def __call__(self, parameters: Tensor, moving: Moving) -> Tensor:
        """Return the residuals at parameters of shape (p, n), whose components are given: (taps, n)."""
        coefficients = self._coefficients(parameters)
        out = torch.addcmul(self.targets, moving.values[0], coefficients[0], value=-1)
        for values, a in zip(moving.values[1:], coefficients[1:], strict=True):
            out.addcmul_(values, a, value=-1)
        return out if self.units is None else out.sub_(parameters[-1] * self._constant)

    def changed(self, residual: Tensor, moving: Moving, change: Tensor) -> Tensor:
        """Return the residuals after a change of the free coefficients and the offset, in place."""
        for values, a in zip(self._own(moving), change[:-1], strict=True):
            residual.addcmul_(values, a, value=-1)
        return residual.sub_(change[-1] * self._constant)

    def normal_equations(self, moving: Moving, slope: Tensor, bend: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``B^T W B`` and ``B^T s`` for the columns B of the free coefficients and the offset.

        Shapes (free, free, n) and (free, n), for weights and slopes of shape (taps, n).
        """
        own = self._own(moving)
        right = torch.cat([(own * slope).sum(1), slope.sum(0, keepdim=True) * self._constant])
        count, weighted = len(own), own * bend
        squares = bend.new_empty(count, count, bend.shape[1])
        for row in range(count):
            squares[row, row:] = squares[row:, row] = (weighted[row] * own[row:]).sum(1)
        return self._bordered(squares, weighted.sum(1) * self._constant, bend), right

    def derivatives(
        self, parameters: Tensor, moving: Moving, slope: Tensor, bend: Tensor, multipliers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return gradient (p, n) and Hessian (p, p, n) of a sum of functions of the residuals.

        `parameters`: shape (p, n).
        `moving`: the components there.
        `slope`, `bend`: shape (taps, n); first and second derivatives of these functions.
        `multipliers`: shape (taps, n); slopes that weight the second derivatives of the model.
        """
        a = self._coefficients(parameters)
        squares, sums = moving.squares(bend, a)
        count = moving.parameters
        along, table = moving.products(slope), moving.products(multipliers)
        gradient = (along[1 : count + 1] * a).sum(1)
        bent = (table[count + 1 :] * a).sum(1)
        for (i, j), bend_ in zip(pairs(count), bent, strict=True):
            squares[i, j] -= bend_
            squares[j, i] = squares[i, j]
        if self.units is None:
            return -gradient, squares[:count, :count]
        squares[:count, count:] -= table[1 : count + 1]
        squares[count:, :count] -= table[1 : count + 1].transpose(0, 1)
        squares[count:] /= self.units[:, None]
        squares[:, count:] /= self.units
        sums[count:] /= self.units
        hessian = self._bordered(squares, sums * self._constant, bend)
        own, constant = along[0] / self.units, slope.sum(0, keepdim=True) * self._constant
        return -torch.cat([gradient, own, constant]), hessian

    def _bordered(self, squares: Tensor, sums: Tensor, bend: Tensor) -> Tensor:
        """Matrices with a row and a column more, for the offset."""
        count = len(squares)
        whole = squares.new_empty(count + 1, count + 1, squares.shape[2])
        whole[:count, :count] = squares
        whole[count, :count] = whole[:count, count] = sums
        whole[count, count] = bend.sum(0) * self._constant**2
        return whole

    @property
    def _constant(self) -> float:
        """A constant of unit norm."""
        return 1 / math.sqrt(self.targets.shape[0])

    def _own(self, moving: Moving) -> Tensor:
        """Components in their units, shape (components, taps, n)."""
        assert self.units is not None
        return moving.values / self.units[:, None]

    def _coefficients(self, parameters: Tensor) -> Tensor:
        """Coefficients of the components, shape (components, n)."""
        if self.amplitudes is not None:
            return self.amplitudes[None]
        assert self.units is not None
        return parameters[self.family.parameters : -1] / self.units
