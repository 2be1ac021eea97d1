"""``.npz``: arrays of NumPy by name, a zip archive of ``.npy`` records; arrays of objects are never unpickled."""

import io
from collections.abc import Collection
from pathlib import Path
from tokenize import TokenError

import numpy as np

from scalekeys.checkpoints.core.inventory import Lazy
from scalekeys.checkpoints.core.refused import Refused
from scalekeys.checkpoints.formats.pickled.arrays import torch_dtype
from scalekeys.checkpoints.formats.stored.archive import damaged, open_archive
from scalekeys.checkpoints.formats.stored.sources import Bytes, whole
from scalekeys.checkpoints.formats.stored.tensors import steps, stored, whole_lengths

_LONGEST_HEADER = 10_000


def holds(names: Collection[str]) -> bool:
    """Tell whether a zip archive with records of these names is one of NumPy.

    >>> holds(["w.npy", "b.npy"]), holds(["net/data.pkl", "w.npy"]), holds([])
    (True, False, False)
    """
    return bool(names) and all(name.endswith(".npy") for name in names)


def read_npz(path: Path) -> dict[str, Lazy]:
    """Read an archive of arrays, which are the weights of one network by their names.

    Raises CheckpointError if it is damaged.
    """
    label = str(path)
    tensors: dict[str, Lazy] = {}
    for name, record in open_archive(whole(path), label).records.items():
        try:
            tensors[name.removesuffix(".npy")] = _array(record.content)
        except (ValueError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError) as error:
            raise damaged(label, f"{name[:80]!r}: {error}") from None
    return tensors


def _array(content: Bytes) -> Lazy:
    """Read the header of an array."""
    head = io.BytesIO(bytes(content.read(0, _LONGEST_HEADER + 16)))
    version = np.lib.format.read_magic(head)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(head, max_header_size=_LONGEST_HEADER)
    kept = torch_dtype(dtype)
    if kept is None:
        return Refused(whole_lengths(shape) or (), f"its values are of the type {str(dtype)[:40]!r}, not numbers")
    numbers = content.part(head.tell(), content.size)
    stride = steps(shape, fortran=fortran) if whole_lengths(shape) is not None else None
    return stored(numbers, kept, shape, stride, swapped=dtype.byteorder == ">")
