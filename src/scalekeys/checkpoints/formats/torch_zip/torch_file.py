"""``.pth``, ``.pt``, ``.bin``, ``.ckpt``: what ``torch.save`` writes, old and new. A pickle is never executed."""

import io
import pickle
import re
import threading
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from scalekeys.checkpoints.core.changes import Copying
from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.nesting import pick
from scalekeys.checkpoints.core.state_dict import from_state_dict
from scalekeys.checkpoints.formats.torch_zip.pickles import STAND_INS, names_in_pickles
from scalekeys.checkpoints.formats.torch_zip.torch_writing import write_torch
from scalekeys.checkpoints.formats.torch_zip.zip_records import MAGIC, is_archive
from scalekeys.errors import CheckpointError

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".pth.tar")

_WAY_OUT = (
    "where you trust the file, load it yourself and save its weights with "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)
_ONE_AT_A_TIME = threading.Lock()  # the list of stand-ins and the filters of warnings belong to the whole process


def matches(head: bytes) -> bool:
    """Tell whether a file that starts so can be a zip archive or a binary pickle."""
    return head.startswith(MAGIC) or (len(head) > 1 and head[0] == 0x80 and head[1] <= pickle.HIGHEST_PROTOCOL)


def open_torch(path: Path, *, weights: str | None = None) -> Checkpoint:
    """Open a file of ``torch.save`` and choose the weights in it.

    Parameters
    ----------
    path : Path
        The values of the usual zip format stay on disk until asked for.
    weights : str, optional
        The nested state dict to take.

    Raises
    ------
    CheckpointError
        If the file is damaged, holds code or objects beside weights that would have to be executed, or no tensors.
    """
    content = load_safely(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path}: holds a {type(content).__name__}, not a dict of weights; save model.state_dict()"
        )
    entry, notes = pick(content, weights, label=str(path))
    opened = from_state_dict(
        entry.info(), entry.tensors.__getitem__, label=str(path), model=path.stem, notes=notes, entry=entry.path
    )
    return replace(opened, copying=Copying(partial(write_torch, path, weights), files=(path,)))


def load_safely(path: Path) -> Any:
    """Load a file of ``torch.save`` on the CPU without executing what it holds.

    Raises
    ------
    CheckpointError
        If that cannot be done.
    """
    is_zip = is_archive(path)
    mapped = _check_archive(path) if is_zip else False
    try:
        return _load(path, mapped)
    except pickle.UnpicklingError as error:
        raise _refusal(path, is_zip, str(error)) from None
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{path}: is damaged or cut short, or not a file of torch.save ({first or type(error).__name__}); "
            "fetch or save it again"
        ) from error


def _load(path: Path, mapped: bool) -> Any:
    """Map the file into memory if it can be; a name in ``.safetensors`` would mislead ``torch.load``, so open it."""
    with _ONE_AT_A_TIME, warnings.catch_warnings(), torch.serialization.safe_globals(list(STAND_INS)):
        warnings.simplefilter("ignore")
        if path.suffix == ".safetensors":
            with path.open("rb") as file:
                return torch.load(file, weights_only=True, map_location="cpu")
        return torch.load(path, weights_only=True, map_location="cpu", mmap=mapped)


def _check_archive(path: Path) -> bool:
    """Refuse archives that ``torch.save`` has not written; tell whether the values can be mapped from the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: is damaged or cut short ({error}); fetch or save it again") from None
    names = {member.filename.partition("/")[2] for member in members}
    if "constants.pkl" in names:
        raise CheckpointError(
            f"{path}: is a TorchScript archive, which holds code, and scalekeys never executes code from a file; "
            f"where you trust it, load it with torch.jit.load and save torch.save(module.state_dict(), 'weights.pth')"
        )
    if "data.pkl" not in names:
        raise CheckpointError(
            f"{path}: is a zip archive, but not one of torch.save; unpack it and name the file inside"
        )
    return all(member.compress_type == zipfile.ZIP_STORED for member in members)


def _refusal(path: Path, is_zip: bool, reason: str) -> CheckpointError:
    """Say what a pickle wanted to run."""
    names = _names(path, is_zip)
    wanted = _wanted(names, reason)
    if any(name.startswith("torch.nn.modules.") for name in names):
        what = f"holds a whole pickled model, not only its weights, and wants to run {wanted!r}"
    elif wanted:
        what = f"wants to run {wanted!r}"
    else:
        what = f"is damaged, or a pickle that cannot be read without executing it ({_last_sentence(reason)})"
    return CheckpointError(f"{path}: {what}; scalekeys never executes a pickle: {_WAY_OUT}")


def _wanted(names: list[str], reason: str) -> str:
    """Return the name that was refused; the interpreter may stop at an opcode before it meets any.

    Where the file is cut short within a name, what was refused is the half of one and does not count.
    """
    if refused := re.search(r"GLOBAL (\S+) (?:was not|whose)", reason):
        name = refused.group(1)
        whole = any(other.rpartition(".")[2] == name.rpartition(".")[2] for other in names)
        return (name if "." in name else f"builtins.{name}") if whole else ""
    harmless = {name for _, name in STAND_INS} | {"collections.OrderedDict", "_codecs.encode"}
    return next((name for name in names if name not in harmless and not name.startswith("torch.")), "")


def _names(path: Path, is_zip: bool) -> list[str]:
    try:
        if not is_zip:
            with path.open("rb") as file:
                return list(names_in_pickles(file))
        with zipfile.ZipFile(path) as archive:
            member = next(name for name in archive.namelist() if name.partition("/")[2] == "data.pkl")
            return list(names_in_pickles(io.BytesIO(archive.read(member))))
    except (zipfile.BadZipFile, OSError, StopIteration):
        return []


def _last_sentence(reason: str) -> str:
    lines = [line.strip() for line in reason.splitlines() if line.strip() and "pytorch.org" not in line]
    return lines[-1].rpartition("WeightsUnpickler error: ")[2].rstrip(".") if lines else "no reason given"
