"""Residuals of templates, with the derivatives of sums of functions of them. Problems are the last axis."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scalekeys.fitting.columns import Columns, Moving


@dataclass(frozen=True, eq=False)
class Residuals:
    """What models leave of some filters, one problem each.

    The parameters of a problem are the two of its family and, where they are free, the coefficients of the components
    and the offset.

    Parameters
    ----------
    columns : Columns
        The family, or the families.
    targets : Tensor, shape (taps, n)
    units : Tensor, shape (components, n), optional
        Where coefficients and offset are free: their units, 1 / u for the coefficients and that of a constant of unit
        norm for the offset.
    amplitudes : Tensor, shape (n,), optional
        Where the one coefficient is given.
    """

    columns: Columns
    targets: Tensor
    units: Tensor | None = None
    amplitudes: Tensor | None = None

    def select(self, index: Tensor) -> "Residuals":
        """Return those of some of the problems, by ascending number."""
        units, amplitudes = (
            None if part is None else part.index_select(-1, index) for part in (self.units, self.amplitudes)
        )
        return Residuals(self.columns.select(index), self.targets.index_select(1, index), units, amplitudes)

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
        return self._squares(own, bend), right

    def derivatives(
        self, parameters: Tensor, moving: Moving, slope: Tensor, bend: Tensor, multipliers: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return gradient (p, n) and Hessian (p, p, n) of a sum of functions of the residuals.

        Parameters
        ----------
        parameters : Tensor, shape (p, n)
        moving : Moving
            The components there.
        slope, bend : Tensor, shape (taps, n)
            First and second derivatives of these functions.
        multipliers : Tensor, shape (taps, n)
            Slopes that weight the second derivatives of the model.
        """
        a = self._coefficients(parameters)
        moves = moving.slopes[:, 0] * a[0] if len(a) == 1 else (moving.slopes * a[:, None]).sum(1)
        if self.units is not None:
            moves = torch.cat([moves, self._own(moving)])
        hessian = self._squares(moves, bend)
        gradient = -(moves * slope).sum(1)
        table = moving.products(multipliers)
        bent = (table[3:] * a).sum(1)
        hessian[0, 0] -= bent[0]
        hessian[0, 1] -= bent[1]
        hessian[1, 1] -= bent[2]
        hessian[1, 0] = hessian[0, 1]
        if self.units is None:
            return gradient, hessian
        across = table[1:3] / self.units
        hessian[:2, 2:-1] -= across
        hessian[2:-1, :2] -= across.transpose(0, 1)
        return torch.cat([gradient, slope.sum(0, keepdim=True) * -self._constant]), hessian

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
        return parameters[2:-1] / self.units

    def _squares(self, moves: Tensor, bend: Tensor) -> Tensor:
        """``J W J^T`` for changes J of the model and, where it is free, by the offset."""
        count, free = len(moves), self.units is not None
        found = bend.new_empty(count + free, count + free, bend.shape[1])
        for row in range(count):
            weighted = moves[row] * bend
            found[row, row:count] = found[row:count, row] = (weighted * moves[row:]).sum(1)
            if free:
                found[row, -1] = found[-1, row] = weighted.sum(0) * self._constant
        if free:
            found[-1, -1] = bend.sum(0) * self._constant**2
        return found
