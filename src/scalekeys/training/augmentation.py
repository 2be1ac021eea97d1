"""What is done to a batch of training images and its labels, on their device; randomness comes in as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from scalekeys.training.draws import Draws, is_mixup
from scalekeys.training.recipe import Augmentation

_ERASED_AREA, _ERASED_RATIO = (0.02, 1 / 3), 0.3
"""The area of an erased rectangle is uniform, and the logarithm of its ratio uniform up to that of 0.3 either way."""


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation of red, green and blue, from 0 to 1."""

    mean: Sequence[float]
    std: Sequence[float]

    def __call__(self, images: UInt8[Tensor, "images 3 rows cols"]) -> Float[Tensor, "images 3 rows cols"]:
        """Bring bytes to mean 0 and standard deviation 1."""
        mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (self.mean, self.std))
        return (images / 255 - mean) / std


def augmented(
    images: UInt8[Tensor, "images 3 rows cols"], draws: Draws, wanted: Augmentation, normalization: Normalization
) -> Float[Tensor, "images 3 rows cols"]:
    """Shift, flip, normalise, erase parts and mix pairs; crops that resize were made where images were decoded."""
    if wanted.crop == "shift":
        images = shifted(images, draws.crop[:, :2], wanted.pad)
    images = torch.where((draws.flip < wanted.flip)[:, None, None, None], images.flip(-1), images)
    values = normalization(images)
    if wanted.erasing:
        values = erased(values, draws, wanted.erasing)
    return mixed(values, draws, wanted) if wanted.mixup or wanted.cutmix else values


def shifted(
    images: UInt8[Tensor, "images channels rows cols"], where: Float[Tensor, "images 2"], pad: int
) -> UInt8[Tensor, "images channels rows cols"]:
    """Shift each image by up to so many pixels either way, zeros entering at the border.

    >>> shifted(torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8), torch.tensor([[0.5, 0.99]]), 1)
    tensor([[[[2, 3, 0]]]], dtype=torch.uint8)
    """
    _, channels, rows, cols = images.shape
    padded = F.pad(images, (pad,) * 4)
    start = (where * (2 * pad + 1)).long().clamp(max=2 * pad)  # the product may round up
    row = (start[:, :1] + torch.arange(rows, device=images.device))[:, None, :, None]
    col = (start[:, 1:] + torch.arange(cols, device=images.device))[:, None, None, :]
    image = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[:, None, None]
    return padded[image, channel, row, col]


def erased(images: Float[Tensor, "images channels rows cols"], draws: Draws, share: float) -> Tensor:
    """Fill a rectangle of noise into a share of the images.

    Z. Zhong et al., "Random erasing data augmentation", AAAI 2020.
    """
    rows, cols = images.shape[-2:]
    least, most = _ERASED_AREA
    area = (least + (most - least) * draws.erase[:, 1]) * rows * cols
    ratio = _ERASED_RATIO ** (2 * draws.erase[:, 2] - 1)
    sides = torch.stack([(area * ratio).sqrt().clamp(max=rows), (area / ratio).sqrt().clamp(max=cols)], dim=1)
    limits = torch.tensor([rows, cols], device=images.device)
    inside = _rectangles(draws.erase[:, 3:] * (limits - sides), sides, (rows, cols))
    chosen = (draws.erase[:, 0] < share)[:, None, None] & inside
    return torch.where(chosen[:, None], _noise(draws, images), images)


def _noise(draws: Draws, like: Tensor) -> Tensor:
    """Return white noise by the seed of each image: numbers of Box and Muller from a hash of the pixels."""
    pixel = torch.arange(like[0].numel(), device=like.device)
    number = draws.noise[:, None] * 747796405 + pixel * 2891336453 & 0xFFFFFFFF
    one, other = (((_hashed(number + step) >> 8) + 0.5) / 2**24 for step in (0, 0x9E3779B9))
    return ((-2 * one.log()).sqrt() * (2 * torch.pi * other).cos()).view(like.shape).to(like)


def _hashed(number: Tensor) -> Tensor:
    """Mix the 32 bits of each number, as the finaliser of MurmurHash3 does."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        number = (number & 0xFFFFFFFF) ^ (number & 0xFFFFFFFF) >> shift
        number = number * factor & 0xFFFFFFFF
    return number ^ number >> 16


def mixed(images: Float[Tensor, "images channels rows cols"], draws: Draws, wanted: Augmentation) -> Tensor:
    """Mix each image with the other one of its pair: a weighted mean, or a rectangle of the other.

    H. Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018. S. Yun et al., "CutMix: regularization
    strategy to train strong classifiers with localizable features", ICCV 2019.
    """
    other = images[partners(len(images), images.device)]
    average = is_mixup(draws, wanted)[:, None, None, None]
    share = draws.mix[:, 1, None, None, None]
    pasted = _pasted(draws, images.shape[-2:])[:, None]
    return torch.where(average, share * images + (1 - share) * other, torch.where(pasted, other, images))


def targets(
    labels: Int[Tensor, "images"], classes: int, draws: Draws, wanted: Augmentation, size: Sequence[int]
) -> Float[Tensor, "images classes"]:
    """Return what the network should say: smoothed labels, mixed as the images are.

    >>> from scalekeys.training.draws import epoch_draws
    >>> draws = next(epoch_draws(1, 1, 0, 0, Augmentation()))
    >>> targets(torch.tensor([1]), 4, draws, Augmentation(label_smoothing=0.1), (32, 32))
    tensor([[0.0250, 0.9250, 0.0250, 0.0250]])
    """
    wanted_classes = F.one_hot(labels, classes).float()
    if wanted.mixup or wanted.cutmix:
        kept = 1 - _pasted(draws, size).float().mean((-2, -1))
        share = torch.where(is_mixup(draws, wanted), draws.mix[:, 1], kept)[:, None]
        wanted_classes = share * wanted_classes + (1 - share) * wanted_classes[partners(len(labels), labels.device)]
    return wanted_classes * (1 - wanted.label_smoothing) + wanted.label_smoothing / classes


def partners(images: int, device: torch.device) -> Int[Tensor, "images"]:
    """Return the other image of each pair; the last of an odd number is its own.

    >>> partners(5, torch.device("cpu"))
    tensor([1, 0, 3, 2, 4])
    """
    return (torch.arange(images, device=device) ^ 1).clamp(max=images - 1)


def _pasted(draws: Draws, size: Sequence[int]) -> Tensor:
    """Tell which pixels come from the other image in cutmix; shape (images, rows, cols)."""
    limits = torch.tensor(size, device=draws.mix.device)
    sides = (1 - draws.mix[:, 1:2]).sqrt() * limits
    return _rectangles(draws.mix[:, 2:] * limits - sides / 2, sides, size)


def _rectangles(start: Tensor, sides: Tensor, size: Sequence[int]) -> Tensor:
    """Tell which pixels have their centre in the rectangle of an image; shape (images, rows, cols)."""
    along = []
    for axis, length in enumerate(size):
        position = torch.arange(length, device=start.device) + 0.5
        first, side = start[:, axis, None], sides[:, axis, None]
        along.append((position >= first) & (position < first + side))
    return along[0][:, :, None] & along[1][:, None, :]
