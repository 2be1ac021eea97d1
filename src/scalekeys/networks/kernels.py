"""Depthwise weights as functions of scales, amplitudes and offsets."""

from contextlib import nullcontext
from typing import Any, Literal, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from scalekeys.networks.layout import Layout
from scalekeys.networks.profiles import ceiling, constants_of, profiles, within
from scalekeys.networks.scales import Scales
from scalekeys.scalespace import GAP

Learn: TypeAlias = Literal["none", "scales", "amplitudes", "scales+amplitudes", "coefficients", "scales+coefficients"]
LEARN: tuple[Learn, ...] = get_args(Learn)


class ScaleSpaceKernel(nn.Module):
    r"""The depthwise weight of a layer, as a parametrization: modelled filters are computed, the others are kept.

    A filter of any family is :math:`a \sum_k c_k w_k \, p_k(y) \, q_k(x) + b` with a factor a, an offset b,
    coefficients c, constants w, and profiles p and q, each a difference operator of the discrete analogue of the
    Gaussian at a scale. The terms of all filters are computed together, whatever families a layer has.

    Parameters
    ----------
    layout : Layout
    channels : int
        Filters of the layer.
    scales : Scales
        Possibly shared with other layers.
    learn : str
        See :func:`scalekeys.constrain`.
    device : torch.device
        Of all that it holds.

    Attributes
    ----------
    coefficients : Parameter, shape (coefficients,)
        Of unit norm for each filter where amplitudes are learned.
    amplitude : Parameter, shape (filters,)
        The common factor of the coefficients of each filter; 1 unless it is learned.
    offset : Parameter, shape (filters,)

    Notes
    -----
    All of them are parameters whatever is learned, and those that are not learned take no gradient: so a state
    dictionary has the same entries for every `learn`, a network can go on with another one, and what was frozen can be
    thawed by ``requires_grad_``. Constants are buffers that are not stored; they are made anew, without rounding, when
    the module changes its type.

    Parameters and kernels are in float64, also under autocast, whatever the type of the layer is: at a large scale the
    derivatives of a jet look alike, and a model of some filters is a difference of numbers that are a hundred thousand
    times larger. A device without float64, or a change of the type of the network, makes them float32.
    """

    series: Tensor
    folded: Tensor
    frequencies: Tensor
    scale: Tensor
    two_scales: Tensor
    gap: Tensor
    profile: Tensor
    coefficient: Tensor
    weight: Tensor
    filter: Tensor
    order: Tensor

    def __init__(self, layout: Layout, channels: int, scales: Scales, learn: Learn, device: torch.device) -> None:
        super().__init__()
        self.size, self.window, self.operators = layout.size, layout.window, layout.operators
        self.learn = learn
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
        self._weight = layout.terms.weight
        self._whole = len(layout.rows) == channels
        self._pinned = bool((layout.scale < 0).any())
        for name, table in _tables(layout, channels).items():
            self.register_buffer(name, table.to(device), persistent=False)
        self._make_constants()

    def forward(self, free: Float[Tensor, "kept rows cols"]) -> Float[Tensor, "channels 1 rows cols"]:
        """Return the weight of the layer.

        Parameters
        ----------
        free : Tensor, shape (kept, rows, cols)
            The filters that are no models.
        """
        device = self.series.device.type
        with torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext():
            filters = self.filters().to(free.dtype)
        if not self._whole:
            filters = torch.cat([filters, free]).index_select(0, self.order)
        return filters[:, None]

    def right_inverse(self, weight: Float[Tensor, "channels 1 rows cols"]) -> Float[Tensor, "kept rows cols"]:
        """Return the filters of a weight that are no models; what the models are is not changed by an assignment."""
        modelled = len(self.offset)
        kept = torch.argsort(self.order)[modelled:]
        return weight[kept, 0].clone(memory_format=torch.contiguous_format)

    @torch.no_grad()
    def multiply(self, factors: Float[Tensor, "channels"], free: Float[Tensor, "kept rows cols"]) -> None:
        """Multiply every filter of the layer by a factor, in place: amplitudes, offsets, and the filters without model.

        Parameters
        ----------
        factors : Tensor, shape (channels,)
        free : Tensor, shape (kept, rows, cols)
            The filters that are no models.
        """
        modelled, kept = factors[torch.argsort(self.order)].tensor_split([len(self.offset)])
        self.amplitude.mul_(modelled)
        self.offset.mul_(modelled)
        free.mul_(kept[:, None, None].to(free))

    def filters(self) -> Float[Tensor, "filters rows cols"]:
        """Return the modelled filters."""
        (rows, cols), filters = self.size, len(self.offset)
        known = profiles(self._variances(), self.series, self.folded, self.frequencies, self._maximum)
        x, y = known.view(-1, max(self.size)).index_select(0, self.profile).view(2, -1, max(self.size))
        if rows != cols:
            x, y = x[:, :cols], y[:, :rows]
        coefficients = self.coefficients.to(x.dtype).index_select(0, self.coefficient) * self.weight
        terms = (coefficients[:, None] * y)[:, :, None] * x[:, None]
        if len(terms) > filters:
            terms = terms.new_zeros(filters, rows, cols).index_add(0, self.filter, terms)
        amplitude, offset = (values.to(x.dtype)[:, None, None] for values in (self.amplitude, self.offset))
        return torch.addcmul(offset, amplitude, terms)

    @property
    def sigma(self) -> Float[Tensor, "filters 2"]:
        """Present scales (x, y) of the modelled filters as standard deviations; of `dog` the smaller."""
        with torch.no_grad():
            return self._variances()[:, : len(self.offset)].clamp(0.0, self._maximum).sqrt().T

    def _variances(self) -> Tensor:
        """Return the variances of all kernels, shape (2, kernels), below 0 where they are 0."""
        dtype = self.series.dtype
        known = self.scales.variances(dtype)
        if self._pinned:
            known = F.pad(known, (0, 1))
        t = known.index_select(0, self.scale).view(2, -1)
        if not len(self.gap):
            return t
        largest = ceiling(self.size)
        smaller = within(t.index_select(1, self.two_scales), largest)
        gaps = within(self.scales.gaps(dtype).index_select(0, self.gap), largest)
        return torch.cat([t, smaller + gaps + GAP], dim=1)

    def _make_constants(self) -> None:
        """Set the constants in the type that the parameters have, float32 at least, and on their device."""
        dtype, device = torch.promote_types(self.offset.dtype, torch.float32), self.offset.device
        constants = constants_of(self.operators, self.size, self.window)
        self._maximum = constants.maximum
        tables = {"series": constants.series, "folded": constants.folded, "frequencies": constants.frequencies}
        for name, table in (tables | {"weight": self._weight}).items():
            self.register_buffer(name, table.to(device, dtype), persistent=False)

    def _apply(self, *args: Any, **options: Any) -> "ScaleSpaceKernel":
        super()._apply(*args, **options)  # type: ignore[no-untyped-call]
        self._make_constants()
        return self

    def extra_repr(self) -> str:
        """Say how many filters are modelled, and what is learned."""
        rows, cols = self.size
        return f"{len(self.offset)} of {len(self.order)} filters, {rows}x{cols}, learn={self.learn!r}"


def precision(device: torch.device) -> torch.dtype:
    """Return the most precise type that a device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def _tables(layout: Layout, channels: int) -> dict[str, Tensor]:
    """Return what is looked up where."""
    terms, filters = layout.terms, len(layout.rows)
    kernels, operators = filters + len(layout.two_scales), len(layout.operators)
    x, y = terms.kernel * operators + terms.x, (kernels + terms.kernel) * operators + terms.y
    return {
        "scale": layout.scale.where(layout.scale >= 0, len(layout.variances)).flatten(),
        "two_scales": layout.two_scales,
        "gap": layout.gap,
        "profile": torch.cat([x, y]),
        "coefficient": terms.coefficient,
        "filter": terms.filter,
        "order": _order(layout.rows, channels),
    }


def _norms(layout: Layout) -> Tensor:
    """Return the norm of the coefficients of each filter, or 1 where they are 0."""
    squares = torch.zeros_like(layout.offset).index_add_(0, layout.owner, layout.coefficients.square())
    return torch.where(squares > 0, squares.sqrt(), 1.0)


def _order(rows: Tensor, channels: int) -> Tensor:
    """Return where each filter of a layer stands among the modelled ones followed by the others."""
    kept = torch.ones(channels, dtype=torch.bool)
    kept[rows] = False
    return torch.argsort(torch.cat([rows, kept.nonzero()[:, 0]]))
