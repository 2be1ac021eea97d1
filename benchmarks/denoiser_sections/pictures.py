"""Pictures to train a denoiser on, and others to test it on."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scalekeys.errors import DataError
from scalekeys.images.pictures import packed_files, pictures_in, read_picture

SAMPLE = "sample_images"
"""The name of the two photographs that come with scikit-learn."""

_HELD_OUT, _FEW = 64, 20
_SIDE = 128  # of the squares of held-out pictures, at most


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures (channels, rows, columns) in bytes to train on, and squares of others (n, channels, side, side)."""

    train: list[Tensor]
    held_out: Tensor

    def crops(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        """Draw squares (count, channels, side, side) with values from 0 to 1, turned and mirrored at random."""
        return torch.stack([self._crop(side, generator) for _ in range(count)]).float() / 255

    def _crop(self, side: int, generator: torch.Generator) -> Tensor:
        def draw(end: int) -> int:
            return int(torch.randint(end, (), generator=generator))

        picture = self.train[draw(len(self.train))]
        top, left = (draw(length - side + 1) for length in picture.shape[1:])
        crop = picture[:, top : top + side, left : left + side]
        crop = crop.flip([axis for axis in (1, 2) if draw(2)])
        return crop.transpose(1, 2) if draw(2) else crop


def read_pictures(source: str, channels: int, side: int) -> Pictures:
    """Read pictures and hold some back: the test part of an archive or the last tenth, or of few a quarter of each.

    Raises
    ------
    DataError
        If there are none, or one is smaller than the squares to train on.
    """
    path = Path(source)
    if source == SAMPLE:
        train, test = _split(_sample(channels))
    elif path.is_dir():
        train, test = _split([_pixels(read_picture(file), channels) for file in pictures_in(path)])
    elif path.suffix == ".npz":
        train, test = _archive(path, channels)
    else:
        raise DataError(f"{source}: is neither a folder of pictures, nor an archive .npz, nor {SAMPLE}")
    if not train:
        raise DataError(f"{source}: holds no pictures")
    smallest = min(min(picture.shape[1:]) for picture in train)
    if smallest < side:
        raise DataError(f"{source}: a part to train on has a side of {smallest} pixels; give --crop {smallest} or less")
    length = min(_SIDE, *(min(picture.shape[1:]) for picture in test)) // 2 * 2
    return Pictures(train, torch.stack([_centre(picture, length) for picture in test[:_HELD_OUT]]))


def _split(pictures: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    if len(pictures) < _FEW:
        cuts = [picture.shape[2] * 3 // 4 for picture in pictures]
        parts = [(picture[..., :cut], picture[..., cut:]) for picture, cut in zip(pictures, cuts, strict=True)]
        return [left for left, _ in parts], [right for _, right in parts]
    cut = len(pictures) - max(1, len(pictures) // 10)
    return pictures[:cut], pictures[cut:]


def _sample(channels: int) -> list[Tensor]:
    from sklearn.datasets import load_sample_images

    return [_pixels(Image.fromarray(picture), channels) for picture in load_sample_images().images]


def _archive(path: Path, channels: int) -> tuple[list[Tensor], list[Tensor]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "jpeg_train" not in archive:
                return _split(list(_decoded(archive["jpeg"], archive["offs"], channels)))
            parts = [
                list(_decoded(archive[f"jpeg_{part}"], archive[f"offs_{part}"][:end], channels))
                for part, end in (("train", None), ("test", _HELD_OUT + 1))
            ]
    except Exception as error:  # the readers of archives, arrays and pictures have no common class
        raise DataError(f"{path}: cannot be read as an archive of JPEG pictures ({error})") from None
    return parts[0], parts[1]


def _decoded(jpeg: np.ndarray, offsets: np.ndarray, channels: int) -> Iterator[Tensor]:
    for file in packed_files(jpeg, offsets):
        with Image.open(io.BytesIO(file)) as picture:
            yield _pixels(picture, channels)


def _pixels(picture: Image.Image, channels: int) -> Tensor:
    array = np.array(picture.convert("L" if channels == 1 else "RGB"))
    return torch.from_numpy(array.reshape(*array.shape[:2], channels)).movedim(-1, 0).contiguous()


def _centre(picture: Tensor, length: int) -> Tensor:
    top, left = ((side - length) // 2 for side in picture.shape[1:])
    return picture[:, top : top + length, left : left + length]
