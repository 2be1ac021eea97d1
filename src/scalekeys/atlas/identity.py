"""What a checkpoint is, whatever it is called: a hash of what is analysed, and a cheap sign that it was not touched."""

import json
import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scalekeys.atlas.references import Reference
from scalekeys.checkpoints.sources.folder import is_index
from scalekeys.filters import LayerFilters
from scalekeys.version import __version__

_CLIENTS = {"timm": "timm", "hf": "huggingface_hub"}


class ContentHash:
    """The hash of the filters of a network with the names, strides and dilations of their layers, layer by layer.

    Examples
    --------
    >>> import torch
    >>> layer = LayerFilters("dw", torch.ones(2, 3, 3))
    >>> first, second = ContentHash(), ContentHash()
    >>> first.add(layer), second.add(layer)
    (None, None)
    >>> first.hexdigest() == second.hexdigest() != ContentHash().hexdigest()
    True
    """

    def __init__(self) -> None:
        self._hash = sha256()

    def add(self, layer: LayerFilters) -> None:
        """Go on with the next layer."""
        filters = layer.kernels.numpy()
        description = [layer.name, layer.depth, layer.stride, layer.dilation, filters.dtype.name, filters.shape]
        self._hash.update(json.dumps(description).encode())
        self._hash.update(filters.astype(filters.dtype.newbyteorder("<"), copy=False).data)

    def hexdigest(self) -> str:
        """Return what was hashed so far as 64 hexadecimal digits."""
        return self._hash.hexdigest()


def signature(reference: Reference) -> str:
    """Return a word that changes when a checkpoint may have changed, without reading it; empty if it is not there.

    For a file: its size and times. A folder, an index of shards, and an ONNX model, whose values may lie beside it,
    stand for all files of the folder. For a model on a hub: the version of the client, which decides what a name means.
    """
    if not reference.is_path:
        package = _CLIENTS.get(reference.source.partition(":")[0])
        return f"{package} {_version(package)}" if package else f"scalekeys {__version__}"
    path = Path(reference.location)
    try:
        together = path.is_dir() or is_index(path) or path.suffix.lower() == ".onnx"
        files = sorted((path if path.is_dir() else path.parent).iterdir()) if together else [path]
        return sha256(json.dumps(list(_states(files))).encode()).hexdigest()[:32]
    except (OSError, ValueError):
        return ""


def _states(files: list[Path]) -> Iterator[tuple[str, int, int, int]]:
    for file in files:
        state = file.stat()
        if stat.S_ISREG(state.st_mode):
            yield os.fsdecode(file.name), state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
