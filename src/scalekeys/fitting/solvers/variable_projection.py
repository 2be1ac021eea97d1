"""Least squares with free coefficients (variable projection), from scalar products, block by block.

Components that are orthogonal by symmetry fall into blocks, whose projections add. Filters are the last axis.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scalekeys.fitting.solvers.small_linear import Factors
from scalekeys.fitting.templates.products import FoldedTargets, Products, ScalarProducts
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
    """Return minus the squared projection on the components, (n,), its gradient, (p, n), and its Hessian, (p, p, n).

    With the products g of a filter with the components and Q of the components with each other, the best coefficients
    are ``w = Q^-1 g`` and the squared projection is ``g w``. From ``z_i = dg_i - dQ_i w`` follow (Golub and Pereyra,
    1973) the gradient ``-2 dg_i w + w dQ_i w`` and the Hessian
    ``-2 ddg_ij w + w ddQ_ij w - 2 z_i Q^-1 z_j`` of its negative.
    """
    parts = [_block(products, block) for block in blocks_of(products.gram)]
    table = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
    return split(table, products.parameters)


@dataclass(frozen=True, eq=False)
class Projected:
    """Minus the share of energy that free coefficients and offset explain; filters of mean zero and norm 1."""

    family: ScalarProducts
    folded: FoldedTargets
    """The filters."""

    def __call__(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return value, gradient and Hessian."""
        return projection(self.family.products(self.folded, parameters, centred=True))

    def select(self, index: Tensor) -> "Projected":
        """Return the objective of some of the filters."""
        return replace(self, folded=self.folded.select(index))


def explained(products: Products) -> Tensor:
    """Return the squared projection on the components, shape (n,); only values are needed, no derivatives."""
    weights = weights_of(products)
    return torch.stack([filters[0] * weight for filters, weight in zip(products.filters, weights, strict=True)]).sum(0)


def weights_of(products: Products) -> Tensor:
    """Return the coefficients of least squares, shape (components, n)."""
    weights = [torch.zeros_like(filters[0]) for filters in products.filters]
    for block in blocks_of(products.gram):
        solved = _factors(products, block).solve([products.filters[c][0] for c in block])
        for component, weight in zip(block, solved, strict=True):
            weights[component] = weight
    return torch.stack(weights)


def _block(products: Products, block: list[int]) -> Tensor:
    """Table of minus the squared projection on one block."""
    count = products.parameters
    filters = [products.filters[component] for component in block]
    factors = _factors(products, block)
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


def _factors(products: Products, block: list[int]) -> Factors:
    """Factorize the products of the components of one block."""
    return Factors(lambda row, column: _entry(products, block[row], block[column])[0], len(block), _PIVOT)


def _entry(products: Products, row: int, column: int) -> Tensor:
    return products.gram[min(row, column), max(row, column)]


def _dot(tables: list[Tensor], weights: list[Tensor], rows: slice = slice(None)) -> Tensor:
    total = tables[0][rows] * weights[0]
    for table, weight in zip(tables[1:], weights[1:], strict=True):
        total = torch.addcmul(total, table[rows], weight)
    return total


def _dot_scaled(first: list[Tensor], second: list[Tensor], factors: Factors) -> Tensor:
    """Return ``a D^-1 b``."""
    total = first[0] * second[0] / factors.pivots[0]
    for a, b, pivot in zip(first[1:], second[1:], factors.pivots[1:], strict=True):
        total = total + a * b / pivot
    return total
