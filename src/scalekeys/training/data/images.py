"""Labelled images: kept in memory, or decoded when they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from scalekeys.errors import RecipeError
from scalekeys.images import Images
from scalekeys.images.preparation import Preprocessing
from scalekeys.optional import require
from scalekeys.training.draws import Draws
from scalekeys.training.recipe import Augmentation

if TYPE_CHECKING:
    from PIL.Image import Image

_RATIO = 4 / 3
"""The logarithm of the ratio of a resized crop is uniform up to that of this either way."""
_SMALL = 64  # pixels; images that are made for such networks show nothing but their subject

Labelled = tuple[Tensor, Tensor]


class ImageSet(Protocol):
    """A data set whose items are whole batches: ``images[rows]`` as it is, ``images[draws]`` for training."""

    @property
    def labels(self) -> Int[Tensor, "images"]:
        """Numbers of the classes."""

    @property
    def decodes(self) -> bool:
        """Whether images are decoded when they are asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, batch: Tensor | Draws) -> Labelled: ...


@dataclass(frozen=True, eq=False)
class MemoryImages:
    """Images of one size in memory."""

    pixels: UInt8[Tensor, "images 3 rows cols"]
    labels: Int[Tensor, "images"]
    decodes: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, batch: Tensor | Draws) -> Labelled:
        rows = batch.rows if isinstance(batch, Draws) else batch
        return self.pixels[rows], self.labels[rows]


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """Images that are decoded when asked for, in the processes that load them."""

    images: Images
    numbers: Int[Tensor, "images"]
    """Which of its images."""
    labels: Int[Tensor, "images"]
    size: int
    """Side of the result."""
    augmentation: Augmentation
    decodes: bool = True

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, batch: Tensor | Draws) -> Labelled:
        if isinstance(batch, Draws):
            rows, crops = batch.rows, batch.crop.tolist() if self.augmentation.crop == "resized" else None
        else:
            rows, crops = batch, None
        images = [self.images[number][0] for number in self.numbers[rows].tolist()]
        if crops is None:
            pixels = [centred(image, self.size) for image in images]
        else:
            least = self.augmentation.least_area
            pixels = [cropped(image, crop, self.size, least) for image, crop in zip(images, crops, strict=True)]
        return torch.stack(pixels), self.labels[rows]


def centred(image: "Image", size: int) -> UInt8[Tensor, "3 size size"]:
    """Return the square in the middle of an image, as :class:`Preprocessing` cuts it.

    One that has the size already stays as it is, and of one for a small network nothing is cut off on the short side.
    """
    if image.size == (size, size):
        return _pixels(image)
    share = Preprocessing.crop_pct if size > _SMALL else 1.0
    return Preprocessing((size, size), share).pixels(image)


def cropped(image: "Image", numbers: Sequence[float], size: int, least_area: float) -> UInt8[Tensor, "3 size size"]:
    """Return a part of random area, ratio and place, resized to a square.

    `numbers`: for area, ratio and place.
    `least_area`: as a share of the image.
    """
    width, height = image.size
    area = (least_area + (1 - least_area) * numbers[0]) * width * height
    ratio = _RATIO ** (2 * numbers[1] - 1)
    cols, rows = min((area * ratio) ** 0.5, width), min((area / ratio) ** 0.5, height)
    left, top = numbers[2] * (width - cols), numbers[3] * (height - rows)
    return _resized(image, (left, top, left + cols, top + rows), size)


def _resized(image: "Image", box: tuple[float, float, float, float], size: int) -> Tensor:
    bicubic = require("PIL.Image", extra="train").Resampling.BICUBIC
    return _pixels(image.convert("RGB").resize((size, size), bicubic, box=box, reducing_gap=2.0))


def _pixels(image: "Image") -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def in_memory(images: ImageSet, side: int) -> MemoryImages:
    """Decode all images once; raises RecipeError if that needs more memory than can be had."""
    try:
        pixels = torch.empty(len(images), 3, side, side, dtype=torch.uint8)
    except RuntimeError:
        raise RecipeError(
            f"{len(images)} images of {side} x {side} do not fit in memory; set data.in_memory: false"
        ) from None
    for rows in torch.arange(len(images)).split(256):
        pixels[rows] = images[rows][0]
    return MemoryImages(pixels, images.labels)
