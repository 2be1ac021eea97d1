"""What ``torch.save`` has written, old and new, as nested dicts of tensors without values.

Such a file is a pickle of everything but the numbers, and beside it the storages that tensors are views of: records of
a zip archive or, before 2020, one after the other behind the pickle.
"""

from typing import Any

from scalekeys.checkpoints.formats.pickled.machine import Known, PickleError
from scalekeys.checkpoints.formats.pickled.opcodes import read_pickle
from scalekeys.checkpoints.formats.pickled.reading import machine_on, read_one, refusal
from scalekeys.checkpoints.formats.pickled.stand_ins import as_key
from scalekeys.checkpoints.formats.pickled.torch_tensors import Storage, storage_dtype
from scalekeys.checkpoints.formats.stored.archive import MAGIC, Archive, is_archive, open_archive
from scalekeys.checkpoints.formats.stored.sources import Bytes, MemoryBytes, Part

_HEADER_PICKLES = 3  # of the old format: a magic number, a version, and facts of the machine
_COUNT = 8  # bytes of the number of numbers, before each storage of the old format
_MAGIC = (bytes.fromhex("8a0a6cfc9c46f9206aa85019"), b"L119547037146038801333356")
"""How the magic number of the old format stands in a pickle, of newer protocols and of protocol 0."""
_NOWHERE = -1


def is_old(head: bytes) -> bool:
    """Tell whether a file that starts so is of the format before 2020."""
    return any(magic in head[:64] for magic in _MAGIC)


def read_saved(content: Bytes, label: str) -> Any:
    """Read what ``torch.save`` has written; :func:`.tree_of` makes nested dicts of it.

    Raises CheckpointError if it is damaged, or names what can only be meant to run.
    """
    if not is_archive(bytes(content.read(0, len(MAGIC)))):
        return _read_old(content, label)
    archive = open_archive(content, label)
    folder = archive.folder_of("data.pkl")
    if folder is None:
        raise refusal(label, PickleError("an archive without a data.pkl"))
    return read_in_archive(archive, label, f"{folder}data.pkl", f"{folder}data/")


def read_in_archive(archive: Archive, label: str, name: str, storages: str, more: Known | None = None) -> Any:
    """Read a pickle of an archive whose storages are the records of a folder."""
    order = archive.records.get(f"{name.rpartition('/')[0]}/byteorder".lstrip("/"))
    try:
        swapped = order is not None and bytes(order.content.read(0, 3)) == b"big"
    except ValueError as error:  # it is compressed, and damaged
        raise refusal(label, error) from None
    found: dict[Any, Bytes] = {}

    def storage(identity: Any) -> Any:
        kind, key, count, start = _identity(identity)
        dtype = storage_dtype(kind)
        if key not in found:
            record = archive.records.get(f"{storages}{key}")
            found[key] = record.content.part(0, count * dtype.itemsize) if record else MemoryBytes(b"")
        return Storage(found[key], dtype, start, swapped)

    return read_one(archive.records[name].content, label, storage, more)


def _read_old(content: Bytes, label: str) -> Any:
    """Read a file of the format before 2020."""
    found: dict[Any, Part] = {}  # where they start is known when the end of the file is read
    sizes: dict[Any, int] = {}
    swapped = False

    def storage(identity: Any) -> Any:
        if isinstance(identity, tuple) and len(identity) == 4 and identity[0] == "module":
            return identity[1]
        kind, key, count, start = _identity(identity)
        dtype = storage_dtype(kind)
        late = found.setdefault(key, Part(content, _NOWHERE, count * dtype.itemsize))
        if count * dtype.itemsize != late.size:
            raise PickleError("a storage with two sizes")
        sizes[key] = dtype.itemsize
        return Storage(late, dtype, start, swapped)

    with machine_on(content, label, storage) as machine:
        for _ in range(_HEADER_PICKLES):
            facts = read_pickle(machine)
        swapped = isinstance(facts, dict) and facts.get("little_endian") is False
        saved, order = read_pickle(machine), read_pickle(machine)
        start = machine.position
        for key in map(as_key, order if isinstance(order, list) else ()):
            if key not in found:
                raise PickleError("numbers of a storage that no tensor uses")
            count = int.from_bytes(content.read(start, _COUNT), "big" if swapped else "little")
            late = found[key]
            late.start = start + _COUNT
            if count * sizes[key] != late.size or content.part(late.start, late.size).size != late.size:
                raise PickleError("the numbers of a storage are not all there")
            start = late.start + late.size
        if any(late.size and late.start == _NOWHERE for late in found.values()):
            raise PickleError("the numbers of a storage are missing")
    return saved


def _identity(identity: Any) -> tuple[Any, Any, int, int]:
    """Return type, key and number of numbers of a storage, and where in it a view of it starts."""
    if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
        raise PickleError("an identity that is none of a storage")
    _, kind, key, _, count, *view = identity
    start = view[0][1] if view and isinstance(view[0], tuple) and len(view[0]) == 3 else 0
    if type(count) is not int or type(start) is not int or not 0 <= start <= count:
        raise PickleError("a storage of no size")
    return kind, as_key(key), count, start
