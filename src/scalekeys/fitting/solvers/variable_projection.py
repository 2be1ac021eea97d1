"""Least squares with free coefficients (variable projection), from scalar products, block by block.

Components that are orthogonal by symmetry fall into blocks, whose projections add. Filters are the last axis.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from scalekeys.fitting.templates.products import Products
from scalekeys.scalespace.second_order import pairs, split

_PIVOT = 1e-13


def blocks_of(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the connected groups of components, given the pairs that are not orthogonal.

    >>> blocks_of([(0, 0), (0, 3), (1, 1), (2, 2), (3, 3)])
    [[0, 3], [1], [2]]
    """
    blocks: list[set[int]] = []
    for pair in pairs:
        joined = [block for block in blocks if block & set(pair)]
        blocks = [block for block in blocks if block not in joined] + [set(pair).union(*joined)]
    return sorted(sorted(block) for block in blocks)


def projection(products: Products) -> tuple[Tensor, Tensor, Tensor]:
    """Return minus the squared projection on the components, with derivatives in the search coordinates.

    `value`: shape (n,).
    `gradient`: shape (parameters, n).
    `hessian`: shape (parameters, parameters, n).

    With the products g of a filter with the components and Q of the components with each other, the best coefficients
    are ``w = Q^-1 g`` and the squared projection is ``g w``. From ``z_i = dg_i - dQ_i w`` follow (Golub and Pereyra,
    1973) the gradient ``-2 dg_i w + w dQ_i w`` and the Hessian
    ``-2 ddg_ij w + w ddQ_ij w - 2 z_i Q^-1 z_j`` of its negative.
    """
    parts = [_block(products, block) for block in blocks_of(products.gram)]
    table = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
    return split(table, products.parameters)


def explained(products: Products) -> Tensor:
    """Return the squared projection on the components, shape (n,); only values are needed, no derivatives."""
    weights = weights_of(products)
    return torch.stack([filters[0] * weight for filters, weight in zip(products.filters, weights, strict=True)]).sum(0)


def weights_of(products: Products) -> Tensor:
    """Return the coefficients of least squares, shape (components, n)."""
    weights = [torch.zeros_like(filters[0]) for filters in products.filters]
    for block in blocks_of(products.gram):
        solved = _Factors(products, block).solve([products.filters[c][0] for c in block])
        for component, weight in zip(block, solved, strict=True):
            weights[component] = weight
    return torch.stack(weights)


def _block(products: Products, block: list[int]) -> Tensor:
    """Table of minus the squared projection on one block."""
    count = products.parameters
    filters = [products.filters[component] for component in block]
    factors = _Factors(products, block)
    weights = factors.solve([table[0] for table in filters])
    along = _dot(filters, weights)  # of all derivatives
    bent = [
        _dot([_entry(products, row, column) for column in block], weights, rows=slice(1, None)) for row in block
    ]  # dQ w, for each row
    change = _dot(bent, weights) - 2 * along[1:]
    rests = [
        table[1 : count + 1] - moved[:count] for table, moved in zip(filters, bent, strict=True)
    ]  # z, for each row
    halves = [factors.half_solved([rest[i] for rest in rests]) for i in range(count)]
    crossed = torch.stack([_dot_scaled(halves[i], halves[j], factors) for i, j in pairs(count)])
    return torch.cat([-along[:1], change[:count], change[count:] - 2 * crossed])


class _Factors:
    """``Q = L D L^T`` of one block; pivots eaten by rounding are held up, so that dependent components do no harm."""

    def __init__(self, products: Products, block: list[int]) -> None:
        self._lower: dict[tuple[int, int], Tensor] = {}
        self.pivots: list[Tensor] = []
        for i, row in enumerate(block):
            pivot = _entry(products, row, row)[0]
            floor = _PIVOT * pivot + torch.finfo(pivot.dtype).tiny
            for j in range(i):
                entry = _entry(products, row, block[j])[0]
                for k in range(j):
                    entry = entry - self._lower[i, k] * self._lower[j, k] * self.pivots[k]
                self._lower[i, j] = entry / self.pivots[j]
                pivot = pivot - self._lower[i, j] * entry
            self.pivots.append(torch.maximum(pivot, floor))

    def half_solved(self, right: list[Tensor]) -> list[Tensor]:
        """Return ``L^-1 b``."""
        out: list[Tensor] = []
        for i, value in enumerate(right):
            for j in range(i):
                value = value - self._lower[i, j] * out[j]
            out.append(value)
        return out

    def solve(self, right: list[Tensor]) -> list[Tensor]:
        """Return ``Q^-1 b``."""
        out = [value / pivot for value, pivot in zip(self.half_solved(right), self.pivots, strict=True)]
        for i in reversed(range(len(out))):
            for j in range(i + 1, len(out)):
                out[i] = out[i] - self._lower[j, i] * out[j]
        return out


def _entry(products: Products, row: int, column: int) -> Tensor:
    return products.gram[min(row, column), max(row, column)]


def _dot(tables: list[Tensor], weights: list[Tensor], rows: slice = slice(None)) -> Tensor:
    total = tables[0][rows] * weights[0]
    for table, weight in zip(tables[1:], weights[1:], strict=True):
        total = torch.addcmul(total, table[rows], weight)
    return total


def _dot_scaled(first: list[Tensor], second: list[Tensor], factors: _Factors) -> Tensor:
    """Return ``a D^-1 b``."""
    total = first[0] * second[0] / factors.pivots[0]
    for a, b, pivot in zip(first[1:], second[1:], factors.pivots[1:], strict=True):
        total = total + a * b / pivot
    return total
