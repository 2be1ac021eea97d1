"""The table of file formats. A new one is a file beside this and a row here."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.kinds import DEPTHWISE_ONLY, Kinds
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
from scalekeys.checkpoints.formats.content import LFS_POINTER, NOT_READ, foreign_kind, foreign_network
from scalekeys.checkpoints.formats.keras_model import keras_file
from scalekeys.checkpoints.formats.onnx_model import onnx_file
from scalekeys.checkpoints.formats.stored.archive import is_archive, open_archive
from scalekeys.checkpoints.formats.stored.sources import whole
from scalekeys.checkpoints.formats.tflite_model import tflite_file
from scalekeys.checkpoints.formats.torch_zip import torch_file
from scalekeys.errors import CheckpointError, MissingExtraError
from scalekeys.files import open_regular


@runtime_checkable
class _Open(Protocol):
    def __call__(self, path: Path, *, weights: str | None = None, kinds: Kinds = DEPTHWISE_ONLY) -> Checkpoint: ...


@dataclass(frozen=True)
class Format:
    """A file format."""

    name: str
    """What it is called in errors."""
    suffixes: tuple[str, ...]
    """What its files are usually called; a hint where the content does not tell."""
    matches: Callable[[bytes], bool]
    """Tells from the first bytes of a file whether it can be of this format."""
    open: _Open
    """Opens a file, and chooses among nested weights where the format has them."""
    is_graph: bool = False
    """Whether a file holds a graph and the weights of its nodes, and no state dict."""
    holds: Callable[[Collection[str]], bool] | None = None
    """Where the format is a zip archive: tells from the names of its records whether it is of this format."""
    is_certain: bool = True
    """Whether no other format begins with the bytes that tell this one."""


@dataclass(frozen=True)
class FolderFormat:
    """A format that is a folder of files that belong together."""

    matches: Callable[[Path], bool]
    open: _Open


def _never(_head: bytes) -> bool:
    """Tell nothing from first bytes, for formats that are zip archives."""
    return False


FORMATS = (
    Format("safetensors", suffixes.SAFETENSORS, safetensors_file.matches, safetensors_file.open_safetensors),
    Format("TorchScript", (), _never, torchscript_file.open_torchscript, holds=torchscript_file.holds),
    Format("PyTorch", suffixes.TORCH, torch_file.matches, torch_file.open_torch, holds=torch_file.holds),
    Format("ONNX", suffixes.ONNX, onnx_file.matches, onnx_file.open_onnx, is_graph=True, is_certain=False),
    Format("torch.export", suffixes.EXPORTED, _never, exported_file.open_exported, holds=exported_file.holds),
    Format("NumPy", suffixes.NUMPY, _never, npz_file.open_npz, holds=npz_file.holds),
    Format(
        "Keras",
        suffixes.KERAS,
        keras_file.matches,
        keras_file.open_keras,
        is_graph=True,
        holds=keras_file.holds,
    ),
    Format("TensorFlow Lite", suffixes.TFLITE, tflite_file.matches, tflite_file.open_tflite, is_graph=True),
    Format("NeMo", suffixes.NEMO, nemo_file.matches, nemo_file.open_nemo),
    Format("pickle", suffixes.PICKLE, pickle_file.matches, pickle_file.open_pickle),
)
FOLDER_FORMATS = (
    FolderFormat(distributed_folder.matches_folder, distributed_folder.open_distributed),
    FolderFormat(distributed_safetensors.matches_folder, distributed_safetensors.open_shards),
)

_HEAD = 512


def open_file(path: Path, *, weights: str | None = None, kinds: Kinds = DEPTHWISE_ONLY) -> Checkpoint:
    """Open a file of weights by its content, whatever it is called.

    Raises CheckpointError if it is missing, unreadable, empty, damaged or of another kind.
    """
    found = format_of(path)
    try:
        opened = found.open(path, weights=weights, kinds=kinds)
    except (CheckpointError, MissingExtraError):
        if not found.is_certain and (foreign := foreign_network(path.name)):
            raise _not_read(path, foreign) from None
        raise
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    opened = replace(opened, is_graph=found.is_graph)
    if opened.copying is None and not opened.only_read:
        return replace(opened, only_read=f"{found.name} files are only read; give the network, or its state dict")
    return opened


def format_of(path: Path) -> Format:
    """Return the format of a file, by its content.

    Raises CheckpointError if it is missing, unreadable, empty or of no format that is known.
    """
    try:
        return _format_of(path, _head(path))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error


def open_as_folder(folder: Path, *, weights: str | None = None, kinds: Kinds = DEPTHWISE_ONLY) -> Checkpoint | None:
    """Open a folder whose files belong together, if it is one; None for any other folder.

    Raises CheckpointError if it cannot be read, or is damaged.
    """
    try:
        found = next((row for row in FOLDER_FORMATS if row.matches(folder)), None)
        return found.open(folder, weights=weights, kinds=kinds) if found else None
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read ({error.strerror or error})") from error


def _head(path: Path) -> bytes:
    """Read the first bytes of a regular file; anything else may block for ever."""
    with open_regular(path) as file:
        head = file.read(_HEAD)
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
    kind = foreign_kind(head)
    if found := by_content or (None if kind else by_suffix):
        return found
    allowed = by_suffix.name if by_suffix else ", ".join(row.name for row in FORMATS[:-1]) + f" or {FORMATS[-1].name}"
    raise CheckpointError(
        f"{path}: is {kind or 'of an unknown kind'}, not a file of {allowed} weights; give one, or fetch it again"
    )


def _foreign_network(path: Path, head: bytes) -> str:
    """Say of which format, of those that are not read, a file is by its name and by the files beside it."""
    if path.suffix == ".bin":
        beside = {".param": "a file of ncnn weights", ".xml": "a file of OpenVINO weights"}
        return next((kind for suffix, kind in beside.items() if path.with_suffix(suffix).is_file()), "")
    return foreign_network(path.name, head)


def _not_read(path: Path, kind: str) -> CheckpointError:
    return CheckpointError(f"{path}: is {kind}, {NOT_READ}")


def _format_of_archive(path: Path) -> Format:
    """Return the format of a zip archive, which the names of its records tell."""
    names = open_archive(whole(path), str(path)).records
    if found := next((row for row in FORMATS if row.holds and row.holds(names)), None):
        return found
    raise CheckpointError(f"{path}: is a zip archive of no format that is read; unpack it and name the file inside")
