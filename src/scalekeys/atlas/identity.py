"""What a checkpoint is, whatever it is called: a hash of what is analysed, and a cheap sign that it was not touched."""

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scalekeys.atlas.references import Reference
from scalekeys.checkpoints.sources.addresses import state_of
from scalekeys.checkpoints.sources.folder_names import is_index
from scalekeys.checkpoints.sources.hub_files import commit_of, hub_client
from scalekeys.checkpoints.web.requests import PASSING, NoAnswerError
from scalekeys.errors import ScaleKeysError
from scalekeys.filters import LayerFilters
from scalekeys.version import __version__

_ASKED_AT_ONCE = 16


class ContentHash:
    """The hash of the filters of a network with the names, strides and dilations of their layers, layer by layer.

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


def signatures(references: Sequence[Reference]) -> Iterator[tuple[Reference, str | None]]:
    """Yield each reference with its :func:`signature`; several servers are asked at a time."""
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as threads:
        for start in range(0, len(references), _ASKED_AT_ONCE):
            part = references[start : start + _ASKED_AT_ONCE]
            yield from zip(part, threads.map(signature, part), strict=True)


def signature(reference: Reference) -> str | None:
    """Return a word that changes when a checkpoint may have changed, without reading it.

    For a file: its size and times. A folder, an index of shards, and an ONNX model, whose values may lie beside it,
    stand for all files of the folder. For an address: the size, and the tag or time that the server gives. For
    ``hf:NAME``: the commit. For ``timm:NAME``: the version of timm, which decides what a name means.

    The word is empty where the checkpoint is not there or nothing tells its state; None where a server would have to be
    asked and does not answer.
    """
    if reference.is_path:
        return _of_files(reference)
    scheme, _, name = reference.source.partition(":")
    try:
        return _OF_SCHEME[scheme](name) if scheme in _OF_SCHEME else f"scalekeys {__version__}"
    except NoAnswerError:
        return None
    except ScaleKeysError:
        return ""


def _of_hub(name: str) -> str | None:
    repository, _, revision = name.partition("@")
    hub = hub_client()
    try:
        return f"hf {commit_of(hub, repository, revision or None)}"
    except Exception as error:  # the client and the network have no common class
        status = getattr(getattr(error, "response", None), "status_code", 0)
        is_refusal = isinstance(error, ValueError) or (status >= 400 and status not in PASSING)
        return "" if is_refusal else None


_OF_SCHEME: Mapping[str, Callable[[str], str | None]] = {
    "hf": _of_hub,
    "http": lambda name: state_of(f"http:{name}"),
    "https": lambda name: state_of(f"https:{name}"),
    "timm": lambda _: f"timm {_version('timm')}",
}


def _of_files(reference: Reference) -> str:
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
