"""The table of file formats. A new one is a file beside this and a row here."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from scalekeys.checkpoints.core.checkpoint import Checkpoint, refuse_choice
from scalekeys.checkpoints.core.kinds import PREFERRED, Wanted
from scalekeys.checkpoints.formats import (
    distributed_folder,
    distributed_safetensors,
    exported_file,
    nemo_file,
    npz_file,
    pickle_file,
    safetensors_file,
    suffixes,
    torchscript_file,
)
from scalekeys.checkpoints.formats.content import (
    HEAD,
    LFS_POINTER,
    foreign_kind,
    foreign_network,
    foreign_weights,
    instead_of,
    lists_shards,
)
from scalekeys.checkpoints.formats.keras_model import keras_archive, keras_file
from scalekeys.checkpoints.formats.onnx_model import onnx_file
from scalekeys.checkpoints.formats.pickled.opening import open_tree
from scalekeys.checkpoints.formats.stored.archive import is_archive, open_archive
from scalekeys.checkpoints.formats.stored.sources import whole
from scalekeys.checkpoints.formats.tfjs_model import tfjs_file
from scalekeys.checkpoints.formats.tflite_model import tflite_file
from scalekeys.checkpoints.formats.torch_zip import torch_file, torch_reading
from scalekeys.errors import CheckpointError, MissingExtraError
from scalekeys.files import open_regular, reading_from

Open: TypeAlias = Callable[[Path, Wanted], Checkpoint]
"""Opens a file or folder, and chooses among nested weights where the format has them."""


@dataclass(frozen=True)
class Format:
    """A file format."""

    name: str
    """What it is called in errors."""
    suffixes: tuple[str, ...]
    """What its files are usually called; a hint where the content does not tell."""
    open: Open
    matches: Callable[[bytes], bool] = lambda _head: False
    """Tells from the first bytes of a file that is no zip archive whether it can be of this format."""
    is_graph: bool = False
    """Whether a file holds a graph and the weights of its nodes, and no state dict."""
    holds: Callable[[Collection[str]], bool] | None = None
    """Where the format is a zip archive: tells from the names of its records whether it is of this format."""
    is_certain: bool = True
    """Whether no other format begins with the bytes that tell this one."""
    only_read: str = ""
    """Why a file cannot be copied with changes, as a clause on it, where more is to be said than that it cannot."""


@dataclass(frozen=True)
class FolderFormat:
    """A format that is a folder of files that belong together."""

    matches: Callable[[Path], bool]
    open: Open
    only_read: str
    """Why it cannot be copied with changes, as a clause on the folder."""


def _tree(read: Callable[[Path], Any], *, in_network_order: bool = True) -> Open:
    """Return what opens a format that is read as nested dicts of tensors, by what reads them."""
    return lambda path, wanted: open_tree(path, read(path), wanted, in_network_order=in_network_order)


FORMATS = (
    Format("safetensors", suffixes.SAFETENSORS, safetensors_file.open_safetensors, safetensors_file.matches),
    Format(
        "TorchScript",
        (),
        _tree(torchscript_file.read_torchscript),
        holds=torchscript_file.holds,
        only_read="is a TorchScript archive, a format that is only read; replace filters in the state dict of the "
        "network that it was made of",
    ),
    Format("PyTorch", suffixes.TORCH, torch_file.open_torch, torch_reading.is_old, holds=torch_file.holds),
    Format("ONNX", suffixes.ONNX, onnx_file.open_onnx, onnx_file.matches, is_graph=True, is_certain=False),
    Format(
        "torch.export",
        suffixes.EXPORTED,
        _tree(exported_file.read_exported),
        holds=exported_file.holds,
        only_read="is a program of torch.export, a format that is only read; replace filters in the state dict it was "
        "made of",
    ),
    Format(
        "NumPy",
        suffixes.NUMPY,
        _tree(npz_file.read_npz),
        holds=npz_file.holds,
        only_read="is an archive of NumPy, a format that is only read; replace filters in a copy of its weights as "
        ".safetensors",
    ),
    Format(
        "Keras", suffixes.KERAS, keras_file.open_keras, keras_archive.matches, is_graph=True, holds=keras_archive.holds
    ),
    Format("TensorFlow.js", (), tfjs_file.open_tfjs, lists_shards, is_graph=True),
    Format("TensorFlow Lite", suffixes.TFLITE, tflite_file.open_tflite, tflite_file.matches, is_graph=True),
    Format(
        "NeMo",
        suffixes.NEMO,
        _tree(nemo_file.read_nemo),
        nemo_file.matches,
        only_read="is a tar archive, a format that is only read; unpack it and replace filters in the weights inside",
    ),
    Format(
        "pickle",
        suffixes.PICKLE,
        _tree(pickle_file.read_pickle),
        pickle_file.matches,
        only_read="is a plain pickle, a format that is only read; replace filters in a copy of its weights as "
        ".safetensors",
    ),
)
FOLDER_FORMATS = (
    FolderFormat(
        distributed_folder.matches_folder,
        _tree(distributed_folder.read_distributed),
        "is a distributed checkpoint, a format that is only read; gather it into one state dict and save that",
    ),
    FolderFormat(
        distributed_safetensors.matches_folder,
        _tree(distributed_safetensors.read_shards, in_network_order=False),
        "is a distributed checkpoint, a format that is only read; consolidate it into one safetensors file first",
    ),
)

_OF_MANY_KINDS = ".bin"  # a file that is called so must tell its format by its content


def open_file(path: Path, wanted: Wanted = PREFERRED) -> Checkpoint:
    """Open a file of weights by its content, whatever it is called.

    Raises CheckpointError if it is missing, unreadable, empty, damaged or of another kind, or is a graph where one of
    several sets of weights is wanted.
    """
    found = format_of(path)
    with reading_from(path, CheckpointError):
        try:
            if found.is_graph:
                refuse_choice(str(path), wanted.weights)
            opened = found.open(path, wanted)
        except (CheckpointError, MissingExtraError):
            if not found.is_certain and (foreign := foreign_network(path.name)):
                raise _not_read(path, foreign) from None
            raise
    opened = replace(opened, is_graph=found.is_graph)
    if opened.copying is not None:
        return opened
    otherwise = f"{found.name} files are only read; give the network, or its state dict"
    return replace(opened, only_read=found.only_read or otherwise)


def format_of(path: Path) -> Format:
    """Return the format of a file, by its content.

    Raises CheckpointError if it is missing, unreadable, empty or of no format that is known.
    """
    with reading_from(path, CheckpointError):
        return _format_of(path, _head(path))


def open_as_folder(folder: Path, wanted: Wanted) -> Checkpoint | None:
    """Open a folder whose files belong together, if it is one; None for any other folder.

    Raises CheckpointError if it cannot be read, or is damaged.
    """
    with reading_from(folder, CheckpointError):
        found = next((row for row in FOLDER_FORMATS if row.matches(folder)), None)
        return replace(found.open(folder, wanted), only_read=found.only_read) if found else None


def _head(path: Path) -> bytes:
    """Read the first bytes of a regular file; anything else may block for ever."""
    with open_regular(path) as file:
        head = file.read(HEAD)
    if not head:
        raise CheckpointError(f"{path}: is empty; fetch or save it again")
    return head


def _format_of(path: Path, head: bytes) -> Format:
    if head.startswith(LFS_POINTER):
        raise CheckpointError(f"{path}: is a Git LFS pointer, not the weights; run `git lfs pull` in its repository")
    if is_archive(head):
        return _format_of_archive(path)
    by_content = next((row for row in FORMATS if row.matches(head)), None)
    if by_content is None and (foreign := _foreign_network(path, head)):
        raise _not_read(path, foreign)
    by_suffix = next((row for row in FORMATS if path.name.lower().endswith(row.suffixes)), None)
    kind = foreign_kind(head) or ("of an unknown kind" if path.suffix.lower() == _OF_MANY_KINDS else "")
    if found := by_content or (None if kind else by_suffix):
        return found
    allowed = by_suffix.name if by_suffix else ", ".join(row.name for row in FORMATS[:-1]) + f" or {FORMATS[-1].name}"
    raise CheckpointError(
        f"{path}: is {kind or 'of an unknown kind'}, not a file of {allowed} weights; give one, or fetch it again"
    )


def _foreign_network(path: Path, head: bytes) -> str:
    """Say of which format, of those that are not read, a file is by its name and by the files beside it."""
    by_name = foreign_network(path.name, head)
    return by_name or (foreign_weights(path) if path.suffix.lower() == _OF_MANY_KINDS else "")


def _not_read(path: Path, kind: str) -> CheckpointError:
    return CheckpointError(f"{path}: is {kind}, {instead_of(kind, path.parent)}")


def _format_of_archive(path: Path) -> Format:
    """Return the format of a zip archive, which the names of its records tell."""
    names = open_archive(whole(path), str(path)).records
    if found := next((row for row in FORMATS if row.holds and row.holds(names)), None):
        return found
    raise CheckpointError(f"{path}: is a zip archive of no format that is read; unpack it and name the file inside")
