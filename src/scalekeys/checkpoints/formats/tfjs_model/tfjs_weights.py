"""The weights of a TensorFlow.js model, which a manifest lists, and which stand in shards one behind the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalekeys.checkpoints.formats.keras_model.keras_tree import StoredWeight
from scalekeys.checkpoints.formats.stored.sources import Bytes, FileBytes, Joined, whole
from scalekeys.checkpoints.formats.stored.tensors import whole_lengths
from scalekeys.checkpoints.formats.tfjs_model.entries import entry
from scalekeys.errors import CheckpointError, listed, printable
from scalekeys.files import is_file, is_plain_name, lies_beside

_STORED = {
    name: np.dtype(kind)
    for name, kind in (
        ("float32", "<f4"),
        ("float16", "<f2"),
        ("int32", "<i4"),
        ("uint16", "<u2"),
        ("uint8", "u1"),
        ("bool", "u1"),
        ("complex64", "<c8"),
    )
}
_TEXT = "string"
_PREFIX, _BLOCK = 4, 4096  # bytes of the length before a text, and of what is read at once to find such lengths
_QUANTISED = {"uint8": ("float32", "int32"), "uint16": ("float32", "int32"), "float16": ("float32",)}
"""Types that weights are quantised to, and the types of the numbers that these can stand for."""
_VARIABLES = {
    "filters": "kernel",
    "weights": "kernel",
    "depthwise_filter": "depthwise_kernel",
    "depthwise_weights": "depthwise_kernel",
    "pointwise_filter": "pointwise_kernel",
}
"""What Keras calls the weights that networks written for TensorFlow.js, and TensorFlow before Keras, call otherwise."""


@dataclass(frozen=True, eq=False)
class ManifestWeight:
    """A weight that a manifest lists."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """Of the numbers of the weight."""
    content: Bytes
    size: int
    """How many bytes it takes in the shards, which `content` lacks some of where these are cut short."""
    stored: str
    """Type of what stands in the file."""
    scale: float | None = None
    minimum: float = 0.0
    """`scale` and `minimum`: a stored integer stands for ``integer * scale + minimum``, where there is a scale."""

    @property
    def fault(self) -> str:
        """Why its values are not read, in a clause; empty where they are."""
        return f"its weight holds {_TEXT}s" if self.dtype == _TEXT else ""

    def values(self) -> NDArray[Any]:
        """Read the numbers of a weight without a fault; each is rounded once."""
        found: NDArray[Any] = np.frombuffer(self.content.read(0, self.size), _STORED[self.stored])
        with np.errstate(all="ignore"):
            if self.scale is not None:
                found = found * self.scale + self.minimum
                found = np.floor(found + 0.5) if self.dtype == "int32" else found
            return found.reshape(self.shape).astype(self.dtype)


def read_manifest(path: Path, groups: Sequence[Any]) -> dict[str, ManifestWeight]:
    """Return the weights of all groups of a manifest by name; their values stay in the shards.

    `path`: of the file that holds the manifest.
    Raises CheckpointError if a shard is missing, does not have the size that its weights need, or lies elsewhere;
    ValueError or OverflowError if the manifest is damaged.
    """
    found: dict[str, ManifestWeight] = {}
    shards: set[Path] = set()
    for group in groups:
        parts = [_shard(path, name) for name in entry(group, "paths", kind=list)]
        if len(shards | {part.path for part in parts}) < len(shards) + len(parts):
            raise ValueError("a shard is listed twice")
        shards.update(part.path for part in parts)
        content, place = Joined(parts), 0
        for listed_weight in entry(group, "weights", kind=list):
            weight = _weight(listed_weight, content, place)
            if weight.name in found:
                raise ValueError(f"two weights are called {weight.name!r}")
            found[weight.name] = weight
            place += weight.size
        if place != content.size:
            names = listed([part.path.name for part in parts], limit=3)
            raise CheckpointError(
                f"{path}: its shards ({names}) hold {content.size} bytes in the place of {place}; fetch them again"
            )
    return found


def described(weight: ManifestWeight, *, is_named: bool = True) -> StoredWeight:
    """Describe a weight as one of a file of Keras, by its name, which has the form ``layer/variable``.

    `is_named`: whether a configuration may name its layer.
    """
    *layer, variable = weight.name.split("/")
    label, title = printable("/".join(layer) or variable), layer[-1] if layer else ""
    names = (*reversed(layer), "/".join(layer)) if is_named else ()
    variable = _VARIABLES.get(variable, variable)
    return StoredWeight(
        weight.name, tuple(layer), variable, names, label, title, weight.shape, weight.dtype, weight.fault
    )


def _shard(path: Path, name: Any) -> FileBytes:
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    is_below = bool(parts) and all(map(is_plain_name, parts))
    shard = path.parent.joinpath(*parts) if is_below else path
    if not is_file(shard):
        raise CheckpointError(f"{path}: the shard {name} is missing; fetch it into the same folder")
    if not (is_below and lies_beside(shard, path)):
        raise CheckpointError(
            f"{path}: its weights are said to lie in {name!r}, which is no file below its folder, and are not read"
        )
    return whole(shard)


def _weight(found: Any, content: Bytes, place: int) -> ManifestWeight:
    """Return a weight whose values begin at a place in the shards of its group."""
    name, dtype = (entry(found, key, kind=str) for key in ("name", "dtype"))
    if (shape := whole_lengths(entry(found, "shape", kind=list))) is None:
        raise ValueError(f"the weight {name!r} has the shape {found['shape']}")
    quantisation = entry(found, "quantization", kind=dict, default={})
    stored = entry(quantisation, "dtype", kind=str, default=dtype)
    if (stored not in _STORED and stored != _TEXT) or (quantisation and dtype not in _QUANTISED.get(stored, ())):
        raise ValueError(f"the weight {name!r} is stored as {stored!r} for {dtype!r}")
    scale, minimum = None, 0.0
    if quantisation and stored != "float16":
        scale, minimum = (float(entry(quantisation, key, kind=float)) for key in ("scale", "min"))
    count = prod(shape)
    size = _size_of_texts(count, content, place, name) if stored == _TEXT else count * _STORED[stored].itemsize
    return ManifestWeight(name, shape, dtype, content.part(place, size), size, stored, scale, minimum)


def _size_of_texts(count: int, content: Bytes, place: int, name: str) -> int:
    """Return how many bytes the texts of a weight take from a place on, with their lengths before them."""
    end, block, start = place, bytearray(), place
    for _ in range(count):
        if end + _PREFIX > start + len(block):
            block, start = content.read(end, _BLOCK), end
        prefix = block[end - start : end - start + _PREFIX]
        if len(prefix) < _PREFIX:
            raise ValueError(f"the texts of {name!r} are cut short")
        end += _PREFIX + int.from_bytes(prefix, "little")
    return end - place
