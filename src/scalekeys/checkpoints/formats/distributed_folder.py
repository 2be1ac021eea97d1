"""Folders of ``torch.distributed.checkpoint``: a list of all tensors, and files with the pieces of each process."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scalekeys.checkpoints.core.inventory import Lazy
from scalekeys.checkpoints.core.refused import Refused
from scalekeys.checkpoints.formats.pickled.machine import PickleError
from scalekeys.checkpoints.formats.pickled.opening import load
from scalekeys.checkpoints.formats.pickled.reading import read_one, refusal
from scalekeys.checkpoints.formats.pickled.stand_ins import Key, Name, StandIn
from scalekeys.checkpoints.formats.pickled.torch_tensors import dtype_named
from scalekeys.checkpoints.formats.stored.archive import damaged
from scalekeys.checkpoints.formats.stored.sources import whole
from scalekeys.checkpoints.formats.stored.tensors import Assembled, Piece, whole_lengths
from scalekeys.checkpoints.formats.suffixes import DISTRIBUTED
from scalekeys.checkpoints.formats.torch_zip.torch_reading import read_saved
from scalekeys.errors import CheckpointError
from scalekeys.files import is_plain_name

_DEEPEST = 16


def matches_folder(folder: Path) -> bool:
    """Tell whether a folder is one of ``torch.distributed.checkpoint``."""
    return (folder / DISTRIBUTED).is_file()


def read_distributed(path: Path) -> dict[Any, Any]:
    """Read a folder of ``torch.distributed.checkpoint``; the pieces of a tensor are read when it is asked for.

    Raises CheckpointError if its list of tensors is damaged.
    """
    metadata = read_one(whole(path / DISTRIBUTED), f"{path / DISTRIBUTED}")
    try:
        return _tree(path, metadata)
    except PickleError as error:
        raise refusal(str(path), error) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(f"{path / DISTRIBUTED}", error) from None


def _tree(folder: Path, metadata: Any) -> dict[Any, Any]:
    """Make nested dicts of the tensors, as they were when they were saved."""
    attributes = _attributes(metadata)
    places = {_index(key): _attributes(place) for key, place in attributes["storage_data"].items()}
    paths = attributes.get("planner_data")
    paths = paths if isinstance(paths, dict) else {}
    content: dict[Any, Any] = {}
    for name, saved in attributes["state_dict_metadata"].items():
        entry = saved.attributes if isinstance(saved, StandIn) else {}
        if "chunks" in entry:  # anything else is a value that is no tensor
            path = paths.get(name)
            path = path if isinstance(path, tuple) and 0 < len(path) <= _DEEPEST else (name,)
            parent = content
            for part in path[:-1]:
                inner = parent.setdefault(part if isinstance(part, str) else str(part), {})
                parent = inner if isinstance(inner, dict) else {}
            parent[str(path[-1])] = _tensor(folder, name, entry, places)
    return content


def _tensor(folder: Path, name: str, entry: dict[Any, Any], places: dict[Any, dict[Any, Any]]) -> Lazy:
    shape, dtype = whole_lengths(entry["size"]), _dtype(entry["properties"])
    if shape is None or dtype is None:
        return Refused(shape or (), "its type or shape is not known")
    pieces = []
    for chunk in map(_attributes, entry["chunks"]):
        offsets, sizes = whole_lengths(chunk["offsets"]), whole_lengths(chunk["sizes"])
        place = places.get((name, offsets))
        if offsets is None or sizes is None or len(offsets) != len(sizes) or len(sizes) != len(shape):
            return Refused(shape, "the shape of one of its pieces is damaged")
        if place is None or place.get("transform_descriptors"):
            return Refused(shape, "one of its pieces is missing, or stored in a way of its own")
        pieces.append(Piece(offsets, sizes, lambda place=place: _read(folder, name, place)))  # type: ignore[misc]
    return Assembled(shape, dtype, tuple(pieces))


def _read(folder: Path, name: str, place: dict[Any, Any]) -> Tensor:
    """Read a piece: a file of ``torch.save`` that stands within another file."""
    file, start, length = (place.get(key) for key in ("relative_path", "offset", "length"))
    label = f"{folder}: tensor {name!r}"
    if not isinstance(file, str) or not is_plain_name(file):
        raise CheckpointError(f"{label} is said to lie in {file!r}, which is no file in the folder, and is not read")
    path = folder / file
    if not path.is_file():
        raise CheckpointError(f"{folder}: the part {file} is missing; fetch it into the same folder")
    if type(start) is not int or type(length) is not int:
        raise damaged(label, "a place that is no number")
    saved = read_saved(whole(path).part(start, length), label)
    if not isinstance(saved, Lazy):
        raise damaged(label, "a piece that is no tensor")
    return load(saved, label)


def _attributes(value: Any) -> dict[Any, Any]:
    if not isinstance(value, StandIn) or not value.attributes:
        raise PickleError("a list of tensors of an unknown kind")
    return value.attributes


def _index(key: Any) -> tuple[Any, Any]:
    """Return name and place of a piece, which stand in a key of their own class."""
    found = _attributes(key.value if isinstance(key, Key) else key)
    return found["fqn"], found.get("offset")


def _dtype(properties: Any) -> torch.dtype | None:
    state = properties.state if isinstance(properties, StandIn) else None
    name = state[0] if isinstance(state, tuple) and state else (state or {}).get("dtype")
    return dtype_named(name) if isinstance(name, Name) else None
