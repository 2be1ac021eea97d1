"""Moments of patches: how often each pair of taps of a kernel sees what, over any number of maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from scalekeys.threads import one_thread

_BYTES = 2**25  # of the channels that are worked on at a time


@dataclass(frozen=True)
class Window:
    """Where the patches of a convolution lie; pairs are (rows, columns).

    Parameters
    ----------
    kernel, stride, dilation : tuple of int
    padding : tuple of int
        Zeros before the first column, after the last, above the first row, below the last, as in ``F.pad``.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


class PatchMoments:
    """Number, mean and centred products of the patches of each channel.

    Parameters
    ----------
    channels, taps : int
    device : torch.device

    Attributes
    ----------
    count : int
        Patches so far, per channel.
    mean : Tensor, shape (channels, taps), float64
    products : Tensor, shape (channels, taps, taps), float64
        Sums over the patches of the products of two taps, each less its mean.

    Notes
    -----
    Chunks are centred before they are multiplied, and joined by the formulas of Chan, Golub and LeVeque, so that a
    large mean costs no digits and the result does not depend on how the maps come in batches.

    References
    ----------
    T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", The American Statistician
    37(3):242-247, 1983.
    """

    def __init__(self, channels: int, taps: int, device: torch.device) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, taps, dtype=torch.float64, device=device)
        self.products = torch.zeros(channels, taps, taps, dtype=torch.float64, device=device)

    @one_thread()
    def add(self, maps: Float[Tensor, "images channels rows cols"], window: Window) -> None:
        """Add all patches of some maps: at least one, and finite."""
        left, right, above, below = window.padding
        rows, cols = maps.shape[2] + above + below, maps.shape[3] + left + right
        by_row = _positions(rows, window, 0).to(maps.device)
        by_col = _positions(cols, window, 1).to(maps.device)
        new = maps.shape[0] * int(by_row[0].sum()) * int(by_col[0].sum())
        at_a_time = max(1, _BYTES // (8 * maps.shape[0] * rows * cols))
        for start in range(0, maps.shape[1], at_a_time):
            part = slice(start, start + at_a_time)
            padded = F.pad(maps[:, part].to(torch.float64), window.padding)
            shift = padded.mean((0, 2, 3), keepdim=True)
            padded -= shift
            mean = (by_row @ padded.sum(0) @ by_col.mT).flatten(1) / new
            products = _products(padded, by_row, by_col, window.dilation) - new * _square(mean)
            mean += shift.flatten()[:, None]
            change = mean - self.mean[part]
            self.mean[part] += change * (new / (self.count + new))
            self.products[part] += products + _square(change) * (self.count * new / (self.count + new))
        self.count += new


def _positions(size: int, window: Window, axis: int) -> Tensor:
    """Return for each tap along an axis the places where it comes to lie, as ones: shape (taps, size)."""
    taps, stride, dilation = window.kernel[axis], window.stride[axis], window.dilation[axis]
    reach = (taps - 1) * dilation
    starts = torch.arange(0, max(size - reach, 0), stride)
    places = torch.zeros(taps, size, dtype=torch.float64)
    return places.scatter_(1, torch.arange(taps)[:, None] * dilation + starts, 1.0)


def _products(maps: Tensor, by_row: Tensor, by_col: Tensor, dilation: Sequence[int]) -> Tensor:
    """Return the sums of products of all pairs of taps, shape (channels, taps, taps).

    Pairs of the same displacement share the product of the map with its shifted self, summed over the images, of which
    each pair adds up another part.
    """
    rows, cols = len(by_row), len(by_col)
    height, width = maps.shape[2:]
    out = maps.new_empty(maps.shape[1], rows, cols, rows, cols)
    for down in range(rows):
        high = slice(0, height - down * dilation[0])
        low = slice(down * dilation[0], height)
        upper = torch.arange(rows - down)[:, None]
        for across in range(1 - cols if down else 0, cols):
            first, last = max(0, -across), cols - max(0, across)
            begin, end = first * dilation[1], width - max(0, across) * dilation[1]
            here, there = slice(begin, end), slice(begin + across * dilation[1], end + across * dilation[1])
            product = _summed_product(maps[..., high, here], maps[..., low, there])
            sums = by_row[: rows - down, high] @ product @ by_col[first:last, here].mT
            left = torch.arange(first, last)
            out[:, upper, left, upper + down, left + across] = sums
            out[:, upper + down, left + across, upper, left] = sums
    return out.reshape(len(out), rows * cols, rows * cols)


def _summed_product(one: Tensor, other: Tensor) -> Tensor:
    """Return the sum over images of the products, without room for more than one image."""
    total = one[0] * other[0]
    for first, second in zip(one[1:], other[1:], strict=True):
        total.addcmul_(first, second)
    return total


def _square(vector: Tensor) -> Tensor:
    return vector[:, :, None] * vector[:, None, :]


class ChannelMoments:
    """Number, mean and centred squares of what the channels of maps hold.

    Parameters
    ----------
    channels : int
    device : torch.device

    Attributes
    ----------
    count : int
        Values so far, per channel.
    mean : Tensor, shape (channels,), float64
    squares : Tensor, shape (channels,), float64
        Sums of the squares of the values less their mean.

    Notes
    -----
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
