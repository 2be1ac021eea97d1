"""Kernels as sums of outer products of profiles whose scales are parameters: what all of them are computed by."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scalekeys.networks.constrained.differentiable_profiles import Constants, ceiling, constants_of, profiles, within
from scalekeys.networks.constrained.learned_scales import Scales
from scalekeys.networks.constrained.parameter_layout import ParameterLayout
from scalekeys.scalespace import GAP

_Numbers = TypeVar("_Numbers", bound=NamedTuple)


class Tables(NamedTuple):
    """What is looked up where, to compute the filters of a layer from its parameters.

    Parameters
    ----------
    constants : Constants
    scale : Tensor of int64, shape (axes * filters,)
        The scale parameter of each filter along x, then along y, and so on, or beyond these which fixed variance.
    fixed : Tensor, shape (fixed,)
    two_scales, gap : Tensor of int64, shape (pairs,)
        See :class:`ParameterLayout`.
    products : int
        Outer products of all filters, each of a profile along x with a sum of terms along the other axes.
    profile : Tensor of int64, shape ((axes - 1) * terms + products,)
        The profile of each term along y, then along z, and the profile along x of each outer product, filter by filter;
        filters with fewer outer products repeat any.
    product : Tensor of int64, shape (terms,)
        The outer product that each term belongs to.
    coefficient, filter : Tensor of int64, shape (terms,)
        What multiplies it, and whose it is.
    weight : Tensor, shape (terms,)
        A constant factor.
    order : Tensor of int64, shape (channels,)
        Where each filter of the layer stands among the modelled ones followed by the others.
    """

    constants: Constants
    scale: Int[Tensor, "scales_of_filters"]
    fixed: Float[Tensor, "fixed"]
    two_scales: Int[Tensor, "pairs"]
    gap: Int[Tensor, "pairs"]
    products: int
    profile: Int[Tensor, "profiles"]
    product: Int[Tensor, "terms"]
    coefficient: Int[Tensor, "terms"]
    filter: Int[Tensor, "terms"]
    weight: Float[Tensor, "terms"]
    order: Int[Tensor, "channels"]


class SeparableKernels(nn.Module):
    """Sums of outer products of one profile for each axis, each a function of scales.

    Terms with the same profile along x are added up along the other axes first, so that each filter is a product of two
    small matrices, and a convolution by it a sum of pairs of convolutions: along x, then along the other axes.

    Parameters
    ----------
    layout : ParameterLayout
    channels : int
        Filters of the layer.
    scales : Scales
        Possibly shared with other layers.
    coefficients : Tensor, shape (coefficients,)
        Where they start.
    device : torch.device
        Of all that it holds.
    learned : bool
        Whether the coefficients take gradients.

    Notes
    -----
    The tables are no buffers, which averages of networks would average and data-parallel ones send around.
    """

    def __init__(
        self,
        layout: ParameterLayout,
        channels: int,
        scales: Scales,
        coefficients: Float[Tensor, "coefficients"],
        device: torch.device,
        *,
        learned: bool,
    ) -> None:
        super().__init__()
        self.size = layout.size
        self.scales = scales.to(device, precision(device))
        self.coefficients = parameter(coefficients, device, learned=learned)
        self._tables = kept(tables_of(layout, channels), device)

    def factors(self) -> tuple[Float[Tensor, "filters other_taps products"], Float[Tensor, "filters products cols"]]:
        """Return two matrices for each modelled filter, of which it is the product.

        The second has profiles along x, and the first what each of them is multiplied by along the other axes. The
        other taps are in the order of the array. Where a filter has fewer products than others, the first is zero.
        """
        *sides, cols = self.size
        tables, (others, x) = self._here(), self._profiles()
        terms = self._strengths(others, x)[:, None]
        for profile, taps in zip(others, reversed(sides), strict=True):
            terms = (profile[:, :taps, None] * terms[:, None]).flatten(1)
        sums = terms.new_zeros(len(x), terms.shape[1]).index_add(0, tables.product, terms)
        filters = len(tables.scale) // len(self.size)
        return sums.view(filters, -1, terms.shape[1]).mT, x[:, :cols].view(filters, -1, cols)

    def _profiles(self) -> tuple[tuple[Float[Tensor, "terms taps"], ...], Float[Tensor, "products taps"]]:
        """Return the profiles of all terms along y, and z, and of all products along x, as long as the longest side."""
        tables = self._here()
        known = profiles(self._variances(), tables.constants).view(-1, max(self.size))
        lengths = [len(tables.coefficient)] * (len(self.size) - 1) + [tables.products]
        *others, x = known.index_select(0, tables.profile).split(lengths)
        return tuple(others), x

    def _strengths(
        self,
        others: tuple[Float[Tensor, "terms taps"], ...],  # noqa: ARG002
        x: Float[Tensor, "products taps"],  # noqa: ARG002
    ) -> Float[Tensor, "terms"]:
        """Return what each term is multiplied by, whose profiles are given."""
        tables = self._here()
        return self.coefficients.index_select(0, tables.coefficient) * tables.weight

    @property
    def sigma(self) -> Float[Tensor, "filters axes"]:
        """Present scales (x, y, z) of the modelled filters as standard deviations; of `dog` the smaller.

        NaN along an axis of one tap, where no scale can be seen.
        """
        tables = self._here()
        with torch.no_grad():
            t = self._variances()[:, : len(tables.scale) // len(self.size)]
            sigma = t.clamp(tables.constants.minimum, tables.constants.maximum).sqrt()
            return sigma.where(tables.scale.view(len(sigma), -1) < len(self.scales.theta), torch.nan).T

    def _variances(self) -> Tensor:
        """Return the variances of all kernels, shape (axes, kernels), below 0 where they are 0."""
        tables, known = self._here(), self.scales.variances()
        if len(tables.fixed):
            known = torch.cat([known, tables.fixed])
        t = known.index_select(0, tables.scale).view(len(self.size), -1)
        if not len(tables.gap):
            return t
        largest = ceiling(self.size)
        smaller = within(t.index_select(1, tables.two_scales), largest)
        gaps = within(self.scales.gaps().index_select(0, tables.gap), largest)
        return torch.cat([t, smaller + gaps + GAP], dim=1)

    def _here(self) -> Tables:
        """Return the tables where the parameters are, also in a copy that data parallelism made on another device."""
        device = self.coefficients.device
        return self._tables if self._tables.order.device == device else placed(self._tables, device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SeparableKernels":
        def keeping_the_type(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        super()._apply(keeping_the_type, recurse)  # type: ignore[no-untyped-call]
        self._tables = kept(self._tables, self.coefficients.device)
        return self


def precision(device: torch.device) -> torch.dtype:
    """Return the most precise type that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def placed(numbers: _Numbers, device: torch.device) -> _Numbers:
    """Bring tables to a device, and what is no index to its most precise type."""

    def here(value: Any) -> Any:
        if isinstance(value, Constants):
            return placed(value, device)
        if not isinstance(value, Tensor):
            return value
        return value.to(device, precision(device) if value.is_floating_point() else value.dtype)

    return type(numbers)(*map(here, numbers))


def kept(numbers: _Numbers, device: torch.device) -> _Numbers:
    """Bring tables to a device for good; leave them where they are if it is "meta", which keeps no numbers."""
    return numbers if device.type == "meta" else placed(numbers, device)


def parameter(values: Tensor, device: torch.device, *, learned: bool) -> nn.Parameter:
    """Make a parameter in the most precise type of a device."""
    return nn.Parameter(values.to(device, precision(device)), requires_grad=learned)


def tables_of(layout: ParameterLayout, channels: int) -> Tables:
    """Look up, for the filters of a layer with so many channels, what they are computed by."""
    terms, filters = layout.terms, len(layout.rows)
    kernels, operators = filters + len(layout.two_scales), len(layout.operators)
    places = [(axis * kernels + terms.kernel) * operators + own for axis, own in enumerate(terms.operators)]
    x, product = _products(places[0], terms.filter, filters)
    return Tables(
        constants=constants_of(layout.operators, layout.size, layout.window, layout.discretization),
        scale=layout.scale.flatten(),
        fixed=layout.fixed,
        two_scales=layout.two_scales,
        gap=layout.gap,
        products=len(x),
        profile=torch.cat([*places[1:], x]),
        product=product,
        coefficient=terms.coefficient,
        filter=terms.filter,
        weight=terms.weight,
        order=_order(layout.rows, channels),
    )


def _products(profile: Tensor, owners: Tensor, filters: int) -> tuple[Tensor, Tensor]:
    """Return the profile along x of each outer product of each filter, and to which of them each term belongs."""
    pairs, index = torch.unique(torch.stack([owners, profile]), dim=1, return_inverse=True)
    owner, known = pairs[0].contiguous(), pairs[1]
    rank = torch.arange(len(owner)) - torch.searchsorted(owner, owner)
    most = int(rank.max()) + 1
    place = owner * most + rank
    x = torch.zeros(filters * most, dtype=torch.long)
    x[place] = known
    return x, place[index]


def _order(rows: Tensor, channels: int) -> Tensor:
    """Return where each filter of a layer stands among the modelled ones followed by the others."""
    kept = torch.ones(channels, dtype=torch.bool)
    kept[rows] = False
    return torch.argsort(torch.cat([rows, kept.nonzero()[:, 0]]))
