"""Depthwise weights as functions of scales, amplitudes and offsets."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scalekeys.networks.constrained.differentiable_profiles import Constants, ceiling, constants_of, profiles, within
from scalekeys.networks.constrained.learned_scales import Scales
from scalekeys.networks.constrained.parameter_layout import ParameterLayout
from scalekeys.scalespace import GAP

Learn: TypeAlias = Literal["none", "scales", "amplitudes", "scales+amplitudes", "coefficients", "scales+coefficients"]
LEARN: tuple[Learn, ...] = get_args(Learn)
KernelNorm: TypeAlias = Literal["free", "unit"]
NORMS: tuple[KernelNorm, ...] = get_args(KernelNorm)

_Numbers = TypeVar("_Numbers", "Tables", Constants)


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


class ScaleSpaceKernel(nn.Module):
    r"""The depthwise weight of a layer, as a parametrization: modelled filters are computed, the others are kept.

    A filter of any family is :math:`a (K - \bar K) + b` with :math:`K = \sum_k c_k w_k \, p_k(y) \, q_k(x)`, or the
    same with a profile for each of one or three axes, with a factor a, an offset b, coefficients c, constants w, and
    profiles p and q, each a difference operator of the discrete analogue of the Gaussian at a scale, or a derivative in
    another discretization. :math:`\bar K` is the mean of K over the window: b is the mean of the filter, and a scale
    changes the form of a filter and not its mean. (Otherwise a small change of a large scale, at which K is nearly
    constant, would move the mean of a filter by many times the norm of its deviations.) The filters of a layer are
    computed together, whatever their families: terms with the same profile along x are added up along the other axes
    first, and each filter is a product of two small matrices.

    Parameters
    ----------
    layout : ParameterLayout
    channels : int
        Filters of the layer.
    scales : Scales
        Possibly shared with other layers.
    learn : str
        See :func:`scalekeys.constrain`.
    device : torch.device
        Of all that it holds.
    norm : {"free", "unit"}
        ``"unit"``: a filter is :math:`a K / |K|` with the l2 norm of K over the window and a = 1. It has no offset, and
        its mean is that of K.

    Attributes
    ----------
    coefficients : Parameter, shape (coefficients,)
        Of unit norm for each filter where amplitudes are learned.
    amplitude : Parameter, shape (filters,)
        The common factor of the coefficients of each filter; 1 unless it is learned.
    offset : Parameter, shape (filters,)
        The mean of each filter.

    Notes
    -----
    All of them are parameters whatever is learned, and those that are not learned take no gradient: so a state
    dictionary has the same entries for every `learn`, a network can go on with another one, and what was frozen can be
    thawed by ``requires_grad_``.

    Parameters and kernels are in float64, also under autocast, whatever type the layer has or is given later: at a
    large scale the derivatives of a jet look alike, and a model of some filters is a difference of numbers that are a
    hundred thousand times larger. (On a device without float64 they are in float32.)

    The tables are no buffers, which averages of networks would average and data-parallel ones send around.
    """

    def __init__(
        self,
        layout: ParameterLayout,
        channels: int,
        scales: Scales,
        learn: Learn,
        device: torch.device,
        norm: KernelNorm = "free",
    ) -> None:
        super().__init__()
        self.size, self.learn, self.norm = layout.size, learn, norm
        self.scales = scales.to(device, precision(device))
        learned = learn.split("+")
        amplitude = _norms(layout) if "amplitudes" in learned else torch.ones_like(layout.offset)
        shape = layout.coefficients / amplitude[layout.owner]
        varied = "amplitudes" in learned or "coefficients" in learned

        def parameter(values: Tensor, *, learned: bool) -> nn.Parameter:
            return nn.Parameter(values.to(device, precision(device)), requires_grad=learned)

        self.coefficients = parameter(shape, learned="coefficients" in learned)
        self.amplitude = parameter(amplitude, learned="amplitudes" in learned)
        self.offset = parameter(layout.offset, learned=varied)
        self.is_whole = len(layout.rows) == channels
        self._tables = _placed(_tables(layout, channels), device)

    def forward(self, free: Float[Tensor, "kept 1 *sides"]) -> Float[Tensor, "channels 1 *sides"]:
        """Return the weight of the layer.

        Parameters
        ----------
        free : Tensor, shape (kept, 1, *sides)
            The filters that are no models.
        """
        exact = self.offset.dtype == torch.float64  # which autocast leaves alone
        with nullcontext() if exact else torch.autocast(free.device.type, enabled=False):
            filters = self.filters().to(free.dtype)
        if not self.is_whole:
            filters = torch.cat([filters, free[:, 0]]).index_select(0, self._here().order)
        return _with_channels(filters, free)

    def right_inverse(self, weight: Float[Tensor, "channels 1 *sides"]) -> Float[Tensor, "kept 1 *sides"]:
        """Return the filters of a weight that are no models; what the models are is not changed by an assignment."""
        kept = self._channels()[len(self.offset) :]
        return _with_channels(weight[:, 0].index_select(0, kept), weight)

    @torch.no_grad()
    def multiply(self, factors: Float[Tensor, "channels"], free: Float[Tensor, "kept 1 *sides"]) -> None:
        """Multiply every filter of the layer by a factor, in place: amplitudes, offsets, and the filters without model.

        Parameters
        ----------
        factors : Tensor, shape (channels,)
        free : Tensor, shape (kept, 1, *sides)
            The filters that are no models.
        """
        modelled, kept = factors[self._channels()].tensor_split([len(self.offset)])
        self.amplitude.mul_(modelled)
        self.offset.mul_(modelled)
        free.mul_(_over_taps(kept[:, None], len(self.size)).to(free))

    def filters(self) -> Float[Tensor, "filters *sides"]:
        """Return the modelled filters."""
        *sides, cols = self.size
        filters, tables = len(self.offset), self._here()
        known = profiles(self._variances(), tables.constants).view(-1, max(self.size))
        factors = self.coefficients.index_select(0, tables.coefficient) * tables.weight
        *others, x = known.index_select(0, tables.profile).split([len(factors)] * len(sides) + [tables.products])
        terms = factors[:, None]
        for profile, taps in zip(others, reversed(sides), strict=True):
            terms = (profile[:, :taps, None] * terms[:, None]).flatten(1)
        sums = terms.new_zeros(len(x), terms.shape[1]).index_add(0, tables.product, terms)
        products = torch.bmm(sums.view(filters, -1, terms.shape[1]).mT, x[:, :cols].view(filters, -1, cols))
        fields, amplitude = products.view(filters, *self.size), _over_taps(self.amplitude, len(self.size))
        if self.norm == "unit":
            return amplitude * fields / _over_taps(torch.linalg.vector_norm(products, dim=(1, 2)), len(self.size))
        return amplitude * (fields - _over_taps(products.mean((1, 2)), len(self.size))) + _over_taps(
            self.offset, len(self.size)
        )

    @property
    def sigma(self) -> Float[Tensor, "filters axes"]:
        """Present scales (x, y, z) of the modelled filters as standard deviations; of `dog` the smaller.

        NaN along an axis of one tap, where no scale can be seen.
        """
        tables = self._here()
        with torch.no_grad():
            t = self._variances()[:, : len(self.offset)]
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

    def _channels(self) -> Int[Tensor, "channels"]:
        """Return which filters of the layer are modelled, and after these which are not."""
        return torch.argsort(self._here().order)

    def _here(self) -> Tables:
        """Return the tables where the parameters are, also in a copy that data parallelism made on another device."""
        device = self.offset.device
        return self._tables if self._tables.order.device == device else _placed(self._tables, device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ScaleSpaceKernel":
        def keeping_the_type(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        super()._apply(keeping_the_type, recurse)  # type: ignore[no-untyped-call]
        if not self.offset.is_meta:  # from where tables would not come back
            self._tables = self._here()
        return self

    def extra_repr(self) -> str:
        """Say how many filters are modelled, and what is learned."""
        size = "x".join(map(str, self.size))
        norm = ", norm='unit'" if self.norm == "unit" else ""
        return f"{len(self.offset)} of {len(self._tables.order)} filters, {size}, learn={self.learn!r}{norm}"


def precision(device: torch.device) -> torch.dtype:
    """Return the most precise type that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def _placed(numbers: _Numbers, device: torch.device) -> _Numbers:
    """Bring tables to a device, and what is no index to its most precise type."""

    def placed(value: Any) -> Any:
        if isinstance(value, Constants):
            return _placed(value, device)
        if not isinstance(value, Tensor):
            return value
        return value.to(device, precision(device) if value.is_floating_point() else value.dtype)

    return type(numbers)(*map(placed, numbers))


def _tables(layout: ParameterLayout, channels: int) -> Tables:
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


def _norms(layout: ParameterLayout) -> Tensor:
    """Return the norm of the coefficients of each filter, or 1 where they are 0."""
    squares = torch.zeros_like(layout.offset).index_add_(0, layout.owner, layout.coefficients.square())
    return torch.where(squares > 0, squares.sqrt(), 1.0)


def _order(rows: Tensor, channels: int) -> Tensor:
    """Return where each filter of a layer stands among the modelled ones followed by the others."""
    kept = torch.ones(channels, dtype=torch.bool)
    kept[rows] = False
    return torch.argsort(torch.cat([rows, kept.nonzero()[:, 0]]))


def _with_channels(filters: Tensor, like: Tensor) -> Tensor:
    """Add the axis of channels, in memory where it lies in `like`, for a convolution takes the layout of its weight."""
    return filters[..., None].movedim(-1, 1) if like.stride(1) == 1 else filters[:, None]


def _over_taps(values: Tensor, axes: int) -> Tensor:
    return values[(..., *[None] * axes)]
