"""``.safetensors`` on a web server: the header is fetched first, then the values that are asked for, and no others."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from scalekeys.checkpoints.core.inventory import TensorInfo
from scalekeys.checkpoints.formats.content import HEAD, LFS_POINTER, foreign_kind
from scalekeys.checkpoints.formats.safetensors_file import decoded, header_of, matches, notes_on
from scalekeys.checkpoints.web.ranged_file import RangedFile, joined
from scalekeys.checkpoints.web.requests import Address
from scalekeys.errors import CheckpointError
from scalekeys.files import parse_json

GAP = 1 << 16
"""Bytes between two tensors that are fetched in vain rather than asking twice: what a connection brings in an answer's
time."""
_LARGEST_REQUEST = 1 << 24


class RangedSafetensors:
    """A safetensors file on a web server.

    Raises CheckpointError if it cannot be fetched, is damaged, or is no safetensors file.
    `tensors`: every tensor with its shape and type.
    `notes`: what a user should know, in sentences.
    """

    altered: Mapping[str, str] = MappingProxyType({})
    """There are no tensors that are not read as they are."""

    def __init__(self, address: Address) -> None:
        self._file, self._label = RangedFile(address), address.label
        start = self._file.read(0, HEAD)
        if not matches(start):
            raise _of_other_kind(address.label, start)
        first = 8 + int.from_bytes(start[:8], "little")
        header = self._file.read(0, first)
        metadata, self.tensors = _checked(header, self._file.size, address.label)
        self._entries = {key: entry for key, entry in parse_json(header[8:]).items() if key in self.tensors}
        offsets = {key: entry["data_offsets"] for key, entry in self._entries.items()}
        self._spans = {key: (first + start, first + stop) for key, (start, stop) in offsets.items()}
        self._requests: list[tuple[int, int]] = []
        self.notes = (*self._file.notes, *notes_on(metadata))

    def expect(self, keys: Iterable[str]) -> None:
        """Say which tensors will be asked for, so that those that lie close together are fetched by one request."""
        spans = [self._spans[key] for key in keys]
        self._requests = joined(spans, gap=GAP, most=_LARGEST_REQUEST)

    def load(self, key: str) -> Tensor:
        """Fetch the values of a tensor, unless they are there.

        Raises CheckpointError if they cannot be fetched, or are damaged.
        """
        start, stop = self._spans[key]
        for first, last in self._requests:
            if first <= start and stop <= last:
                self._file.fetch(first, last)
        return decoded(self._entries[key], bytearray(self._file.read(start, stop)), label=self._label)


def _checked(header: bytes, size: int, label: str) -> tuple[dict[str, str], dict[str, TensorInfo]]:
    """Return what a header says, checked by the library that reads local files: on a file with holes for the values."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "header.safetensors"
        with path.open("wb") as file:
            file.write(header)
            try:
                file.truncate(size)
            except (OSError, OverflowError):
                raise CheckpointError(
                    f"{label}: has {size} bytes by what the server says, which is no size of a file; check the address"
                ) from None
        metadata, tensors = header_of(path, label=label)
        return dict(metadata), tensors


def _of_other_kind(label: str, start: bytes) -> CheckpointError:
    if start.startswith(LFS_POINTER):
        return CheckpointError(f"{label}: is a Git LFS pointer, not the weights; give the address of the file itself")
    kind = foreign_kind(start) or "of another kind"
    return CheckpointError(
        f"{label}: is {kind}; only safetensors files, and indices of their shards, are read from addresses, so "
        "download the file and give its path"
    )
