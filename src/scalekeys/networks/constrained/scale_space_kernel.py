"""Depthwise weights as functions of scales, amplitudes and offsets."""

from typing import Any, Literal, TypeAlias, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scalekeys.networks.constrained.joined_layouts import split
from scalekeys.networks.constrained.learned_scales import Scales
from scalekeys.networks.constrained.modelled_filters import KernelNorm, Numbers, Recipe, versions_of
from scalekeys.networks.constrained.parameter_layout import ParameterLayout
from scalekeys.networks.constrained.separable_kernels import SeparableKernels, parameter
from scalekeys.networks.constrained.separable_sums import Tables
from scalekeys.shapes import over_taps, size_text

Learn: TypeAlias = Literal["none", "scales", "amplitudes", "scales+amplitudes", "coefficients", "scales+coefficients"]
LEARN: tuple[Learn, ...] = get_args(Learn)


class ScaleSpaceKernel(SeparableKernels):
    r"""The depthwise weight of a layer, as a parametrization: modelled filters are computed, the others are kept.

    A filter of any family is :math:`a (K - \bar K) + b` with :math:`K = \sum_k c_k w_k \, p_k(y) \, q_k(x)`, or the
    same with a profile for each of one or three axes, with a factor a, an offset b, coefficients c, constants w, and
    profiles p and q, each a difference operator of the discrete analogue of the Gaussian at a scale, or a derivative in
    another discretization. :math:`\bar K` is the mean of K over the window: b is the mean of the filter, and a scale
    changes the form of a filter and not its mean. (Otherwise a small change of a large scale, at which K is nearly
    constant, would move the mean of a filter by many times the norm of its deviations.) The filters of a layer are
    computed together, whatever their families.

    `channels`: filters of the layer.
    `scales`: possibly shared with other layers.
    `learn`: see :func:`scalekeys.constrain`.
    `norm`: ``"unit"``: a filter is :math:`a K / |K|` with the l2 norm of K over the window and a = 1. It has no offset,
    and its mean is that of K.
    `coefficients`: shape (coefficients,); of unit norm for each filter where amplitudes are learned.
    `amplitude`: shape (filters,); the common factor of the coefficients of each filter; 1 unless it is learned.
    `offset`: shape (filters,); the mean of each filter.

    The last three are parameters whatever is learned, and those that are not learned take no gradient: so a state
    dictionary has the same entries for every `learn`, a network can go on with another one, and what was frozen can be
    thawed by ``requires_grad_``.

    Parameters and kernels are in float64, also under autocast, whatever type the layer has or is given later: at a
    large scale the derivatives of a jet look alike, and a model of some filters is a difference of numbers that are a
    hundred thousand times larger. (On a device without float64 they are in float32.)
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
        learned = learn.split("+")
        amplitude = _norms(layout) if "amplitudes" in learned else torch.ones_like(layout.offset)
        shape = layout.coefficients / amplitude[layout.owner]
        super().__init__(split(layout), channels, scales, shape, device, learned="coefficients" in learned)
        self.layout, self.learn, self.norm = layout, learn, norm
        varied = "amplitudes" in learned or "coefficients" in learned
        self.amplitude = parameter(amplitude, device, learned="amplitudes" in learned)
        self.offset = parameter(layout.offset, device, learned=varied)
        self.is_whole = len(layout.rows) == channels
        self._lengths = [0 if one is None else len(one) for one in self.numbers()]
        self.recipe_together: tuple[list[Tables], Recipe] | None = None
        self._prepared: tuple[Tensor, tuple[Any, ...]] | None = None

    def forward(self, free: Float[Tensor, "kept 1 *sides"]) -> Float[Tensor, "channels 1 *sides"]:
        """Return the weight of the layer, given the filters that are no models."""
        filters = self._filters_prepared()
        if filters is None:
            (filters,) = self._recipe().filters([self.numbers()], free.dtype)
        if not self.is_whole:
            filters = torch.cat([filters, free[:, 0]]).index_select(0, self.here().order)
        return _with_channels(filters, free)

    def right_inverse(self, weight: Float[Tensor, "channels 1 *sides"]) -> Float[Tensor, "kept 1 *sides"]:
        """Return the filters of a weight that are no models; what the models are is not changed by an assignment."""
        kept = self._channels()[len(self.offset) :]
        return _with_channels(weight[:, 0].index_select(0, kept), weight)

    @torch.no_grad()
    def multiply(self, factors: Float[Tensor, "channels"], free: Float[Tensor, "kept 1 *sides"]) -> None:
        """Multiply every filter of the layer by a factor, in place: amplitudes, offsets, and the filters without model.

        `free`: the filters that are no models.
        """
        modelled, kept = factors[self._channels()].tensor_split([len(self.offset)])
        self.amplitude.mul_(modelled)
        self.offset.mul_(modelled)
        free.mul_(over_taps(kept[:, None], len(self.size)).to(free))

    def filters(self) -> Float[Tensor, "filters *sides"]:
        """Return the modelled filters, in the type of what they are computed from."""
        return self._recipe().filters([self.numbers()], self.offset.dtype)[0]

    def numbers(self) -> Numbers:
        """Return what the filters are made of."""
        scales = self.scales
        return Numbers(scales.theta, scales.gap, self.coefficients, self.amplitude, self.offset)

    def has_whole(self, numbers: Numbers) -> bool:
        """Return whether numbers are plain tensors with all that the layer has, and not shards of them."""
        return all(
            one is None or (type(one) in (Tensor, nn.Parameter) and len(one) == length)
            for one, length in zip(numbers, self._lengths, strict=True)
        )

    def prepare(self, filters: Float[Tensor, "filters *sides"] | None, numbers: Numbers | None = None) -> None:
        """Take filters that were computed elsewhere from these numbers, until they change; None for no more."""
        self._prepared = None if filters is None or numbers is None else (filters, _state(numbers))

    def _filters_prepared(self) -> Tensor | None:
        if torch.compiler.is_compiling():  # of this layer alone
            return None
        prepared = self._prepared  # which another thread may take away meanwhile
        return None if prepared is None or prepared[1] != _state(self.numbers()) else prepared[0]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"recipe_together": None, "_prepared": None}

    def _recipe(self) -> Recipe:
        return Recipe(self.here(), self.size, self.scales.kind, self.norm)

    def _channels(self) -> Int[Tensor, "channels"]:
        """Return which filters of the layer are modelled, and after these which are not."""
        return torch.argsort(self.here().order)

    def extra_repr(self) -> str:
        """Say how many filters are modelled, and what is learned."""
        size = size_text(self.size)
        norm = ", norm='unit'" if self.norm == "unit" else ""
        return f"{len(self.offset)} of {len(self._tables.order)} filters, {size}, learn={self.learn!r}{norm}"


def _state(numbers: Numbers) -> tuple[Any, ...]:
    """Return whether gradients are wanted, which the numbers are, and what changes when one of them changes."""
    return torch.is_grad_enabled(), [id(one) for one in numbers], versions_of(numbers)


def _norms(layout: ParameterLayout) -> Tensor:
    """Return the norm of the coefficients of each filter, or 1 where they are 0."""
    squares = torch.zeros_like(layout.offset).index_add_(0, layout.owner, layout.coefficients.square())
    return torch.where(squares > 0, squares.sqrt(), 1.0)


def _with_channels(filters: Tensor, like: Tensor) -> Tensor:
    """Add the axis of channels, in memory where it lies in `like`, for a convolution takes the layout of its weight."""
    return filters[..., None].movedim(-1, 1) if like.stride(1) == 1 else filters[:, None]
