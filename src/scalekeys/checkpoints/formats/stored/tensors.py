"""Tensors whose numbers stay in their file until they are asked for."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scalekeys.checkpoints.core.changes import extent
from scalekeys.checkpoints.core.inventory import Lazy
from scalekeys.checkpoints.core.refused import NO_SHAPE, Refused
from scalekeys.checkpoints.formats.stored.sources import Bytes

_MOST_NUMBERS = 1 << 56
_MOST_AXES = 64


@dataclass(frozen=True, eq=False)
class Stored(Lazy):
    """A tensor that is a view of the numbers of a storage."""

    storage: Bytes
    """The storage; tensors that share one share their memory."""
    dtype: torch.dtype
    offset: int = 0
    """Where the tensor starts there, in numbers."""
    shape: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    """`shape` and `stride`: as in :func:`torch.as_strided`."""
    swapped: bool = False
    """Whether the bytes of each number stand in the order of other machines."""

    @property
    def start(self) -> int:
        """Where the tensor starts in its storage, in bytes."""
        return self.offset * self.dtype.itemsize

    def load(self) -> Tensor:
        """Read the numbers of the tensor, and no others; raises ValueError if they are not all there."""
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=self.dtype)
        wanted = extent(self.shape, self.stride) * self.dtype.itemsize
        content = self.storage.read(self.start, wanted)
        if len(content) != wanted:
            raise ValueError(f"{wanted} bytes of numbers are wanted and {len(content)} are there")
        if self.swapped and self.dtype.itemsize > 1:
            size = self.dtype.itemsize // (2 if self.dtype.is_complex else 1)
            content = bytearray(np.frombuffer(content, f"u{size}").byteswap().tobytes())
        numbers = torch.frombuffer(content, dtype=torch.uint8).view(self.dtype)
        return numbers.as_strided(self.shape, self.stride)

    def overlaps(self, other: "Stored") -> bool:
        """Tell whether two tensors lie in one stretch of one storage."""
        mine, others = (range(one.offset, one.offset + extent(one.shape, one.stride)) for one in (self, other))
        return self.storage is other.storage and mine.start < others.stop and others.start < mine.stop


@dataclass(eq=False)
class Sparse(Lazy):
    """A tensor of which only some numbers are stored: their places, and their values."""

    layout: torch.layout
    parts: tuple[Stored, ...]
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        self.dtype = self.parts[-1].dtype

    def load(self) -> Tensor:
        """Read the parts and put them together; places outside the shape are a ValueError."""
        parts = [part.load() for part in self.parts]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that the layout is in beta
                if self.layout == torch.sparse_coo:
                    return torch.sparse_coo_tensor(parts[0], parts[1], self.shape, check_invariants=True)
                places, more, values = parts
                return torch.sparse_compressed_tensor(
                    places, more, values, self.shape, layout=self.layout, check_invariants=True
                )
        except RuntimeError as error:
            raise ValueError(f"a sparse tensor that cannot be put together ({str(error)[:200]})") from None


@dataclass(eq=False)
class Quantised(Lazy):
    """A tensor of integers with a scale and a zero, one for all or one for each slice along an axis."""

    integers: Stored
    scales: "Stored | float"
    zeros: "Stored | int"
    axis: int = 0

    def __post_init__(self) -> None:
        self.shape, self.dtype = self.integers.shape, torch.float32

    def load(self) -> Tensor:
        """Read the integers and return what they stand for.

        As in torch, several scales with integers as zeros are used in float64 and all others in float32.
        """
        scales, zeros = (
            part.load() if isinstance(part, Stored) else torch.tensor(part) for part in (self.scales, self.zeros)
        )
        dtype = torch.float64 if scales.ndim and not zeros.dtype.is_floating_point else torch.float32
        along = [-1 if axis == self.axis else 1 for axis in range(len(self.shape))] if scales.ndim else []
        integers, scales, zeros = (part.to(dtype) for part in (self.integers.load(), scales, zeros))
        return ((integers - zeros.reshape(along)) * scales.reshape(along)).float()


@dataclass(frozen=True, eq=False)
class Piece:
    """A block of a larger tensor: where it starts along each axis, how long it is, and what reads it."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    read: Callable[[], Tensor]


@dataclass(frozen=True, eq=False)
class Assembled(Lazy):
    """A tensor that several processes have saved, each a part of it."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    pieces: tuple[Piece, ...]

    def load(self) -> Tensor:
        """Read the pieces and put them together; a gap, an overlap or a piece of another shape is a ValueError."""
        pieces = {(piece.offsets, piece.sizes): piece for piece in self.pieces}  # several processes may save the same
        if sum(prod(piece.sizes) for piece in pieces.values()) != prod(self.shape):
            raise ValueError("some of its pieces are missing, or overlap")
        read = [(piece, piece.read()) for piece in pieces.values()]  # before memory is taken for what they may not fill
        whole, filled = torch.empty(self.shape, dtype=self.dtype), torch.zeros(self.shape, dtype=torch.bool)
        for piece, values in read:
            place = tuple(slice(at, at + size) for at, size in zip(piece.offsets, piece.sizes, strict=True))
            if tuple(values.shape) != piece.sizes or whole[place].shape != values.shape or values.dtype != self.dtype:
                raise ValueError(f"a piece of shape {tuple(values.shape)} where one of {piece.sizes} belongs")
            whole[place], filled[place] = values, True
        if not bool(filled.all()):
            raise ValueError("some of its pieces are missing")
        return whole


TOO_SHORT = "the file does not hold as many numbers as its shape needs"


def stored(
    storage: Bytes, dtype: torch.dtype, shape: Any, stride: Any = None, *, offset: Any = 0, swapped: bool = False
) -> Stored | Refused:
    """Return a tensor in a storage, or a refusal where it does not lie in there.

    >>> from scalekeys.checkpoints.formats.stored.sources import MemoryBytes
    >>> stored(MemoryBytes(bytes(16)), torch.float32, (2, 2)).load()
    tensor([[0., 0.],
            [0., 0.]])
    >>> stored(MemoryBytes(bytes(16)), torch.float32, (2, 3)).reason
    'the file does not hold as many numbers as its shape needs'
    """
    lengths, start = whole_lengths(shape), whole_lengths((offset,))
    if lengths is None or start is None:
        return Refused((), NO_SHAPE)
    steps_along = steps(lengths) if stride is None else tuple(stride) if _are_lengths(stride) else None
    if steps_along is None or len(steps_along) != len(lengths):
        return Refused((), NO_SHAPE)
    if prod(lengths) and (offset + extent(lengths, steps_along)) * dtype.itemsize > storage.size:
        return Refused(lengths, TOO_SHORT)
    return Stored(storage, dtype, offset, lengths, steps_along, swapped)


def steps(shape: Sequence[int], *, fortran: bool = False) -> tuple[int, ...]:
    """Return the stride of a tensor without gaps, whose last axis (or first) runs fastest.

    >>> steps((4, 3, 2)), steps((4, 3, 2), fortran=True)
    ((6, 2, 1), (1, 4, 12))
    """
    if fortran:
        return tuple(prod(shape[:axis]) for axis in range(len(shape)))
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def whole_lengths(values: Any) -> tuple[int, ...] | None:
    """Return lengths as a tuple; None where they are none, or their product is beyond any memory.

    >>> whole_lengths([4, 1]), whole_lengths((-4, 1)), whole_lengths("ab")
    ((4, 1), None, None)
    """
    return tuple(values) if _are_lengths(values) and prod(values) <= _MOST_NUMBERS else None


def _are_lengths(values: Any) -> bool:
    if not isinstance(values, tuple | list) or len(values) > _MOST_AXES:
        return False
    return not any(type(value) is not int or not 0 <= value <= _MOST_NUMBERS for value in values)
