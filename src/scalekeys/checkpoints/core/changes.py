"""Other filters in stored weights: what is to be changed, and the numbers of a strided tensor in bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BufferedRandom
from math import prod
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from scalekeys.checkpoints.core.arrangement import LEADING, Arrangement, outputs_first
from scalekeys.errors import FilterError
from scalekeys.shapes import FilterStack

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True, eq=False)
class Change:
    """Filters to put in the place of others in one weight."""

    layer: str
    key: str
    """`layer` and `key`: name of the layer, and key of its weight."""
    places: Int[Tensor, "changed"]
    """Which filters of the layer are changed; the others keep their bits."""
    filters: Tensor
    """Shape (changed, *sides). Of the type that the weight is stored in."""
    shape: tuple[int, ...]
    """Of the stored weight."""
    arrangement: Arrangement = outputs_first
    """How the filters stand in the weight; it must give a view of the weight."""

    def apply_to(self, weight: Tensor) -> None:
        """Put the filters into a weight in memory, bit by bit, as types of few bits know no other way."""
        integer = _INTEGERS[weight.itemsize]
        arranged = self.arrangement(weight.view(integer))
        places = torch.unravel_index(self.places.to(weight.device), arranged.shape[:LEADING])
        arranged[places] = self.filters.to(weight).view(integer)


Write: TypeAlias = Callable[[Sequence[Change], Path], tuple[str, ...]]
"""Writes a copy of a source with changes to a path, which does not exist, and says what a user should know of it."""


@dataclass(frozen=True)
class Copying:
    """How to make a copy of a source in which the weights of some layers are changed and nothing else."""

    write: Write
    files: tuple[Path, ...] = ()
    """What the source consists of, so that no copy overwrites it."""
    is_folder: bool = False
    suffixes: tuple[str, ...] = ()
    """What the copy may be called, where this decides its format; empty where it has the format of the source."""
    can_change: Callable[[str], bool] = lambda _key: True
    """Tells of the key of a weight whether it is stored so that other numbers can be put in its place."""


def cast(filters: FilterStack, dtype: torch.dtype, *, layer: str) -> Tensor:
    """Round filters to the type that they are stored in.

    Raises FilterError if one is too large for it.

    >>> cast(torch.full((1, 1, 1), 1 / 3), torch.float16, layer="dw")
    tensor([[[0.3333]]], dtype=torch.float16)
    """
    rounded = filters.detach().cpu().to(dtype)
    largest = float(filters.abs().max())
    if not (bool(rounded.to(filters.dtype).isfinite().all()) and largest <= torch.finfo(dtype).max):
        raise FilterError(
            f"layer {layer!r}: a filter with the value {largest:.3g} cannot be stored as "
            f"{str(dtype).removeprefix('torch.')}; keep this layer, or convert the weights to float32"
        )
    return rounded


def overwrite(content: bytearray, change: Change, *, start: int = 0, stride: Sequence[int] | None = None) -> None:
    """Put changed filters into the bytes of a weight, and leave the other bytes as they are.

    `content`: the bytes of a storage, or a part of them.
    `start`: where the weight starts in them, in bytes: a multiple of the size of a number.
    `stride`: steps along the axes of the weight, in numbers; by default those of a weight without gaps.
    """
    size = change.filters.itemsize
    numbers = torch.frombuffer(content, dtype=_INTEGERS[size])
    steps = torch.empty(change.shape, device="meta").stride() if stride is None else stride
    weight = numbers.as_strided(change.shape, steps, start // size)
    arranged = change.arrangement(weight).numpy()  # several filters may be one place in memory, which torch refuses
    places = np.unravel_index(change.places.numpy(), arranged.shape[:LEADING])
    arranged[places] = change.filters.contiguous().view(_INTEGERS[size]).numpy()


def overwrite_in_file(file: BufferedRandom, change: Change, start: int, stride: Sequence[int] | None = None) -> None:
    """Put changed filters into a file in which their weight starts at a byte; see :func:`overwrite`."""
    file.seek(start)
    content = bytearray(file.read(change.filters.itemsize * extent(change.shape, stride)))
    overwrite(content, change, stride=stride)
    file.seek(start)
    file.write(content)


def extent(shape: Sequence[int], stride: Sequence[int] | None = None) -> int:
    """Return how many numbers of a storage lie between the first and the last of a tensor, both included.

    >>> extent((4, 1, 3, 3)), extent((4, 1, 3, 3), (1, 1, 12, 4))
    (36, 36)
    """
    if stride is None or 0 in shape:
        return prod(shape)
    return 1 + sum((side - 1) * step for side, step in zip(shape, stride, strict=True))


def bits(filters: Tensor) -> np.ndarray:
    """Return the numbers of a tensor as unsigned integers of the same size, bit by bit."""
    array: np.ndarray = filters.contiguous().view(torch.uint8).numpy()
    return array.view(f"u{filters.itemsize}").reshape(filters.shape)
