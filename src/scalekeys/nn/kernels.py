"""Kernels of all channels of a layer as functions of scales and coefficients."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.networks.constrained.fitted_filters import FittedFilters
from scalekeys.networks.constrained.learned_scales import Scales
from scalekeys.networks.constrained.parameter_layout import ParameterLayout, Tie, layout_of
from scalekeys.networks.constrained.separable_kernels import SeparableKernels, kept, placed, tables_of
from scalekeys.shapes import Size


class Units(NamedTuple):
    """Pairs of terms that one coefficient multiplies; a sum over them is the squared norm of what it multiplies.

    Parameters
    ----------
    first, second : Tensor of int64, shape (pairs,)
        Two terms, or the same one twice; two that differ stand here once.
    coefficient : Tensor of int64, shape (pairs,)
    weight : Tensor, shape (pairs,)
        The product of the weights of both terms, twice that where they differ.
    """

    first: Int[Tensor, "pairs"]
    second: Int[Tensor, "pairs"]
    coefficient: Int[Tensor, "pairs"]
    weight: Float[Tensor, "pairs"]


class ScaleSpaceKernels(SeparableKernels):
    r"""The depthwise weight of a layer: sums :math:`\sum_k c_k K_k / |K_k|` of components at the scales of a channel.

    The l2 norm is taken over the window, so that a scale changes the form of a kernel and not its strength. A kernel
    has one coefficient, or one for each derivative of a jet, and for the impulse and the Laplacian of `sharpen`.

    Parameters
    ----------
    filters : FittedFilters
        What the channels start as, but for their norms.
    tie : {"none", "filter", "layer"}
        Which scales are one parameter.
    learn_sigma : bool
        Whether scales take gradients.
    device : torch.device

    Attributes
    ----------
    coefficients : Parameter, shape (coefficients,)
        Each kernel starts with l2 norm 1.
    scales : Scales
        With a parameter `theta` for each scale, and a parameter `gap` for each channel of the family `dog`.
    owner : Tensor of int64, shape (coefficients,)
        The channel of each coefficient.

    Notes
    -----
    Parameters and kernels are in float64, also under autocast, see
    :class:`~scalekeys.networks.constrained.scale_space_kernel.ScaleSpaceKernel`.
    """

    def __init__(self, filters: FittedFilters, tie: Tie, device: torch.device, *, learn_sigma: bool) -> None:
        layout = _with_shared_coefficients(filters, layout_of(filters, torch.arange(len(filters)), tie))
        scales = Scales(layout.variances, layout.gaps, "log", learned=learn_sigma)
        super().__init__(layout, len(filters), scales, layout.coefficients, device, learned=True)
        self._layout, self._units = layout, kept(_units(layout), device)
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """Turn coefficients of components into those of components of norm 1, and give each kernel the norm 1."""
        self.coefficients.mul_(self._norms(*self._profiles()))
        strength = torch.linalg.vector_norm(self().flatten(1), dim=1)
        self.coefficients.div_(strength[self._layout.owner.to(strength.device)])

    def forward(self) -> Float[Tensor, "channels 1 *sides"]:
        """Return the kernels."""
        left, x = self.exact_factors()
        return torch.bmm(left, x).view(len(left), 1, *self.size)

    def exact_factors(
        self,
    ) -> tuple[Float[Tensor, "channels other_taps products"], Float[Tensor, "channels products cols"]]:
        """Return two matrices for each channel, of which its kernel is the product, whatever autocast says."""
        exact = self.coefficients.dtype == torch.float64  # which autocast leaves alone
        with nullcontext() if exact else torch.autocast(self.coefficients.device.type, enabled=False):
            return self.factors()

    def resize(self, size: Size) -> None:
        """Let kernels have other sides; parameters stay as they are."""
        self.size, self._layout = size, replace(self._layout, size=size)
        self._tables = kept(tables_of(self._layout, len(self._layout.rows)), self.coefficients.device)

    def product_counts(self) -> Int[Tensor, "channels"]:
        """Return how many outer products the kernel of each channel is a sum of."""
        products = self._tables.product.unique()
        channels = len(self._layout.rows)
        return torch.bincount(products // (self._tables.products // channels), minlength=channels)

    def variances(self) -> Float[Tensor, "kernels axes"]:
        """Return the present variances (x, y, z) of all channels, and after these the larger ones of `dog`."""
        with torch.no_grad():
            return self._variances().clamp(min=0.0).T

    def _strengths(
        self, others: tuple[Float[Tensor, "terms taps"], ...], x: Float[Tensor, "products taps"]
    ) -> Float[Tensor, "terms"]:
        tables = self._here()
        return (self.coefficients / self._norms(others, x)).index_select(0, tables.coefficient) * tables.weight

    def _norms(
        self, others: tuple[Float[Tensor, "terms taps"], ...], x: Float[Tensor, "products taps"]
    ) -> Float[Tensor, "coefficients"]:
        """Return the l2 norm of what each coefficient multiplies: of a sum of outer products by products of sums."""
        units, products = placed(self._units, x.device), x
        inner = units.weight
        for profile in (*others, products.index_select(0, self._here().product)):
            inner = inner * (profile.index_select(0, units.first) * profile.index_select(0, units.second)).sum(1)
        return torch.zeros_like(self.coefficients).index_add(0, units.coefficient, inner).sqrt()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ScaleSpaceKernels":
        super()._apply(fn, recurse)
        self._units = kept(self._units, self.coefficients.device)
        return self

    def extra_repr(self) -> str:
        """Say how many kernels there are, and of how many scales."""
        size = "x".join(map(str, self.size))
        return f"{len(self._layout.rows)} kernels, {size}, {len(self.coefficients)} coefficients"


def _with_shared_coefficients(filters: FittedFilters, layout: ParameterLayout) -> ParameterLayout:
    """Let both smoothings of `dog` have one coefficient; the other components keep one each.

    What multiplies the smoothings becomes a part of the weights of their terms.
    """
    shared = torch.tensor([form.has_gap for form in filters.forms])[filters.form][layout.owner]
    count = len(shared)
    labels = torch.where(shared, layout.owner, len(filters) + torch.arange(count))
    known, index = labels.unique(return_inverse=True)
    own = layout.terms.coefficient
    weight = layout.terms.weight * torch.where(shared, layout.coefficients, 1.0)[own]
    owner = torch.zeros_like(known).index_copy(0, index, layout.owner)
    coefficients = layout.coefficients.new_ones(len(known)).index_copy(
        0, index, torch.where(shared, 1.0, layout.coefficients)
    )
    terms = replace(layout.terms, coefficient=index[own], weight=weight)
    return replace(layout, terms=terms, coefficients=coefficients, owner=owner)


def _units(layout: ParameterLayout) -> Units:
    """Find the pairs of terms with the same coefficient."""
    coefficient, weight = layout.terms.coefficient, layout.terms.weight
    order = coefficient.argsort(stable=True)
    most = int(torch.bincount(coefficient).max())
    firsts, seconds = [], []
    for step in range(most):
        first, second = order[: len(order) - step], order[step:]
        same = coefficient[first] == coefficient[second]
        firsts.append(first[same])
        seconds.append(second[same])
    first, second = torch.cat(firsts), torch.cat(seconds)
    twice = torch.where(first == second, 1.0, 2.0)
    return Units(first, second, coefficient[first], twice * weight[first] * weight[second])
