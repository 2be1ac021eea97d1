"""The 500 images of ``../shared/data`` as tensors for MCUNet, or as a tree of class folders. A regression set only.

``python benchmarks/imagenet_sample.py FOLDER`` writes the tree: ``FOLDER/LABEL/NUMBER.jpg``, the JPEG bytes unchanged;
with ``../shared/data/cifar10_jpeg.npz 2000`` after it, that of the first 2,000 test images of CIFAR-10.
"""

import sys
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from scalekeys.images.pictures import packed_files

SAMPLE = Path(__file__).resolve().parents[2] / "shared" / "data" / "imagenet_sample_500.npz"
SIDE = 176


def read(path: Path | str = SAMPLE, *, limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Return images (n, 3, 176, 176), normalised with mean 0.5 and deviation 0.5, and labels (n,)."""
    images, labels = [], []
    for pixels, label in pictures(path, limit=limit):
        small = F.interpolate(pixels[None], size=(SIDE, SIDE), mode="bicubic", antialias=True)
        images.append(small[0].clamp(0, 1))  # bicubic overshoots; rounding to bytes would cost a point of accuracy
        labels.append(label)
    return (torch.stack(images) - 0.5) / 0.5, torch.tensor(labels)


def batches(path: Path | str = SAMPLE, *, size: int = 50, limit: int | None = None) -> list[tuple[Tensor, Tensor]]:
    """Return the images and labels of :func:`read` in batches, in their order."""
    images, labels = read(path, limit=limit)
    return list(zip(images.split(size), labels.split(size), strict=True))


def pictures(path: Path | str = SAMPLE, *, limit: int | None = None) -> Iterator[tuple[Tensor, int]]:
    """Give images (3, rows, cols) with values from 0 to 1 as they are in the file, and their labels."""
    for jpeg, label in islice(_files(path), limit):
        with Image.open(BytesIO(jpeg)) as image:
            yield torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0).float() / 255, label


def write_tree(folder: Path | str, path: Path | str = SAMPLE, limit: str | None = None) -> None:
    """Write the images into one folder for each label, named by its number."""
    for number, (jpeg, label) in enumerate(islice(_files(path), None if limit is None else int(limit))):
        home = Path(folder) / str(label)
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{number:04d}.jpg").write_bytes(jpeg)


def _files(path: Path | str) -> Iterator[tuple[bytes, int]]:
    data = dict(np.load(path))
    names = ("offs", "label", "jpeg") if "jpeg" in data else ("offs_test", "y_test", "jpeg_test")
    starts, labels, jpeg = (data[name] for name in names)
    yield from zip(packed_files(jpeg, starts), labels.tolist(), strict=True)


if __name__ == "__main__":
    write_tree(*sys.argv[1:])
