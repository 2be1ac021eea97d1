"""Scalar products of filters with templates, and of templates: all that least squares asks for."""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Products:
    """Scalar products at given parameters, with derivatives [value, 1, 2, 11, 12, 22] in the two parameters.

    Parameters
    ----------
    filters : list of Tensor, shape (6, n)
        Of the filters with each component.
    gram : dict of (int, int) to Tensor, shape (6, n)
        Of components with each other; a pair that is orthogonal by symmetry is missing.
    """

    filters: list[Tensor]
    gram: dict[tuple[int, int], Tensor]


class FoldedTargets(Protocol):
    """Filters in the form in which their products are taken."""

    def select(self, index: Tensor) -> Self:
        """Return some of the filters."""
        ...


class ScalarProducts(Protocol):
    """The scalar products of filters with templates, and of templates."""

    def products(self, folded: FoldedTargets, parameters: Tensor, *, centred: bool) -> Products:
        """Return the products at parameters of shape (2, n); of components less their means, if `centred`."""
        ...


class FamilyProducts(ScalarProducts, Protocol):
    """The scalar products of one family on a window."""

    def fold(self, targets: Tensor) -> FoldedTargets:
        """Make filters of shape (n, taps) ready."""
        ...

    def mixed(self, parameters: Tensor, weights: Tensor) -> Tensor:
        """Return mixtures of the components, shape (n, taps), with weights of shape (components, n)."""
        ...


def leibniz(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of two functions of both parameters, each given with derivatives: shape (6, n)."""
    return torch.stack(
        [
            a[0] * b[0],
            a[1] * b[0] + a[0] * b[1],
            a[2] * b[0] + a[0] * b[2],
            a[3] * b[0] + 2 * a[1] * b[1] + a[0] * b[3],
            a[4] * b[0] + a[1] * b[2] + a[2] * b[1] + a[0] * b[4],
            a[5] * b[0] + 2 * a[2] * b[2] + a[0] * b[5],
        ]
    )
