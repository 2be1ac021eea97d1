"""The profiles of operators along the axes of a window, as linear functions of numbers that depend on a scale alone.

The numbers are called *atoms*. For the discrete analogue of the Gaussian, and for the hybrid discretizations, they are
the taps of a kernel, and an operator is a stencil on them. For derivatives of the continuous Gaussian, sampled or
integrated, each atom is a derivative at a place, and an operator selects them.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.scalespace.differences import DIFFERENCES, IDENTITY, Difference, Window, difference_rows
from scalekeys.scalespace.discretizations import Discretization
from scalekeys.scalespace.families import IMPULSE, ORDERS
from scalekeys.scalespace.gaussian import TERMS, expansion
from scalekeys.scalespace.gaussian_derivatives import derivative_at, is_direct, smoothing_kernel

Atom = tuple[int, float]
"""Order of differentiation, and a place of at least 0; every atom is even or odd in its place, as its order is."""


class Profiles:
    """The profiles of some operators along each axis of a window.

    It holds plain numbers and no tensors, so that it serves every device and every trace.

    `operators`: names along each axis, in the order (x, y, z).
    `sides`: taps along each axis.
    `first`: the number of the first of these axes; along y, number 1, taps run from the largest coordinate to the
    smallest.
    `folded`: whether the atoms of a kernel are its taps at 0 and above alone, since it is even.
    `rows`: of shape (taps, atoms + 1); what the atoms, and a constant 1 after them, are multiplied by. The unit impulse
    does not depend on the scale, and has its numbers in the last column. Of a kernel that is not folded, the rows take
    the taps in the middle that their axis needs, see :meth:`along`.
    """

    def __init__(
        self,
        operators: Sequence[Sequence[str]],
        sides: Sequence[int],
        window: Window,
        discretization: Discretization = "discrete",
        first: int = 0,
        *,
        folded: bool = False,
    ) -> None:
        if window != "exact" and discretization != "discrete":
            raise ModelError(
                f"window {window!r} is that of the discrete analogue of the Gaussian; "
                f"use window='exact' with discretization={discretization!r}"
            )
        self.discretization: Discretization = discretization
        self._direct, self._folded = is_direct(discretization), folded
        axes = list(zip(operators, sides, strict=True))
        if self._direct:
            needed = {atom for names, side in axes for name in names for atom, _ in _taps(name, side) if atom}
            self.atoms = sorted(needed) or [(0, 0.0)]
        else:
            radii = [side // 2 + max(_operator(name).margin(side) for name in names) for names, side in axes]
            self._radius = max(radii)
            self.atoms = [(0, float(abs(n))) for n in range(0 if folded else -self._radius, self._radius + 1)]
        if self._direct:
            self.rows = [[self._atoms_of(name, side) for name in names] for names, side in axes]
        else:
            self.rows = [
                [self._stencils(name, side, window, self._radius if folded else radius) for name in names]
                for (names, side), radius in zip(axes, radii, strict=True)
            ]
        self.rows = [[r[::-1] for r in own] if first + n == 1 else own for n, own in enumerate(self.rows)]

    def values(self, t: Tensor, max_variance: float | None = None) -> Tensor:
        """Return the atoms at variances of shape (...): shape (..., atoms)."""
        if not self._direct:
            kernel = smoothing_kernel(t, self._radius, self.discretization, max_variance=max_variance)
            return kernel[..., self._radius :] if self._folded else kernel
        orders, places = self._by_order()
        parts = [
            derivative_at(t, order, torch.tensor(own, dtype=t.dtype, device=t.device), self.discretization)
            for order, own in zip(orders, places, strict=True)
        ]
        return torch.cat(parts, dim=-1)

    def along(self, axis: int, atoms: Tensor) -> Tensor:
        """Return the atoms that the rows of an axis are multiplied with, of shape (..., atoms)."""
        excess = (atoms.shape[-1] - len(self.rows[axis][0][0]) + 1) // 2
        return atoms[..., excess : atoms.shape[-1] - excess]

    def expansion(self) -> Tensor:
        """Return the first terms of ``sqrt(2 pi t)`` times the atoms in powers of 1 / t: shape (terms, atoms).

        In float64. For the discrete analogue of the Gaussian see :mod:`scalekeys.scalespace.limits`.
        """
        if self.discretization == "discrete":
            terms = expansion(self._radius)
            return terms[:, self._radius :] if self._folded else terms
        pixel = 1 if self.discretization in ("integrated", "hybrid-integrated") else 0
        rows = [[_power(order, place, k, pixel) for order, place in self.atoms] for k in range(TERMS)]
        return torch.tensor(rows, dtype=torch.float64)

    def _by_order(self) -> tuple[list[int], list[list[float]]]:
        orders = sorted({order for order, _ in self.atoms})
        return orders, [[place for own, place in self.atoms if own == order] for order in orders]

    def _atoms_of(self, name: str, side: int) -> list[list[float]]:
        """Return the rows of an operator that says which atom a tap is."""
        if name == IMPULSE:
            return self._stencils(name, side, "exact", side // 2 + _operator(name).margin(side))
        rows = [[0.0] * (len(self.atoms) + 1) for _ in range(side)]
        for row, (atom, sign) in zip(rows, _taps(name, side), strict=True):
            if atom:
                row[self.atoms.index(atom)] = sign
        return rows

    def _stencils(self, name: str, side: int, window: Window, radius: int) -> list[list[float]]:
        """Return the rows of an operator on the taps of a kernel up to a radius."""
        whole = difference_rows(_operator(name), side, radius - side // 2, window)
        columns = len(self.atoms) if self._direct or self._folded else 2 * radius + 1
        rows = [[0.0] * (columns + 1) for _ in range(side)]
        for row, own in zip(rows, whole, strict=True):
            if name == IMPULSE:
                row[-1] = own[radius]
                continue
            for column, weight in enumerate(own):
                row[abs(column - radius) if self._folded else column] += weight
        return rows


def _operator(name: str) -> Difference:
    return IDENTITY if name == IMPULSE else DIFFERENCES[name]


def _taps(name: str, side: int) -> list[tuple[Atom | None, float]]:
    """Return the atom that each tap of a derivative of the continuous Gaussian is, with its sign; None where it is 0.

    A one-sided difference stands for the derivative half a pixel beside a tap.
    """
    if name == IMPULSE:
        return []
    order, shift = ORDERS[name], {"forward": 0.5, "backward": -0.5}.get(name, 0.0)
    places = [index - (side - 1) / 2 + shift for index in range(side)]
    odd = order % 2 == 1
    return [
        (None, 0.0) if odd and place == 0 else ((order, abs(place)), -1.0 if odd and place < 0 else 1.0)
        for place in places
    ]


def _power(order: int, place: float, k: int, pixel: int) -> float:
    """Coefficient of ``t^-k`` in a derivative of ``exp(-x^2 / 2 t)`` at a place, or its integral over a pixel."""
    power = 2 * k - order + pixel
    if power < 0 or 2 * k < order:
        return 0.0
    factor = (-0.5) ** k / math.factorial(k) * math.factorial(2 * k) / math.factorial(power)
    if not pixel:
        return float(factor * place**power)
    return float(factor * ((place + 0.5) ** power - (place - 0.5) ** power))
