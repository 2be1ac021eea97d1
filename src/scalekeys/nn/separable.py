"""Depthwise convolutions by kernels that are sums of outer products: along x, then along the other axes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from scalekeys.networks.running.fast_depthwise import convolution
from scalekeys.shapes import Size

PAYS = 3.5
"""How many times as many taps a kernel must have as its 1-D kernels together for these to be faster."""

_CONVOLUTIONS: Mapping[int, Callable[..., Tensor]] = {1: F.conv1d, 2: convolution, 3: F.conv3d}


@dataclass(frozen=True)
class Steps:
    """How a convolution steps over its input.

    `stride`, `padding`, `dilation`: of each axis, in the order of the array; the padding is by zeros on both sides.
    """

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def along(self, axes: Sequence[bool]) -> "Steps":
        """Return the steps along some axes, and steps of 1 without padding along the others."""
        return Steps(
            tuple(own if used else 1 for own, used in zip(self.stride, axes, strict=True)),
            tuple(own if used else 0 for own, used in zip(self.padding, axes, strict=True)),
            tuple(own if used else 1 for own, used in zip(self.dilation, axes, strict=True)),
        )


def pays(size: Size, products: float) -> bool:
    """Tell whether a convolution along one axis after another is faster, by the rule that was measured.

    `size`: sides of the kernels.
    `products`: how many outer products a kernel is the sum of, on average.

    >>> pays((7, 7), 1), pays((9, 9), 1), pays((21, 21), 3), pays((23, 23), 3)
    (False, True, False, True)
    """
    others, cols = torch.Size(size[:-1]).numel(), size[-1]
    return len(size) > 1 and others * cols > PAYS * products * (others + cols)


def convolved(images: Tensor, weight: Tensor, bias: Tensor | None, steps: Steps) -> Tensor:
    """Convolve each channel with its own kernel.

    `images`: shape (batch, channels, *sides) or (channels, *sides).
    `weight`: shape (channels, 1, *kernel sides).
    `bias`: shape (channels,).
    """
    run = _CONVOLUTIONS[weight.ndim - 2]
    return run(images, weight, bias, steps.stride, steps.padding, steps.dilation, len(weight))


def convolved_in_turn(
    images: Tensor,
    factors: tuple[Float[Tensor, "products channels other_taps"], Float[Tensor, "products channels cols"]],
    users: Sequence[Tensor | None],
    bias: Tensor | None,
    steps: Steps,
    size: Size,
) -> Tensor:
    """Convolve each channel with a sum of outer products, one after the other.

    `images`: shape (batch, channels, *sides) or (channels, *sides).
    `factors`: of the type of the images.
    `users`: for each outer product, which channels have it; None for all.
    `bias`: shape (channels,).
    `size`: sides of the kernels.
    """
    left, x = factors
    by_pixel = images.device.type == "cpu" and images.ndim == 4 and len(size) == 2  # else long kernels are slow there
    if by_pixel:
        images = images.contiguous(memory_format=torch.channels_last)
    last = [False] * (len(size) - 1) + [True]
    rows, rest = steps.along(last), steps.along([not one for one in last])
    channel = images.ndim - len(size) - 1

    def product(number: int, own: Tensor | None, bias: Tensor | None) -> Tensor:
        maps, row, column = images, x[number], left[number]
        if own is not None:
            own = own.to(images.device)  # from where it was, in a copy that data parallelism made
            row, column = row.index_select(0, own), column.index_select(0, own)
            maps = _chosen(maps, channel, own, by_pixel=by_pixel)
        row = row.reshape(-1, 1, *(1,) * (len(size) - 1), size[-1])
        return convolved(convolved(maps, row, None, rows), column.reshape(-1, 1, *size[:-1], 1), bias, rest)

    total = product(0, None, bias)
    for number, own in enumerate(users[1:], start=1):
        part = product(number, own, None)
        total = total + part if own is None else _added(total, channel, own.to(part.device), part, by_pixel=by_pixel)
    return total


def _chosen(maps: Tensor, channel: int, own: Tensor, *, by_pixel: bool) -> Tensor:
    """Select channels; where all channels of a pixel lie together in memory, they do so afterwards."""
    if not by_pixel:
        return maps.index_select(channel, own)
    return maps.movedim(channel, -1).index_select(-1, own).movedim(-1, channel)


def _added(total: Tensor, channel: int, own: Tensor, part: Tensor, *, by_pixel: bool) -> Tensor:
    """Add to some channels; memory as in :func:`_chosen`."""
    if not by_pixel:
        return total.index_add(channel, own, part)
    return total.movedim(channel, -1).index_add(-1, own, part.movedim(channel, -1)).movedim(-1, channel)
