"""Moments of patches: how often each pair of taps of a kernel sees what, over any number of maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from scalekeys.shapes import over_taps
from scalekeys.threads import one_thread

_BYTES = 2**25  # of the channels that are worked on at a time


@dataclass(frozen=True)
class PatchGeometry:
    """Where the patches of a convolution lie."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    """`kernel`, `stride` and `dilation`: one number for each axis, in the order of the array, as (cols,), (rows, cols)
    or (slices, rows, cols)."""
    padding: tuple[int, ...]
    """Zeros before the first and after the last place of each axis, from the last axis to the first, as ``F.pad``
    takes them: left, right, above, below, and so on."""


class PatchMoments:
    """Number, mean and centred products of the patches of each channel.

    `count`: patches so far, per channel.
    `mean`: shape (channels, taps).
    `products`: shape (channels, taps, taps); sums over the patches of the products of two taps, each less its mean.

    Chunks are centred before they are multiplied, and joined by the formulas of Chan, Golub and LeVeque, so that a
    large mean costs no digits and the result does not depend on how the maps come in batches.

    T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", The American Statistician
    37(3):242-247, 1983.
    """

    def __init__(self, channels: int, taps: int, device: torch.device) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, taps, dtype=torch.float64, device=device)
        self.products = torch.zeros(channels, taps, taps, dtype=torch.float64, device=device)

    @one_thread()
    def add(self, maps: Float[Tensor, "images channels *sides"], geometry: PatchGeometry) -> None:
        """Add all patches of some maps: at least one, and finite."""
        padding = zip(geometry.padding[-2::-2], geometry.padding[::-2], strict=True)
        sides = [side + before + after for side, (before, after) in zip(maps.shape[2:], padding, strict=True)]
        places = [_places(side, geometry, axis).to(maps.device) for axis, side in enumerate(sides)]
        new = len(maps) * prod(int(taps[0].sum()) for taps in places)
        at_a_time = max(1, _BYTES // (8 * len(maps) * prod(sides)))
        for start in range(0, maps.shape[1], at_a_time):
            part = slice(start, start + at_a_time)
            padded = F.pad(maps[:, part].to(torch.float64), geometry.padding)
            shift = padded.transpose(0, 1).flatten(1).mean(1)
            padded -= over_taps(shift, len(sides))
            mean = _summed_over(places, padded.sum(0)).flatten(1) / new
            products = _products(padded, places, geometry.dilation) - new * _square(mean)
            self._join(new, mean + shift[:, None], products, part)
        self.count += new

    def add_patches(self, patches: Float[Tensor, "channels taps patches"]) -> None:
        """Add some patches, whose products are summed in the type that they have, float32 at least."""
        new = patches.shape[2]
        values = patches.to(torch.promote_types(patches.dtype, torch.float32))
        mean = values.mean(2)
        values = values - mean[..., None]
        rest = values.mean(2).double()
        self._join(new, mean.double() + rest, (values @ values.mT).double() - new * _square(rest), slice(None))
        self.count += new

    def _join(self, new: int, mean: Tensor, products: Tensor, part: slice) -> None:
        """Join the moments of new patches of some channels to those of the ones before."""
        change = mean - self.mean[part]
        self.mean[part] += change * (new / (self.count + new))
        self.products[part] += products + _square(change) * (self.count * new / (self.count + new))


def _places(size: int, geometry: PatchGeometry, axis: int) -> Tensor:
    """Return for each tap along an axis the places where it comes to lie, as ones: shape (taps, size)."""
    taps, stride, dilation = geometry.kernel[axis], geometry.stride[axis], geometry.dilation[axis]
    reach = (taps - 1) * dilation
    starts = torch.arange(0, max(size - reach, 0), stride)
    places = torch.zeros(taps, size, dtype=torch.float64)
    return places.scatter_(1, torch.arange(taps)[:, None] * dilation + starts, 1.0)


def _summed_over(places: Sequence[Tensor], maps: Float[Tensor, "channels *sides"]) -> Float[Tensor, "channels *taps"]:
    """Return for each tap of a kernel the sum of a map over the places of the tap."""
    sums = maps @ places[-1].mT
    for axis in range(len(places) - 2, -1, -1):
        sums = (places[axis] @ sums.flatten(axis + 2)).unflatten(-1, sums.shape[axis + 2 :])
    return sums


def _products(maps: Tensor, places: Sequence[Tensor], dilation: Sequence[int]) -> Tensor:
    """Return the sums of products of all pairs of taps, shape (channels, taps, taps).

    Pairs of the same displacement share the product of the map with its shifted self, summed over the images, of which
    each pair adds up another part.
    """
    kernel = tuple(map(len, places))
    every = (slice(None), slice(None))
    tap = torch.arange(prod(kernel)).view(kernel)
    out = maps.new_empty(maps.shape[1], tap.numel(), tap.numel())
    for steps in _displacements(kernel):
        one, other = _ends(kernel, steps)
        here, there = _ends(maps.shape[2:], [step * reach for step, reach in zip(steps, dilation, strict=True)])
        parts = [known[taps, region] for known, taps, region in zip(places, one, here, strict=True)]
        sums = _summed_over(parts, _summed_product(maps[every + here], maps[every + there]))
        out[:, tap[one], tap[other]] = sums
        out[:, tap[other], tap[one]] = sums
    return out


def _displacements(kernel: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the displacements between two taps, of each and its opposite only one."""
    none = (0,) * len(kernel)
    return (steps for steps in product(*(range(1 - taps, taps) for taps in kernel)) if steps >= none)


def _ends(lengths: Sequence[int], steps: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return, axis by axis, the places from which a step leads to another place, and the places to which it leads."""
    pairs = list(zip(lengths, steps, strict=True))
    return (
        tuple(slice(max(0, -step), length - max(0, step)) for length, step in pairs),
        tuple(slice(max(0, step), length - max(0, -step)) for length, step in pairs),
    )


def _summed_product(one: Tensor, other: Tensor) -> Tensor:
    """Return the sum over the images of the products, with memory for no more than one image."""
    total = one[0] * other[0]
    for first, second in zip(one[1:], other[1:], strict=True):
        total.addcmul_(first, second)
    return total


def _square(vector: Tensor) -> Tensor:
    return vector[:, :, None] * vector[:, None, :]


class ChannelMoments:
    """Number, mean and centred squares of what the channels of maps hold.

    `count`: values so far, per channel.
    `mean`: shape (channels,).
    `squares`: shape (channels,); sums of the squares of the values less their mean.

    Maps are joined by the formulas of :class:`PatchMoments`. Each map is centred and added up in the type that it has,
    float32 at least, and all sums of maps in float64.
    """

    def __init__(self, channels: int, device: torch.device) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64, device=device)
        self.squares = torch.zeros(channels, dtype=torch.float64, device=device)

    def add(self, maps: Float[Tensor, "images channels *rest"]) -> None:
        """Add maps with at least one value for each channel."""
        values = maps.to(torch.promote_types(maps.dtype, torch.float32)).reshape(*maps.shape[:2], -1)
        new = values.shape[0] * values.shape[2]
        shift = values.mean((0, 2))
        centred = values - shift[:, None]
        rest = centred.mean(2).double().mean(0)
        squares = centred.square_().sum(2).double().sum(0) - new * rest.square()
        change = shift.double() + rest - self.mean
        self.mean += change * (new / (self.count + new))
        self.squares += squares.clamp_min(0) + change.square() * (self.count * new / (self.count + new))
        self.count += new

    def variance(self, *, unbiased: bool) -> Float[Tensor, "channels"]:
        """Return the mean of the squares, or what estimates that of the whole population of two values or more."""
        return self.squares / (self.count - unbiased)
