"""``.pt2``: programs of ``torch.export``, new and old; their weights are read by name, their graph is not run."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch

from scalekeys.checkpoints.core.inventory import Lazy
from scalekeys.checkpoints.core.refused import Refused
from scalekeys.checkpoints.formats.pickled.tree import tree_of
from scalekeys.checkpoints.formats.stored.archive import Archive, damaged, open_archive
from scalekeys.checkpoints.formats.stored.sources import whole
from scalekeys.checkpoints.formats.stored.tensors import stored, whole_lengths
from scalekeys.checkpoints.formats.torch_zip.torch_reading import read_saved
from scalekeys.errors import CheckpointError
from scalekeys.files import parse_json

_PARTS = {"weights": "model_weights_config.json", "constants": "model_constants_config.json"}
_OLD_PARTS = ("serialized_state_dict.pt", "serialized_constants.pt", "serialized_state_dict.json")
_EARLY = "uint8 int8 int16 int32 int64 float16 float32 float64 complex32 complex64 complex128 bool bfloat16"
_LATE = "uint16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu"
_DTYPES = dict(enumerate(_EARLY.split(), 1)) | dict(enumerate(_LATE.split(), 28))
"""The numbers of types in the serialised form."""
_LARGEST_CONFIG = 1 << 28


def holds(names: Collection[str]) -> bool:
    """Tell whether a zip archive with records of these names is one of ``torch.export``.

    >>> holds(["net/data/weights/model_weights_config.json"]), holds(["net/data.pkl"])
    (True, False)
    """
    known = (*_PARTS.values(), *_OLD_PARTS, "serialized_exported_program.json", "archive_format")
    return any(name.rpartition("/")[2] in known for name in names)


def read_exported(path: Path) -> dict[str, Lazy]:
    """Read a program of ``torch.export``; raises CheckpointError if it is damaged, or holds no weights."""
    label = str(path)
    archive = open_archive(whole(path), label)
    try:
        found = dict(_new(archive)) or dict(_old(archive, label))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(label, error) from None
    if not found:
        raise CheckpointError(f"{label}: is a program of torch.export without weights; export the network itself")
    return found


def _new(archive: Archive) -> Iterator[tuple[str, Lazy]]:
    """Yield the tensors of an archive as torch 2.8 and later write it: a list of tensors, and a record for each."""
    for part, name in _PARTS.items():
        for record in [record for record in archive.records if record.endswith(f"data/{part}/{name}")]:
            content = archive.records[record].content
            if content.size > _LARGEST_CONFIG:
                raise ValueError(f"a list of tensors of {content.size} bytes")
            folder = record.removesuffix(name)
            config = parse_json(bytes(content.read(0, content.size)))["config"]
            for key, entry in config.items():
                if tensor := _tensor(archive, folder, entry):
                    yield key, tensor


def _tensor(archive: Archive, folder: str, entry: dict[str, Any]) -> Lazy | None:
    record = archive.records.get(f"{folder}{entry['path_name']}")
    meta = entry.get("tensor_meta")
    if not meta:  # a value that is no tensor
        return None
    shape, stride = ([_whole(one) for one in meta[name]] for name in ("sizes", "strides"))
    if record is None:
        return Refused(whole_lengths(shape) or (), "its values are missing in the archive")
    if entry.get("use_pickle"):
        saved = read_saved(record.content, entry["path_name"])
        return saved if isinstance(saved, Lazy) else None
    dtype = getattr(torch, _DTYPES[meta["dtype"]])
    return stored(record.content, dtype, shape, stride, offset=_whole(meta["storage_offset"]))


def _whole(number: dict[str, Any]) -> Any:
    """Return a length, which could be a symbol in a program of free sizes, but not in a weight."""
    return number.get("as_int")


def _old(archive: Archive, label: str) -> Iterator[tuple[str, Lazy]]:
    """Yield the tensors of an archive as older versions wrote it: with files of ``torch.save`` in it."""
    for name in _OLD_PARTS:
        for record in [record for record in archive.records if record.rpartition("/")[2] == name]:
            saved = tree_of(read_saved(archive.records[record].content, label), label)
            if isinstance(saved, dict):
                yield from ((str(key), tensor) for key, tensor in saved.items() if isinstance(tensor, Lazy))
