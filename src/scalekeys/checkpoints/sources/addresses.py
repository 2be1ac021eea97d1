"""Addresses, ``https://SERVER/PATH``, of safetensors files and indices of their shards, of which parts are read."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urljoin, urlsplit

from torch import Tensor

from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.computed import find_computed
from scalekeys.checkpoints.core.kinds import Wanted
from scalekeys.checkpoints.core.state_dict import from_state_dict
from scalekeys.checkpoints.core.state_dict_writing import state_dict_copying
from scalekeys.checkpoints.sources.folder_names import INDEX_SUFFIX
from scalekeys.checkpoints.sources.shards import join_shards, weight_map
from scalekeys.checkpoints.web.ranged_file import RangedFile, version_of
from scalekeys.checkpoints.web.ranged_safetensors import RangedSafetensors
from scalekeys.checkpoints.web.requests import Address, address_of
from scalekeys.errors import CheckpointError

_LARGEST_INDEX = 1 << 26


def open_url(scheme: str, name: str, wanted: Wanted) -> Checkpoint:
    """Open what is behind ``http:`` or ``https:``; see :func:`open_address`."""
    return open_address(address_of(f"{scheme}:{name}"), wanted)


def open_address(address: Address, wanted: Wanted, *, model: str = "") -> Checkpoint:
    """Open a safetensors file on a web server, or the shards beside their index. The header of each file is fetched.

    `model`: what the network is called in tables; by default the name of the file, or of the folder of an index.
    Raises CheckpointError if it cannot be fetched, is damaged or is of another kind, or the copy of the network that is
    wanted is not there.
    """
    path = PurePosixPath(unquote(urlsplit(address.url).path))
    if path.name.endswith(INDEX_SUFFIX):
        return _open_index(address, wanted, model=model or path.parent.name)
    file = RangedSafetensors(address)
    opened = from_state_dict(
        file.tensors,
        file.load,
        wanted,
        label=address.label,
        model=model or path.stem,
        in_network_order=False,
        notes=file.notes,
    )
    return _expecting(opened, {"": file}, dict.fromkeys(file.tensors, ""))


def state_of(url: str) -> str:
    """Return a word that changes when a file on a web server, or any of the shards that an index names, has changed.

    The word is empty where the server does not tell.
    Raises CheckpointError if a file is not there, or cannot be asked about.
    """
    address = address_of(url)
    words = [version_of(address).word()]
    if urlsplit(address.url).path.endswith(INDEX_SUFFIX):
        home = weight_map(_index(address), label=address.label)
        words += [version_of(_beside(address, shard)).word() for shard in sorted(set(home.values()))]
    return " ".join(words) if all(words) else ""


def _open_index(address: Address, wanted: Wanted, *, model: str) -> Checkpoint:
    home = weight_map(_index(address), label=address.label)

    def open_shard(shard: str) -> RangedSafetensors:
        return RangedSafetensors(_beside(address, shard))

    found, files = join_shards(home, open_shard, wanted, label=address.label, model=model)
    notes = tuple(f"{shard}: {note}" for shard, file in files.items() for note in file.notes)
    return _expecting(replace(found, notes=(*found.notes, *notes)), files, home)


def _expecting(opened: Checkpoint, files: Mapping[str, RangedSafetensors], home: Mapping[str, str]) -> Checkpoint:
    """Tell the files of a network which tensors its layers need, and return it with the way to copy it."""
    parts = {key: computed.parts for key, computed in find_computed(opened.tensors).items()}
    needed = {part for layer in opened.layers for part in parts.get(layer.key, (layer.key,))}
    for name, file in files.items():
        file.expect(key for key in needed if home[key] == name)
    return replace(opened, copying=state_dict_copying(opened.label, partial(_whole_state, files)))


def _whole_state(files: Mapping[str, RangedSafetensors]) -> dict[str, Tensor]:
    for file in files.values():
        file.expect(file.tensors)
    return {key: file.load(key) for file in files.values() for key in file.tensors}


def _index(address: Address) -> bytes:
    file = RangedFile(address)
    if file.size > _LARGEST_INDEX:
        raise CheckpointError(f"{address.label}: has {file.size} bytes, too many for an index of shards")
    return file.read(0, file.size)


def _beside(address: Address, name: str) -> Address:
    """Return the address of a file beside another, with the same query, as some servers take a key there."""
    parts = urlsplit(address.url)
    url = urljoin(address.url, quote(name)) + (f"?{parts.query}" if parts.query else "")
    return replace(address, url=url, label=f"{address.label}: {name}")
