"""Where the numbers of tensors stand in a file of ``torch.save``, old or new.

Such a file is a pickle of everything but the numbers, and beside it the storages that tensors are views of: records of
a zip archive or, before 2020, one after the other behind the pickle. The pickle is read here as torch reads it without
executing it: no name in it is imported, known ones are mapped to the functions below and all others to harmless
stand-ins. Tensors are read as tensors without values, which know where these stand.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scalekeys.checkpoints.core.changes import extent
from scalekeys.checkpoints.formats.torch_zip.pickles import stand_in
from scalekeys.checkpoints.formats.torch_zip.zip_records import is_archive

_SIZES = {
    1: ("Untyped", "Byte", "Char", "Bool", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4"),
    2: ("Short", "Half", "BFloat16"),
    4: ("Int", "Float", "QInt32"),
    8: ("Long", "Double", "ComplexFloat"),
    16: ("ComplexDouble",),
}
_SIZE_OF_STORAGE = {f"torch.{name}Storage": size for size, names in _SIZES.items() for name in names} | {
    "torch.storage.UntypedStorage": 1
}
"""Bytes of a number in each kind of storage, by its name in a pickle."""

_HEADER_PICKLES = 3  # of the old format: a magic number, a version, and facts of the machine
_COUNT = 8  # bytes of the number of numbers, before each storage of the old format


@dataclass(frozen=True)
class Stored:
    """The place of a tensor in a file.

    Parameters
    ----------
    storage : str
        Key of the storage that it is a view of.
    offset : int
        Where it starts there, in numbers.
    shape, stride : tuple of int
        As in :func:`torch.as_strided`.
    """

    storage: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def overlaps(self, other: "Stored") -> bool:
        """Tell whether two tensors lie in one stretch of one storage."""
        mine, others = (range(one.offset, one.offset + extent(one.shape, one.stride)) for one in (self, other))
        return self.storage == other.storage and mine.start < others.stop and others.start < mine.stop


@dataclass(frozen=True)
class Record:
    """The bytes of one storage in a file: of a record of an archive with `name`, or else from byte `start`."""

    start: int = 0
    name: str = ""


@dataclass(frozen=True, eq=False)
class Layout:
    """What a file holds, its tensors without values, and where each of these has its values.

    Parameters
    ----------
    tree : object
        What was saved.
    storages : dict of Record
        By their keys.
    """

    tree: Any
    storages: dict[str, Record]
    tensors: list[tuple[Tensor, Stored]]

    def place(self, tensor: Tensor) -> Stored:
        """Return where a tensor of the tree has its values."""
        return next(stored for other, stored in self.tensors if other is tensor)


def read_layout(path: Path) -> Layout:
    """Read the layout of a file that :func:`.torch_file.load_safely` has found to be safe."""
    return _of_archive(path) if is_archive(path) else _of_old_file(path)


def _of_archive(path: Path) -> Layout:
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.partition("/")[2] == "data.pkl")
        reader = _Reader(BytesIO(archive.read(pickled)))
        tree = reader.load()
    folder = pickled.removesuffix("data.pkl")
    records = {key: Record(name=f"{folder}data/{key}") for key in reader.storages}
    return Layout(tree, records, reader.tensors)


def _of_old_file(path: Path) -> Layout:
    with path.open("rb") as file:
        for _ in range(_HEADER_PICKLES):
            _Reader(file).load()
        reader = _Reader(file)
        tree = reader.load()
        order = _Reader(file).load()
        start, records = file.tell(), {}
        for key in order:
            file.seek(start)
            start += _COUNT
            records[key] = Record(start)
            start += int.from_bytes(file.read(_COUNT), "little") * reader.storages[key]
    return Layout(tree, records, reader.tensors)


class _Reader(pickle.Unpickler):
    """Reads a pickle without executing it."""

    def __init__(self, file: BufferedReader | BytesIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, int] = {}
        self.tensors: list[tuple[Tensor, Stored]] = []
        self._known: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": OrderedDict,
            "torch.Size": tuple,
            "torch._utils._rebuild_parameter": _first,
            "torch._utils._rebuild_parameter_with_state": _first,
            "torch._utils._rebuild_tensor": self._tensor,
            "torch._utils._rebuild_tensor_v2": self._tensor,
            "torch._utils._rebuild_tensor_v3": self._tensor,
            "torch._tensor._rebuild_from_type_v2": _call_again,
        }

    def find_class(self, module: str, name: str) -> Any:
        """Return what is used in the place of a class or function."""
        dotted = f"{module}.{name}"
        return _SIZE_OF_STORAGE.get(dotted) or self._known.get(dotted) or stand_in(dotted)

    def persistent_load(self, pid: Any) -> tuple[str, int]:
        """Return the key of a storage, and where in it a view of it starts, in numbers."""
        _, size, key, _, _, *view = pid
        self.storages[key] = size
        return key, view[0][1] if view and view[0] else 0

    def _tensor(
        self, storage: tuple[str, int], offset: int, shape: Sequence[int], stride: Sequence[int], *_: Any
    ) -> Tensor:
        key, start = storage
        tensor = torch.empty(tuple(shape), device="meta")
        self.tensors.append((tensor, Stored(key, start + offset, tuple(shape), tuple(stride))))
        return tensor


def _first(first: Any, *_: Any) -> Any:
    return first


def _call_again(function: Callable[..., Any], _: Any, arguments: Sequence[Any], __: Any) -> Any:
    return function(*arguments)
