"""Arrays and scalars of NumPy in pickles, in every form in which NumPy has written them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from scalekeys.checkpoints.formats.pickled.stand_ins import Long, Name, StandIn
from scalekeys.checkpoints.formats.stored.sources import Bytes, MemoryBytes
from scalekeys.checkpoints.formats.stored.tensors import Stored

_LONGEST_DTYPE = 16
_NUMBERS = re.compile(r"[fiucb]\d{1,2}|(float|int|uint|complex|bool)\d{0,3}_?")
_EXTENSIONS = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")


@dataclass(eq=False)
class Dtype:
    """The type of an array, as far as a plain one can be told."""

    code: str
    order: str = "<"

    def build(self, state: Any) -> None:
        """Take the order of bytes, which comes after the type."""
        if isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], str):
            self.order = {"|": "<", "=": "<"}.get(state[1], state[1])

    @property
    def swapped(self) -> bool:
        """Whether the bytes of its values stand in the other order."""
        return self.order == ">"

    def to_torch(self) -> torch.dtype | None:
        """Return the type in torch; None where there is none for its values."""
        if self.code in _EXTENSIONS:
            found: torch.dtype = getattr(torch, self.code)
            return found
        if not _NUMBERS.fullmatch(self.code):
            return None
        try:
            return torch_dtype(np.dtype(self.code.removesuffix("_")))
        except (TypeError, ValueError):
            return None


@dataclass(eq=False)
class Array:
    """An array whose numbers stay where they are."""

    shape: Any = ()
    dtype: Any = None
    values: Any = None
    fortran: bool = False

    def build(self, state: Any) -> None:
        """Take shape, type and values, which come after the array."""
        if isinstance(state, tuple) and len(state) >= 4:
            self.shape, self.dtype, self.fortran, self.values = state[-4:]

    def bytes(self) -> Bytes | None:
        """Return where the numbers lie; None for an array of objects."""
        if isinstance(self.values, Long):
            return self.values.as_bytes()
        if isinstance(self.values, str):
            return MemoryBytes(self.values.encode("latin-1"))
        return MemoryBytes(self.values) if isinstance(self.values, bytes) else None


def torch_dtype(dtype: np.dtype[Any]) -> torch.dtype | None:
    """Return the type in torch of the values of an array; None where there is none.

    >>> torch_dtype(np.dtype(">f4")), torch_dtype(np.dtype("O"))
    (torch.float32, None)
    """
    found = getattr(torch, dtype.name, None) if dtype.kind in "fiubc" else None
    return found if isinstance(found, torch.dtype) else None


def _dtype(code: Any = None, *_: Any) -> Dtype:
    if isinstance(code, Name):  # as numpy.float32, of an object array or a scalar type
        code = code.name
    return Dtype(code if isinstance(code, str) and len(code) <= _LONGEST_DTYPE else "O")


def _scalar(dtype: Any = None, content: Any = b"", *_: Any) -> Any:
    found = dtype.to_torch() if isinstance(dtype, Dtype) else None
    content = content.encode("latin-1") if isinstance(content, str) else content
    if found is None or not isinstance(content, bytes) or len(content) != found.itemsize:
        return StandIn(Name("numpy", "scalar"))
    return Stored(MemoryBytes(content), found, swapped=dtype.swapped).load().item()


def _from_buffer(values: Any = None, dtype: Any = None, shape: Any = (), order: Any = "C", *_: Any) -> Array:
    return Array(shape, dtype, values, order == "F")


def _reconstruct(*_: Any) -> Array:
    return Array()


def encode(text: Any = "", *_: Any) -> Any:
    """Stand in for the function by which bytes are kept as text."""
    if isinstance(text, Long) and text.is_text:
        return Long(text.content, is_text=True, latin=True)
    return text.encode("latin-1") if isinstance(text, str) else text


_HOMES = ("numpy.core", "numpy._core")
ARRAYS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": encode,
    "numpy.dtype": _dtype,
    "numpy.ndarray": _reconstruct,
    **{f"{home}.multiarray._reconstruct": _reconstruct for home in _HOMES},
    **{f"{home}.multiarray.scalar": _scalar for home in _HOMES},
    **{f"{home}.numeric._frombuffer": _from_buffer for home in _HOMES},
}
"""What stands in for the functions by which NumPy puts arrays together."""
