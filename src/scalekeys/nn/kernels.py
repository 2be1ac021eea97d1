"""Kernels of all channels of a layer as functions of scales and coefficients."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.networks.constrained.fitted_filters import FittedFilters
from scalekeys.networks.constrained.learned_scales import Scales
from scalekeys.networks.constrained.parameter_layout import ParameterLayout, Tie, layout_of
from scalekeys.networks.constrained.separable_kernels import SeparableKernels, kept, placed
from scalekeys.networks.constrained.separable_sums import fields_of, slots_of, sums_without_x, tables_of
from scalekeys.shapes import Size, size_text


class Units(NamedTuple):
    """Pairs of terms that one coefficient multiplies; a sum over them is the squared norm of what it multiplies.

    `first`, `second`: shape (axes * pairs,); the profiles of two terms along x, then along y, and so on, as numbers of
    an axis, a slot and a kernel; or the same term twice. Two terms that differ stand here once.
    `coefficient`: shape (pairs,).
    `weight`: shape (pairs,); the product of the weights of both terms, twice that where they differ.
    """

    first: Int[Tensor, "profiles"]
    second: Int[Tensor, "profiles"]
    coefficient: Int[Tensor, "pairs"]
    weight: Float[Tensor, "pairs"]


class Products(NamedTuple):
    """The outer products that a kernel is the sum of: of a profile along x with a sum along the other axes.

    `profile`: shape (products, channels); the profile of each along x, as the number of a slot and a kernel; any where
    there are fewer.
    `counts`: shape (channels,); how many each channel has.
    """

    profile: Int[Tensor, "products channels"]
    counts: Int[Tensor, "channels"]


class ScaleSpaceKernels(SeparableKernels):
    r"""The depthwise weight of a layer: sums :math:`\sum_k c_k K_k / |K_k|` of components at the scales of a channel.

    The l2 norm is taken over the window, so that a scale changes the form of a kernel and not its strength. A kernel
    has one coefficient, or one for each derivative of a jet, and for the impulse and the Laplacian of `sharpen`.

    `filters`: what the channels start as, but for their norms.
    `tie`: which scales are one parameter.
    `learn_sigma`: whether scales take gradients.
    `coefficients`: shape (coefficients,); each kernel starts with l2 norm 1.
    `scales`: with a parameter `theta` for each scale, and a parameter `gap` for each channel of the family `dog`.
    `owner`: shape (coefficients,); the channel of each coefficient.

    Parameters and kernels are in float64, also under autocast; see
    :class:`~scalekeys.networks.constrained.scale_space_kernel.ScaleSpaceKernel`.
    """

    def __init__(self, filters: FittedFilters, tie: Tie, device: torch.device, *, learn_sigma: bool) -> None:
        layout = _with_shared_coefficients(filters, layout_of(filters, torch.arange(len(filters)), tie))
        scales = Scales(layout.variances, layout.gaps, "log", learned=learn_sigma)
        super().__init__(layout, len(filters), scales, layout.coefficients, device, learned=True)
        self._layout = layout
        self._units, self._products = kept(_units(layout), device), kept(_products(layout), device)
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """Turn coefficients of components into those of components of norm 1, and give each kernel the norm 1."""
        self.coefficients.mul_(self._norms(self.along()))
        strength = torch.linalg.vector_norm(self().flatten(1), dim=1)
        self.coefficients.div_(strength[self._layout.owner.to(strength.device)])

    def forward(self) -> Float[Tensor, "channels 1 *sides"]:
        """Return the kernels."""
        with self._exactly():
            along = self.along()
            fields = fields_of(self.here(), self.size, along, self._strengths(along))
            return fields.movedim(-1, 0).contiguous()[:, None]

    def exact_factors(
        self,
    ) -> tuple[Float[Tensor, "products channels other_taps"], Float[Tensor, "products channels cols"]]:
        """Return the outer products that kernels are sums of, whatever autocast says.

        The first has what each profile along x, in the second, is multiplied by along the other axes, whose taps are in
        the order of the array. What is beyond the products of a channel is to be left out.
        """
        with self._exactly():
            along, products = self.along(), placed(self._products, self.coefficients.device).profile
            sums = sums_without_x(self.here(), self.size, along, self._strengths(along)).flatten(1, -2)
            both = sums, along[0, :, : self.size[-1]]
            left, row = (_rows(part).index_select(0, products.view(-1)) for part in both)
            return left.view(*products.shape, -1), row.view(*products.shape, -1)

    def _exactly(self) -> AbstractContextManager[Any]:
        if self.coefficients.dtype == torch.float64:  # which autocast leaves alone
            return nullcontext()
        return torch.autocast(self.coefficients.device.type, enabled=False)

    def resize(self, size: Size) -> None:
        """Let kernels have other sides; parameters stay as they are."""
        self.size, self._layout = size, replace(self._layout, size=size)
        self._tables = kept(tables_of(self._layout, len(self._layout.rows)), self.coefficients.device)

    def product_counts(self) -> Int[Tensor, "channels"]:
        """Return how many outer products the kernel of each channel is a sum of."""
        return self._products.counts

    def variances(self) -> Float[Tensor, "kernels axes"]:
        """Return the present variances (x, y, z) of all channels, and after these the larger ones of `dog`."""
        with torch.no_grad():
            return self.kernel_variances().clamp(min=0.0).T

    def _strengths(self, along: Float[Tensor, "axes slots taps kernels"]) -> Float[Tensor, "coefficients"]:
        return self.coefficients / self._norms(along)

    def _norms(self, along: Float[Tensor, "axes slots taps kernels"]) -> Float[Tensor, "coefficients"]:
        """Return the l2 norm of what each coefficient multiplies: of a sum of outer products by products of sums."""
        units = placed(self._units, along.device)
        profiles = _rows(along)
        pairs = profiles.index_select(0, units.first) * profiles.index_select(0, units.second)
        inner = units.weight
        for axis in pairs.sum(1).view(len(self.size), -1).unbind():
            inner = inner * axis
        return torch.zeros_like(self.coefficients).index_add(0, units.coefficient, inner).sqrt()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ScaleSpaceKernels":
        super()._apply(fn, recurse)
        device = self.coefficients.device
        self._units, self._products = kept(self._units, device), kept(self._products, device)
        return self

    def extra_repr(self) -> str:
        """Say how many kernels there are, and of how many scales."""
        return f"{len(self._layout.rows)} kernels, {size_text(self.size)}, {len(self.coefficients)} coefficients"


def _rows(parts: Float[Tensor, "*numbers taps kernels"]) -> Float[Tensor, "parts taps"]:
    """Return what stands at each number, and for each kernel, as a row in memory."""
    return parts.transpose(-1, -2).flatten(0, -2)


def _with_shared_coefficients(filters: FittedFilters, layout: ParameterLayout) -> ParameterLayout:
    """Let both smoothings of `dog` have one coefficient; the other components keep one each.

    What multiplies the smoothings becomes a part of the weights of their terms.
    """
    shared = filters.has_gap[layout.owner]
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
    axes, kernels = torch.arange(len(layout.size))[:, None], len(layout.rows) + len(layout.two_scales)
    _, slot, slots = slots_of(layout)
    profile = (axes * slots + slot) * kernels + layout.terms.kernel
    places = profile[:, first].flatten(), profile[:, second].flatten()
    return Units(*places, coefficient[first], twice * weight[first] * weight[second])


def _products(layout: ParameterLayout) -> Products:
    """Find the profiles along x of each channel."""
    channels, kernels = len(layout.rows), len(layout.rows) + len(layout.two_scales)
    _, slot, slots = slots_of(layout)
    used = torch.zeros(slots, kernels, dtype=torch.bool)
    used[slot[0], layout.terms.kernel] = True
    owners = torch.cat([torch.arange(channels), layout.two_scales]).expand_as(used)
    known = used.flatten().nonzero()[:, 0]
    owner, order = owners.flatten()[known].sort(stable=True)
    counts = torch.bincount(owner, minlength=channels)
    found = torch.zeros(int(counts.max()), channels, dtype=torch.long)
    found[torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner], owner] = known[order]
    return Products(found, counts)
