"""``.nemo`` and other tar archives with the weights of a network in them, packed by gzip or not."""

import tarfile
import zlib
from pathlib import Path
from typing import Any

from scalekeys.checkpoints.formats.pickled.tree import tree_of
from scalekeys.checkpoints.formats.stored.archive import damaged, inflated
from scalekeys.checkpoints.formats.stored.sources import Bytes, MemoryBytes, Window, whole
from scalekeys.checkpoints.formats.suffixes import TORCH
from scalekeys.checkpoints.formats.torch_zip.torch_reading import read_saved
from scalekeys.errors import CheckpointError

_GZIP = b"\x1f\x8b"
_SMALL = 1 << 26  # bytes that may come out whatever they are packed in
_MOST_GROWN = 20
_MOST_MEMBERS = 1 << 14
_CUSTOMARY = "model_weights.ckpt"


def matches(head: bytes) -> bool:
    """Tell whether a file that starts so is a tar archive, or one packed by gzip."""
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, 512)
        except zlib.error:
            return False
    return head[:1] > b"\0" and head[257:262] == b"ustar"


def read_nemo(path: Path) -> Any:
    """Read the weights in a tar archive: the customary name of NeMo first, else the only file of ``torch.save``.

    Nothing is written to the disk; an archive that is packed by gzip is unpacked in memory.

    Raises CheckpointError if it is damaged, grows beyond measure, or holds no weights, or several of which no name says
    more.
    """
    label = str(path)
    content: Bytes = whole(path)
    if bytes(content.read(0, 2)) == _GZIP:
        content = _unpacked(content, label)
    members = _members(content, label)
    chosen = _chosen(members, label)
    return tree_of(read_saved(members[chosen], f"{label}: {chosen}"), label)


def _unpacked(content: Bytes, label: str) -> MemoryBytes:
    """Unpack as much as a network may be, and refuse what goes on beyond it."""
    most, unpacked = max(_SMALL, _MOST_GROWN * content.size), bytearray()
    try:
        for block in inflated(content, zlib.MAX_WBITS | 16):
            unpacked += block
            if len(unpacked) > most:
                raise CheckpointError(
                    f"{label}: would grow from {content.size} to more than {most} bytes, which no weights do, and is "
                    "not unpacked; do not trust the file"
                )
    except EOFError:
        raise damaged(label, "it ends within its packed bytes") from None
    except zlib.error as error:
        raise damaged(label, error) from None
    return MemoryBytes(unpacked)


def _members(content: Bytes, label: str) -> dict[str, Bytes]:
    """Return the plain files of an archive by their names."""
    members: dict[str, Bytes] = {}
    try:
        with tarfile.open(fileobj=Window(content), mode="r:") as archive:
            for member in archive:
                if len(members) > _MOST_MEMBERS:
                    raise damaged(label, f"more than {_MOST_MEMBERS} files")
                if member.isreg() and member.size >= 0 and not member.issparse():
                    members[member.name.removeprefix("./")] = content.part(member.offset_data, member.size)
    except (tarfile.TarError, ValueError, OverflowError, EOFError, UnicodeError) as error:
        raise damaged(label, error) from None
    return members


def _chosen(members: dict[str, Bytes], label: str) -> str:
    if found := next((name for name in members if name.rpartition("/")[2] == _CUSTOMARY), None):
        return found
    names = [name for name in members if name.lower().endswith(TORCH)]
    if len(names) == 1:
        return names[0]
    what = f"several files of weights ({len(names)})" if names else "no weights"
    raise CheckpointError(f"{label}: is a tar archive with {what} inside; unpack it and name a file of weights")
