"""Depthwise convolutions as sums of convolutions of one axis after another."""

from collections.abc import Sequence
from copy import deepcopy
from functools import reduce
from string import ascii_lowercase

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scalekeys.errors import FilterError, counted
from scalekeys.networks.changing.shrink import by_side
from scalekeys.networks.running.depthwise_layers import Convolution, make_plain
from scalekeys.shapes import FilterStack, Size, size_text

_HOOKS = (
    *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs"),
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called"),
)


class SeparableConv(nn.Module):
    """A depthwise convolution whose kernels are sums of outer products, computed axis by axis.

    `layer`: the depthwise convolution whose place it takes; the layer stays as it is. Stride, padding of any kind,
    padding mode, dilation, bias, dtype, device and class of the layer are those of the convolutions of one axis;
    training mode and hooks on the forward pass are those of the whole.
    `factors`: shape (channels, side, rank); for each axis of more than one tap, in the order of the array: the filters
    of this axis, one for each output channel and outer product.
    Raises FilterError if there is not one factor for each axis, or a factor has another shape.

    Each of the `rank` terms is a chain of depthwise convolutions, one for each axis, and the terms are added. On one
    core this is faster, in PyTorch as well as in onnxruntime, than one pair of convolutions with `rank` filters for
    each channel, whose groups of several channels both execute slowly. Padding an axis and filtering along another one
    commute for zeros and for all padding modes of torch, so that the outputs are those of :meth:`kernels`.

    The state dict holds plain weights: ``terms.TERM.AXIS.weight``, and the bias in the last convolution of the first
    term.

    >>> layer = nn.Conv2d(2, 2, 5, padding=2, groups=2)
    >>> column, row = torch.rand(2, 5, 1), torch.rand(2, 5, 1)
    >>> separable = SeparableConv(layer, [column, row])
    >>> separable
    SeparableConv(5x5 as 1 term)
    >>> layer.weight.data[:, 0] = separable.kernels()
    >>> inputs = torch.rand(1, 2, 9, 9)
    >>> bool(torch.allclose(separable(inputs), layer(inputs), atol=1e-5))
    True
    """

    def __init__(self, layer: Convolution, factors: Sequence[Float[Tensor, "channels side rank"]]) -> None:
        super().__init__()
        self.kernel_size: Size = tuple(layer.kernel_size)
        axes = long_axes(self.kernel_size)
        _check(layer, axes, factors)
        plain = deepcopy(layer)
        make_plain(plain, "")
        for name in _HOOKS:
            getattr(self, name).update(getattr(plain, name))
            getattr(plain, name).clear()
        terms = range(factors[0].shape[-1])
        self.terms = nn.ModuleList(nn.Sequential(*_chain(plain, axes, with_bias=not term)) for term in terms)
        self.train(layer.training)
        self.write(factors)

    @property
    def rank(self) -> int:
        """The number of terms."""
        return len(self.terms)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs of all terms, added."""
        outputs: Tensor = reduce(torch.add, (term(inputs) for term in self.terms))
        return outputs

    @torch.no_grad()
    def write(self, factors: Sequence[Float[Tensor, "channels side rank"]]) -> None:
        """Set the filters of all axes and terms."""
        for number, chain in enumerate(self.chains()):
            for convolution, factor in zip(chain, factors, strict=True):
                convolution.weight.copy_(factor[..., number].reshape(convolution.weight.shape))

    def factors(self) -> list[Tensor]:
        """Return the filters of each axis of more than one tap, shape (channels, side, rank)."""
        axes = zip(*self.chains(), strict=True)
        return [torch.stack([one.weight.flatten(1) for one in along], dim=-1) for along in axes]

    def chains(self) -> list[list[Convolution]]:
        """Return the convolutions of each term, in the order in which they run."""
        return [[one for one in term.children() if isinstance(one, Convolution)] for term in self.terms]

    def kernels(self) -> FilterStack:
        """Return the kernels that are computed, shape (channels, *sides)."""
        return products(self.factors()).reshape(-1, *self.kernel_size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({size_text(self.kernel_size)} as {counted(self.rank, 'term')})"


def long_axes(size: Size) -> list[int]:
    """Return the axes of a kernel that have more than one tap."""
    return [axis for axis, side in enumerate(size) if side > 1]


def products(factors: Sequence[Float[Tensor, "channels side rank"]]) -> Tensor:
    """Return the sum of the outer products of the filters of all axes, shape (channels, *sides)."""
    axes = ascii_lowercase[: len(factors)]
    return torch.einsum(",".join(f"y{axis}z" for axis in axes) + f"->y{axes}", *factors)


def _check(layer: Convolution, axes: Sequence[int], factors: Sequence[Tensor]) -> None:
    shapes = [tuple(one.shape) for one in factors]
    wanted = [(layer.out_channels, layer.kernel_size[axis]) for axis in axes]
    if not axes or [shape[:-1] for shape in shapes] != wanted or len({shape[-1] for shape in shapes}) != 1:
        raise FilterError(
            f"a layer of {layer.out_channels} kernels of {size_text(tuple(layer.kernel_size))} needs a factor of shape "
            f"(channels, side, rank) for each axis of more than one tap, got {shapes}"
        )


def _chain(layer: Convolution, axes: Sequence[int], *, with_bias: bool) -> list[Convolution]:
    """Return convolutions along one axis each; the first one also does what there is to do along axes of one tap."""
    short = [axis for axis, side in enumerate(layer.kernel_size) if side == 1]
    return [
        _along(layer, [axis, *short] if not number else [axis], first=not number, bias=with_bias and axis == axes[-1])
        for number, axis in enumerate(axes)
    ]


def _along(layer: Convolution, axes: Sequence[int], *, first: bool, bias: bool) -> Convolution:
    """Return a copy of a depthwise convolution with a plain weight that filters along some axes alone."""
    copy = deepcopy(layer)
    before = copy.weight
    copy.kernel_size, copy.stride, copy.dilation = (
        tuple(own if axis in axes else 1 for axis, own in enumerate(values))
        for values in (layer.kernel_size, layer.stride, layer.dilation)
    )
    if not isinstance(layer.padding, str):
        copy.padding = tuple(own if axis in axes else 0 for axis, own in enumerate(layer.padding))
    copy._reversed_padding_repeated_twice = by_side(copy)
    if not first:
        copy.in_channels = copy.groups = layer.out_channels
    weight = before.new_empty(layer.out_channels, 1, *copy.kernel_size)
    copy.weight = nn.Parameter(weight, requires_grad=before.requires_grad)
    if not bias:
        copy.bias = None
    return copy
