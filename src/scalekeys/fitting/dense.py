"""Scalar products from whole templates, for families that are no outer products and for weighted errors."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scalekeys.fitting.products import FoldedTargets, Products

_DERIVATIVES = 6


@dataclass(frozen=True, eq=False)
class WholeTargets:
    """Filters as they are, each with the matrix that weights its errors.

    Parameters
    ----------
    taps : Tensor, shape (n, taps)
    metric : Tensor, shape (n, taps, taps), optional
        S of the error ``e^T S e``; the sum of squares without it.
    """

    taps: Tensor
    metric: Tensor | None = None

    def select(self, index: Tensor) -> "WholeTargets":
        """Return some of the filters."""
        return WholeTargets(self.taps[index], None if self.metric is None else self.metric[index])


class Dense:
    """The scalar products of a family, ``<a, b> = a^T S b``, with or without a metric S for each filter.

    Parameters
    ----------
    plan : callable
        ``(parameters, order) -> templates``, see :meth:`scalekeys.fitting.grids.FamilyGrid.plan`.
    size : (int, int)
    """

    def __init__(self, plan: Callable[..., Tensor], size: tuple[int, int]) -> None:
        self._plan, self._size = plan, size

    def fold(self, targets: Tensor, metric: Tensor | None = None) -> WholeTargets:
        """Join filters of shape (n, taps) with their metrics."""
        return WholeTargets(targets, metric)

    def products(self, folded: FoldedTargets, parameters: Tensor, *, centred: bool) -> Products:
        """Return the products at parameters of shape (2, n).

        Centred means, with a metric: orthogonal to constants in its sense.
        """
        assert isinstance(folded, WholeTargets)
        templates = self._plan(parameters.T, order=2).flatten(3)  # (n, 6, components, taps)
        if centred:
            templates = orthogonal_to_constants(templates.flatten(1, 2), folded.metric).view_as(templates)
        rows = templates.flatten(1, 2)
        weighted = rows if folded.metric is None else rows @ folded.metric
        with_filters = (weighted @ folded.taps[..., None])[..., 0].unflatten(1, (_DERIVATIVES, -1))
        components = templates.shape[2]
        gram = (weighted @ rows.mT).reshape(-1, _DERIVATIVES, components, _DERIVATIVES, components).movedim(0, -1)
        pairs = [(a, b) for a in range(components) for b in range(a, components)]
        return Products(
            [with_filters[:, :, component].T.contiguous() for component in range(components)],
            {(a, b): _derivatives(gram[:, a, :, b]) for a, b in pairs},
        )

    def mixed(self, parameters: Tensor, weights: Tensor) -> Tensor:
        """Return mixtures of the components, shape (n, taps), with weights of shape (components, n)."""
        templates = self._plan(parameters.T)[:, 0].flatten(2)
        return (templates * weights.T[..., None]).sum(1)


def orthogonal_to_constants(rows: Tensor, metric: Tensor | None) -> Tensor:
    """Return rows (n, rows, taps) less the constants that make them orthogonal to constants."""
    if metric is None:
        return rows - rows.mean(-1, keepdim=True)
    ones = metric.sum(-1)  # S 1
    return rows - (rows @ ones[..., None]) / ones.sum(-1)[:, None, None]


def _derivatives(products: Tensor) -> Tensor:
    """Return the derivatives of ``<a, b>``, given the products of all derivatives: from (6, 6, n) to (6, n)."""
    p = products
    return torch.stack(
        [
            p[0, 0],
            p[1, 0] + p[0, 1],
            p[2, 0] + p[0, 2],
            p[3, 0] + 2 * p[1, 1] + p[0, 3],
            p[4, 0] + p[1, 2] + p[2, 1] + p[0, 4],
            p[5, 0] + 2 * p[2, 2] + p[0, 5],
        ]
    )
