"""Folders of safetensors files that several processes have written, each with its part of every tensor."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from scalekeys.checkpoints.core.inventory import Lazy
from scalekeys.checkpoints.formats.safetensors_file import DISTRIBUTED, header_of, open_safetensors
from scalekeys.checkpoints.formats.stored.archive import damaged
from scalekeys.checkpoints.formats.stored.tensors import Assembled, Piece, whole_lengths
from scalekeys.errors import CheckpointError
from scalekeys.files import parse_json

_SHARD = re.compile(r"shard-\d+-.*\.safetensors")


def matches_folder(folder: Path) -> bool:
    """Tell whether a folder holds the parts of tensors that several processes have written."""
    return any(_SHARD.fullmatch(path.name) for path in _files(folder))


def read_shards(path: Path) -> dict[str, Lazy]:
    """Read a folder of parts as the one network that they are of.

    Raises CheckpointError if a part is damaged, or the parts do not fit together.
    """
    pieces: dict[str, list[Piece]] = {}
    dtypes: dict[str, set[str]] = {}
    for file in sorted(file for file in _files(path) if _SHARD.fullmatch(file.name)):
        part = open_safetensors(file)
        offsets = _offsets(file)
        for key, info in part.tensors.items():
            start = offsets.get(key, (0,) * len(info.shape))
            if len(start) != len(info.shape):
                raise damaged(str(file), f"the place of {key[:80]!r} has other axes than its values")
            pieces.setdefault(key, []).append(Piece(start, info.shape, partial(part.load, key)))
            dtypes.setdefault(key, set()).add(info.dtype)
    tensors: dict[str, Lazy] = {}
    for key, found in pieces.items():
        if len({len(piece.sizes) for piece in found}) > 1 or len(dtypes[key]) > 1:
            raise CheckpointError(f"{path}: the parts of {key!r} do not fit together; fetch them again")
        ends = [[at + size for at, size in zip(piece.offsets, piece.sizes, strict=True)] for piece in found]
        shape = whole_lengths(tuple(map(max, zip(*ends, strict=True))))
        dtype = getattr(torch, next(iter(dtypes[key])), None)
        if shape is None or not isinstance(dtype, torch.dtype):
            raise damaged(str(path), f"{key[:80]!r} has no shape or type that is known")
        tensors[key] = Assembled(shape, dtype, tuple(found))
    return tensors


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.suffix == ".safetensors" and path.is_file()]
    except OSError:
        return []


def _offsets(path: Path) -> Mapping[str, tuple[int, ...]]:
    """Read where the part of each tensor starts in the whole."""
    try:
        told = parse_json(header_of(path)[0].get(DISTRIBUTED, "{}"))
        found = {key: tuple(entry["saved_offsets"]) for key, entry in told.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(str(path), error) from None
    if not all(type(at) is int and at >= 0 for offsets in found.values() for at in offsets):
        raise damaged(str(path), "a place that is no number")
    return found
