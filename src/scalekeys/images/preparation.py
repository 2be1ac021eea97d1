"""From a picture to what a network takes: resized, cropped, normalised."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from scalekeys.errors import ModelError

if TYPE_CHECKING:
    from PIL.Image import Image

Interpolation: TypeAlias = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
INTERPOLATIONS: tuple[Interpolation, ...] = get_args(Interpolation)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

MOST_PIXELS = 2**24
"""More pixels than a picture that a network takes has: a batch of such pictures takes gigabytes."""

_LONGEST = 16
"""How many times as long as the crop a picture is resized at most."""
MODES = {1: "L", 3: "RGB"}
"""What Pillow calls pictures of so many channels."""


@dataclass(frozen=True)
class Preparation:
    """What makes a tensor (channels, rows, cols) of a picture."""

    function: "Callable[[Image], Tensor]"
    figures: Mapping[str, Any]
    """What it does, for people and for machines."""

    def __call__(self, image: "Image") -> Tensor:
        """Prepare a picture."""
        return self.function(image)


@dataclass(frozen=True)
class Preprocessing:
    """The usual preparation of a picture for a classifier: its middle at a given size, channels normalised.

    `size`: rows and columns of the result.
    `crop_pct`: share of the shorter side that is kept: the picture is first resized, its proportions kept, so that it
    just covers the size divided by this, and then cropped in the middle.
    `mean`, `std`: what is subtracted from channels between 0 and 1, and by what they are divided; three numbers for
    colours, one for grey.
    `interpolation`: of the resizing, which Pillow does on bytes.
    Raises ModelError if a number makes no sense.

    >>> from PIL import Image
    >>> Preprocessing((224, 224))(Image.new("RGB", (640, 480), "white")).shape
    torch.Size([3, 224, 224])
    """

    size: tuple[int, int]
    crop_pct: float = 0.875
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: Interpolation = "bicubic"

    def __post_init__(self) -> None:
        check_size(self.size, self.crop_pct)
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if not (len(self.mean) in MODES and len(self.mean) == len(self.std) and finite and min(self.std) > 0):
            raise ModelError(
                f"mean and std are three numbers each for colours, or one for grey, all of them finite, and every std "
                f"is above 0; got {self.mean} and {self.std}"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise ModelError(
                f"interpolation is one of {', '.join(map(repr, INTERPOLATIONS))}, got {self.interpolation!r}"
            )

    def __call__(self, image: "Image") -> Float[Tensor, "channels rows cols"]:
        """Prepare a picture."""
        mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (self.mean, self.std))
        return (self.pixels(image).float() / 255 - mean) / std

    def pixels(self, image: "Image") -> UInt8[Tensor, "channels rows cols"]:
        """Return the resized middle of a picture, as bytes that are not yet normalised."""
        rows, cols = self.size
        picture = self._resized(self._middle(image).convert(MODES[len(self.mean)]))
        left, top = round((picture.width - cols) / 2), round((picture.height - rows) / 2)
        values = np.array(picture.crop((left, top, left + cols, top + rows)))
        return torch.from_numpy(values.reshape(rows, cols, len(self.mean))).movedim(-1, 0)

    def _middle(self, image: "Image") -> "Image":
        """Cut off what is far beyond the crop, as a picture of 1 x 60000 pixels would fill the memory when resized."""
        sides, wanted = (image.width, image.height), self.size[::-1]
        most = [_LONGEST * max(1, math.ceil(wanted[i] / wanted[1 - i])) * sides[1 - i] for i in (0, 1)]
        over = [max(0, (side - limit) // 2) for side, limit in zip(sides, most, strict=True)]
        return image.crop((*over, sides[0] - over[0], sides[1] - over[1])) if any(over) else image

    def _resized(self, image: "Image") -> "Image":
        from PIL.Image import Resampling

        rows, cols = (math.floor(side / self.crop_pct) for side in self.size)
        if rows * image.width > cols * image.height:
            cols = max(cols, rows * image.width // image.height)
        else:
            rows = max(rows, cols * image.height // image.width)
        if (cols, rows) == image.size:
            return image
        return image.resize((cols, rows), Resampling[self.interpolation.upper()])

    def preparation(self) -> Preparation:
        """Return it with its figures."""
        return Preparation(self, vars(self))


def check_size(size: tuple[int, int], crop_pct: float = 1.0) -> None:
    """Refuse a size of images that makes no sense, or takes more memory than there is.

    `size`: rows and columns.
    `crop_pct`: share of the shorter side that is kept.
    Raises ModelError if a side is empty, the share is no share, or the images have too many pixels before the crop.
    """
    if min(size) < 1:
        raise ModelError(f"images need at least one pixel on each side, got a size of {size}")
    if not 0 < crop_pct <= 1:
        raise ModelError(f"crop_pct is the share of an image that is kept, above 0 and up to 1, got {crop_pct}")
    if math.prod(size) > MOST_PIXELS * crop_pct**2:
        larger = f", cut out of images {1 / crop_pct:.3g} times as wide" if crop_pct < 1 else ""
        raise ModelError(
            f"images of {size[0]} x {size[1]} pixels{larger}: more than {MOST_PIXELS} pixels, which no network takes; "
            "give the size of the inputs of the network"
        )
