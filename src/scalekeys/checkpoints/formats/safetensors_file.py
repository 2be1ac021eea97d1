"""``.safetensors``: a header of shapes, then the values; only what is asked for is read."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from scalekeys.checkpoints.core.changes import Change, Copying, overwrite_in_file
from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.inventory import TensorInfo
from scalekeys.checkpoints.core.kinds import PREFERRED, Wanted
from scalekeys.checkpoints.core.state_dict import from_state_dict
from scalekeys.checkpoints.formats.stored.archive import damaged
from scalekeys.checkpoints.formats.stored.sources import whole
from scalekeys.errors import CheckpointError
from scalekeys.files import open_regular

DISTRIBUTED = "DCP_SHARDING_INFO"
"""What the header of a file calls the places of its parts of tensors, where several processes have written one each."""

_PART = "the file is a part of a checkpoint of several processes and may hold parts of tensors; give its folder"
LARGEST_HEADER = 100_000_000
_LENGTH = 8  # bytes of the length of the header, which the header follows and then the values
_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "BOOL": "bool",
    "C64": "complex64",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


def matches(head: bytes) -> bool:
    """Tell whether a file that starts so has the length of a JSON header, and its first brace."""
    return head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= LARGEST_HEADER


def open_safetensors(path: Path, wanted: Wanted = PREFERRED) -> Checkpoint:
    """Open a safetensors file.

    The format does not keep the order of the network: layers are sorted by the habits of their names.

    Raises CheckpointError if the file is damaged or cut short, or the copy of the network that is wanted is not there.
    """
    metadata, tensors = header_of(path)
    places, content = _places(path), whole(path)

    def load(key: str) -> Tensor:
        entry, start, stop = places[key]  # the library would read all of the header again, or keep values in memory
        return decoded(entry, content.read(start, stop - start), label=str(path))

    opened = from_state_dict(
        tensors,
        load,
        wanted,
        label=str(path),
        model=path.stem,
        in_network_order=False,
        notes=notes_on(metadata),
    )
    return replace(opened, copying=Copying(partial(_write, path), files=(path,)))


def header_of(path: Path, *, label: str | None = None) -> tuple[Mapping[str, str], dict[str, TensorInfo]]:
    """Return what the header of a file says: its metadata, and the shape and type of each tensor.

    Raises CheckpointError if the file is damaged or cut short.
    """
    with _opened(path, label) as file:
        tensors = {key: _info(file.get_slice(key)) for key in file.keys()}  # noqa: SIM118 (not a dict)
        return dict(file.metadata() or {}), tensors


def decoded(entry: Mapping[str, Any], content: bytearray, *, label: str) -> Tensor:
    """Return a tensor that keeps its values in the bytes that are given, by what the header says of it.

    Raises CheckpointError if they are not all there, or their type is none that torch has.

    >>> decoded({"dtype": "F32", "shape": [2]}, bytearray(8), label="net")
    tensor([0., 0.])
    """
    dtype: torch.dtype | None = getattr(torch, _DTYPES.get(entry["dtype"], ""), None)
    shape = entry["shape"]
    if dtype is None:
        raise damaged(label, f"it holds {entry['dtype']}, which is not read")
    if len(content) != prod(shape) * dtype.itemsize:
        raise damaged(label, f"{len(content)} bytes of a tensor of shape {shape}")
    return torch.frombuffer(content, dtype=dtype).view(shape) if content else torch.empty(shape, dtype=dtype)


def notes_on(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Say in a note that a file is one of several that hold parts of tensors, where its metadata say so."""
    return (_PART,) if DISTRIBUTED in metadata else ()


@contextmanager
def _opened(path: Path, label: str | None = None) -> Iterator[Any]:
    try:
        name = str(path).encode().decode()
    except UnicodeEncodeError:  # which the library takes for damage
        raise CheckpointError(f"{path}: has a name that is not UTF-8, as safetensors wants it; rename it") from None
    try:
        with safe_open(name, framework="pt", device="cpu") as file:
            yield file
    except SafetensorError as error:
        raise damaged(label or str(path), error) from None


def _write(path: Path, changes: Sequence[Change], target: Path) -> tuple[str, ...]:
    """Copy a file, header and all, with the bytes of some weights overwritten; there is nothing to say about it."""
    shutil.copyfile(path, target)
    places = _places(path)
    with target.open("r+b") as file:
        for change in changes:
            overwrite_in_file(file, change, places[change.key][1])
    return ()


def _places(path: Path) -> dict[str, tuple[Mapping[str, Any], int, int]]:
    """Return what the header says of each tensor, and where its bytes start and stop in the file."""
    with open_regular(path) as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        header = json.loads(file.read(length))
    first = _LENGTH + length
    return {
        key: (entry, *(first + offset for offset in entry["data_offsets"]))
        for key, entry in header.items()
        if key != "__metadata__"
    }


def _info(part: Any) -> TensorInfo:
    return TensorInfo(tuple(part.get_shape()), _DTYPES.get(part.get_dtype(), part.get_dtype().lower()))
