"""Batches of prepared pictures, which are read ahead of their use."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scalekeys.errors import DataError, listed
from scalekeys.images.labelled import Images

if TYPE_CHECKING:
    from PIL.Image import Image

_AHEAD = 2


def batches(
    images: Images,
    prepare: "Callable[[Image], Tensor]",
    *,
    size: int,
    indices: Sequence[int] | None = None,
    threads: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give pictures and their classes in batches: tensors (images, channels, rows, cols) and (images,).

    Parameters
    ----------
    images : Images
    prepare : callable
        Makes a tensor of a picture.
    size : int
        Of a batch.
    indices : sequence of int, optional
        Which pictures, in which order; by default all.
    threads : int, optional
        How many pictures are read at a time; by default as many as there are processors.

    Raises
    ------
    DataError
        If a picture cannot be read, or those of a batch have different sizes.
    """

    def load(index: int) -> tuple[Tensor, int]:
        image, number = images[index]
        return prepare(image), number

    wanted = range(len(images)) if indices is None else indices
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        coming: deque[list[Future[tuple[Tensor, int]]]] = deque()
        try:
            for start in range(0, len(wanted), size):
                coming.append([pool.submit(load, index) for index in wanted[start : start + size]])
                if len(coming) > _AHEAD:
                    yield _joined(images.label, coming.popleft())
            while coming:
                yield _joined(images.label, coming.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def sample(images: Images, count: int | None, seed: int = 0) -> list[int]:
    """Choose pictures at random, without repetition and in their order; all of them where `count` is None or larger."""
    if count is None or count >= len(images):
        return list(range(len(images)))
    generator = torch.Generator().manual_seed(seed)
    return sorted(torch.randperm(len(images), generator=generator)[:count].tolist())


def _joined(label: str, loaded: Sequence["Future[tuple[Tensor, int]]"]) -> tuple[Tensor, Tensor]:
    tensors, numbers = zip(*(future.result() for future in loaded), strict=True)
    shapes = sorted({tuple(tensor.shape) for tensor in tensors})
    if len(shapes) > 1:
        raise DataError(
            f"{label}: the preparation gives images of shapes {listed([str(shape) for shape in shapes], limit=3)}, "
            "which make no batch; give --size"
        )
    return torch.stack(tensors), torch.tensor(numbers)
