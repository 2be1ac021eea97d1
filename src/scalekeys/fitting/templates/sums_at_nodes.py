"""Sums of absolute differences at the nodes of a grid, in single precision."""

import torch
from torch import Tensor

_ROWS = 64  # filters at once, whose sums stay in a cache
_PAIRS = 2_048
_BYTES = 2**24  # of the largest array
_STEPS = 3
_SMALLEST_RESIDUAL = 2e-3


def sums_at_nodes(filters: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the projections on each of many atoms leave, in sums of absolute values.

    `filters`: shape (filters, taps); centred.
    `atoms`: shape (taps, nodes); of unit norm, centred.
    `sums`, `projections`: shape (filters, nodes).
    """
    projections = filters @ atoms
    sums = torch.zeros_like(projections)
    product = torch.empty_like(projections[:_ROWS])
    for some, lengths, total in zip(filters.split(_ROWS), projections.split(_ROWS), sums.split(_ROWS), strict=True):
        out = product[: len(some)]
        for tap in range(len(atoms)):
            torch.addcmul(some[:, tap, None], lengths, atoms[tap], value=-1, out=out)
            total += out.abs_()
    return sums, projections


def sums_of_mixtures(filters: Tensor, atoms: Tensor, components: int) -> Tensor:
    """Return what the projections on the components of each node leave, in sums of absolute values: (filters, nodes).

    `filters`: shape (filters, taps); centred.
    `atoms`: shape (taps, components * nodes); orthonormal components, component by component.
    """
    by_node = atoms.unflatten(1, (components, -1)).permute(2, 0, 1)  # (nodes, taps, components)
    values = [filters.new_empty(0, len(by_node))]
    for part in filters.split(max(1, _BYTES // (4 * by_node[..., 0].numel()))):
        products = (part @ atoms).unflatten(1, (components, -1)).mT
        values.append((part[:, None] - (by_node @ products[..., None])[..., 0]).abs().sum(-1))
    return torch.cat(values)


def reweighted_sums(filters: Tensor, atoms: Tensor, row: Tensor, node: Tensor) -> Tensor:
    """Return the least sums on the way of reweighted least squares in amplitude and offset: shape (pairs,).

    `filters`: shape (taps, filters); centred.
    `atoms`: shape (taps, nodes); of unit norm, centred.
    `row`, `node`: shape (pairs,); which filter, and which atom.
    """
    parts = [
        _reweighted(filters[:, i], atoms[:, k]) for i, k in zip(row.split(_PAIRS), node.split(_PAIRS), strict=True)
    ]
    return torch.cat([filters.new_empty(0), *parts])


def _reweighted(target: Tensor, atom: Tensor) -> Tensor:
    residual = torch.addcmul(target, atom, (target * atom).sum(0), value=-1)
    size = residual.abs()
    best = size.sum(0)
    for _ in range(_STEPS):
        weights = size.clamp_(min=_SMALLEST_RESIDUAL).reciprocal_()
        weighted = weights * atom
        total, first, second = weights.sum(0), weighted.sum(0), (weighted * atom).sum(0)
        right, along = (weights * residual).sum(0), (weighted * residual).sum(0)
        determinant = (total * second - first * first).clamp_(min=torch.finfo(total.dtype).tiny)
        residual.addcmul_(atom, (total * along - first * right) / determinant, value=-1)
        residual.sub_((second * right - first * along) / determinant)
        size = residual.abs()
        best = torch.minimum(best, size.sum(0))
    return best
