"""Scalar products of filters with templates, and of templates: all that least squares asks for."""

from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Products:
    """Scalar products at given parameters, as tables with derivatives in the search coordinates.

    `filters`: shape (entries, n); of the filters with each component; see :mod:`scalekeys.scalespace.second_order`.
    `gram`: shape (entries, n); of components with each other; a pair that is orthogonal by symmetry is missing.
    """

    filters: list[Tensor]
    gram: dict[tuple[int, int], Tensor]
    parameters: int


class FoldedTargets(Protocol):
    """Filters in the form in which their products are taken."""

    def select(self, index: Tensor) -> Self:
        """Return some of the filters, by ascending number."""
        ...


class ScalarProducts(Protocol):
    """The scalar products of filters with templates, and of templates.

    Templates are known up to a factor that depends on the scale, which a free amplitude takes up.
    """

    def products(self, folded: FoldedTargets, coordinates: Tensor, *, centred: bool) -> Products:
        """Return the products at search coordinates of shape (parameters, n); of centred components, if `centred`."""
        ...


class FamilyProducts(ScalarProducts, Protocol):
    """The scalar products of one family on a window."""

    def fold(self, targets: Tensor) -> FoldedTargets:
        """Make filters of shape (n, taps) ready."""
        ...

    def mixed(self, coordinates: Tensor, weights: Tensor) -> Tensor:
        """Return centred mixtures of the components, shape (n, taps), with weights of shape (components, n)."""
        ...

    def factors(self, coordinates: Tensor) -> Tensor:
        """Return what components are multiplied by to become those of the family, shape (components, n)."""
        ...
