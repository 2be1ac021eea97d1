"""What an HDF5 file of Keras holds: its weights by layer, in the order of the network. No link is followed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import inf, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scalekeys.checkpoints.core.ordering import network_order
from scalekeys.optional import require

LIST, VARIABLES = "layers", "vars"
"""Groups of version 3: of the layers in a list, and of the variables of a layer."""

_FIRST_LIST = "_layer_checkpoint_dependencies"  # what the first files of version 3 call the list
_ROOT = "model_weights"
_OPTIMIZERS = ("optimizer", "optimizer_weights")
_DEEPEST = 100
_UNPACKS_TO, _SMALL = 64, 2**24  # constants pack well; a bomb of zeros packs by the thousand, and is large
_NUMBER = re.compile(r"_\d+\Z")
_Path = tuple[str, ...]


@dataclass(frozen=True)
class StoredWeight:
    """A weight in an HDF5 file.

    `key`: where it stands in the file.
    `layer`: where its layer stands among the others.
    `variable`: what it is called in its layer; a number in files of version 3.
    `names`: what its layer can be called in a configuration, the likeliest first; none in files of version 3.
    `label`, `title`: what its layer is called in tables, and what it calls itself.
    `shape`, `dtype`: of its values, as they are stored.
    `fault`: why its values cannot be read, in a clause; empty if they can.
    """

    key: str
    layer: _Path
    variable: str
    names: tuple[str, ...]
    label: str
    title: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    fault: str = ""


def weights_in(file: Any, titles: Mapping[_Path, str]) -> tuple[StoredWeight, ...]:
    """Return the weights in an HDF5 file of any version of Keras, in its order, without those of the optimizer.

    `titles` are the names of layers by their places, where a configuration has them.
    """
    return tuple(_Walk(file, titles).weights())


def version_of(file: Any) -> int:
    """Return the major version of Keras that has written a file, 0 where the file does not say."""
    is_group = isinstance(file["/"].get(_ROOT, getlink=True), require("h5py", extra="keras").HardLink)
    for place in (file, file[_ROOT]) if is_group else (file,):
        major = text(place.attrs.get("keras_version")).partition(".")[0]
        if major.isdecimal() and len(major) < 4:
            return int(major)
    return 0


def values_of(file: Any, weight: StoredWeight) -> Tensor:
    """Read the values of a weight without a fault."""
    values = file[weight.key][()]
    if weight.dtype == "bfloat16":
        return torch.from_numpy(np.frombuffer(values.tobytes(), "<i2").reshape(weight.shape).copy()).view(
            torch.bfloat16
        )
    return torch.from_numpy(np.ascontiguousarray(values, np.dtype(weight.dtype)))


def text(value: Any) -> str:
    """Return an attribute as text, however it is stored; empty where it is none."""
    raw = value.item() if isinstance(value, np.generic) else value
    return raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else raw if isinstance(raw, str) else ""


class _Walk:
    """Visits each object of a file once, in the order of the network as far as the file has it."""

    def __init__(self, file: Any, titles: Mapping[_Path, str]) -> None:
        self._h5py = require("h5py", extra="keras")
        self._file = file
        self._seen: set[tuple[int, int]] = set()
        self._ranks: dict[_Path, int] = {}
        self._layers: set[_Path] = set()
        self._titles = dict(titles)
        self._described = frozenset(titles)

    def weights(self) -> Iterator[StoredWeight]:
        root, start = self._file["/"], ""
        if isinstance(root.get(_ROOT, getlink=True), self._h5py.HardLink):
            root, start = root[_ROOT], f"{_ROOT}/"
        for path, found in self._visit(root, ()):
            yield self._weight(start, path, found)

    def _visit(self, group: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
        """Yield the datasets below a group, and the links that are not followed."""
        if len(path) > _DEEPEST:
            raise ValueError("its groups are nested too deep")
        self._learn(group, path)
        for name in self._children(group, path):
            below = (*path, name)
            link = group.get(name, getlink=True)
            if not isinstance(link, self._h5py.HardLink):
                yield below, link
                continue
            info = self._h5py.h5o.get_info(group.id, name.encode())
            if (info.fileno, info.addr) in self._seen or name.endswith(_OPTIMIZERS):
                continue
            self._seen.add((info.fileno, info.addr))
            found = group[name]
            if isinstance(found, self._h5py.Group):
                yield from self._visit(found, below)
            elif isinstance(found, self._h5py.Dataset):
                yield below, found

    def _learn(self, group: Any, path: _Path) -> None:
        """Note what a group says of the order and of the names of what is below it."""
        for attribute in ("layer_names", "weight_names"):
            for place, name in enumerate(_names(group, attribute)):
                parts = name.split("/")[:_DEEPEST]
                if attribute == "layer_names":
                    self._layers.add((*path, *parts))
                for end in range(1, len(parts) + 1):
                    self._ranks.setdefault((*path, *parts[:end]), place)
        if path and path[-1] == VARIABLES and (title := text(group.attrs.get("name"))):
            self._titles[path[:-1]] = title

    def _children(self, group: Any, path: _Path) -> list[str]:
        """Return the names in a group, by its list of them, by the time of their creation, or by habits of naming."""
        names = [name for name in group if name != VARIABLES]
        tracked = group.id.get_create_plist().get_link_creation_order()
        if not tracked:
            names.sort(key=network_order)
        if not tracked and path and path[-1] in (LIST, _FIRST_LIST):
            names = self._as_saved(group, names)
        names.sort(key=lambda name: self._ranks.get((*path, name), inf))
        return [VARIABLES, *names] if VARIABLES in group else names

    def _as_saved(self, group: Any, names: Sequence[str]) -> list[str]:
        """Sort the layers of a list, which were saved one after the other, by their places in the file.

        Layers of one class are numbered. A layer that stands before one with a lower number fills a gap in the file.
        """
        last: dict[str, int] = {}
        places = {}
        for name in names:
            class_name = _NUMBER.sub("", name)
            hard = isinstance(group.get(name, getlink=True), self._h5py.HardLink)
            place = self._h5py.h5o.get_info(group.id, name.encode()).addr if hard else 0
            places[name] = last[class_name] = max(last.get(class_name, 0), place)
        return sorted(names, key=places.__getitem__)

    def _weight(self, start: str, path: _Path, found: Any) -> StoredWeight:
        key, variable = start + "/".join(path), path[-1].partition(":")[0]
        owner = next((path[:end] for end in range(len(path), 0, -1) if path[:end] in self._layers), ())
        if owner:
            inner = path[len(owner) : -1]
            starts = (start for start in range(len(inner)) if inner[start : start + len(owner)] == owner)
            start_of_owner = next(starts, None)
            layer = (*owner, *inner) if start_of_owner is None else inner[start_of_owner:]
            names = (*reversed(inner), "/".join(inner), "/".join(owner))
            weight = StoredWeight(key, layer, variable, names, "/".join(layer), layer[-1])
        else:
            parts = path[:-2] if path[-2:-1] == (VARIABLES,) else path[:-1]
            layer = tuple(LIST if part == _FIRST_LIST else part for part in parts)
            weight = StoredWeight(key, layer, variable, (), self._label(parts) or variable, self._titles.get(parts, ""))
        if not isinstance(found, self._h5py.Dataset):
            return replace(weight, fault="it is a link to another place, which is not followed")
        return _described(weight, found, self._file)

    def _label(self, parts: _Path) -> str:
        """Call a layer by its own name; one that is an attribute and not in the configuration, by the attribute."""
        shown = []
        for place, part in enumerate(parts):
            if part not in (LIST, _FIRST_LIST):
                own = parts[: place + 1]
                is_named = parts[place - 1 : place] in ((LIST,), (_FIRST_LIST,)) or own in self._described
                shown.append(self._titles.get(own, part) if is_named else part)
        return "/".join(shown)


def _names(group: Any, attribute: str) -> list[str]:
    """Return a list of names among the attributes of a group, which long lists are divided among."""
    found: list[str] = []
    for name in chain((attribute,), (f"{attribute}{number}" for number in range(1000))):
        if name in group.attrs:
            found += [text(value) for value in np.asarray(group.attrs[name]).ravel()]
        elif name != attribute:
            break
    return found


def _described(weight: StoredWeight, dataset: Any, file: Any) -> StoredWeight:
    shape = tuple(int(side) for side in dataset.shape or ())
    try:
        stored = dataset.dtype
    except TypeError:  # types of HDF5 that NumPy does not have
        return replace(weight, shape=shape, fault="its values are of an unknown type")
    dtype = "bfloat16" if stored.kind == "V" and stored.itemsize == 2 else stored.name  # opaque bytes to HDF5
    return replace(weight, shape=shape, dtype=dtype, fault=_fault(dataset, shape, stored.itemsize, file))


def _fault(dataset: Any, shape: tuple[int, ...], itemsize: int, file: Any) -> str:
    """Say why values are not read; sizes are compared before any memory is taken for them."""
    if dataset.is_virtual or dataset.external:
        return "its values are in another file, which is not followed"
    held = dataset.id.get_storage_size()
    claimed = itemsize * max(prod(shape), prod(dataset.chunks or ()))
    if held == 0 < prod(shape):
        return "its values are missing"
    if held > file.id.get_filesize() or claimed > max(_SMALL, _UNPACKS_TO * held):
        return "it claims more values than the file holds"
    return ""
