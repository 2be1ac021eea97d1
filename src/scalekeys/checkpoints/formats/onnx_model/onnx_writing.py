"""ONNX models with other filters: the numbers of some tensors are overwritten, in the model or in a file beside it."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import torch

from scalekeys.checkpoints.core.arrangement import LEADING
from scalekeys.checkpoints.core.changes import Change, bits, overwrite, overwrite_in_file
from scalekeys.checkpoints.core.kinds import Kinds
from scalekeys.checkpoints.formats.onnx_model.layers import Found, find_layers
from scalekeys.checkpoints.formats.onnx_model.onnx_data import beside, external_place, is_external
from scalekeys.checkpoints.formats.onnx_model.parsed import NotReadError, all_tensors, read_model
from scalekeys.checkpoints.formats.onnx_model.scopes import Program
from scalekeys.errors import CheckpointError

_LISTS = {torch.float32: "float_data", torch.float64: "double_data"}
_WHATEVER_VALUES = ("Identity", "Shape", "Size")  # what the first hands on is looked at where it arrives
_OTHER_LIST = "int32_data"  # holds the bits of smaller types, one number each


def write_onnx(path: Path, kinds: Kinds, changes: Sequence[Change], target: Path) -> tuple[str, ...]:
    """Copy an ONNX file that has been opened, with changes, and beside it the files that its values stand in.

    These are called by the copy, with ``.data`` behind, unless the copy has the name of the original and so may they.
    """
    model = read_model(path)
    program = Program(model, path)
    found = find_layers(program, kinds)
    _refuse_other_uses(program, found, changes)
    copies = _copy_data(model, path, target)
    for change in changes:
        tensor = found.weights[change.key].tensor
        if tensor is None:
            raise CheckpointError(
                f"{path}: the weight of layer {change.layer!r} is quantised, computed, reordered or sparse, so that "
                "other filters cannot be stored in its place; keep this layer, or give the model before quantisation"
            )
        if is_external(tensor):
            _overwrite_outside(model, path, copies, change, tensor)
        elif tensor.HasField("raw_data"):
            content = bytearray(tensor.raw_data)
            overwrite(content, change)
            tensor.raw_data = bytes(content)
        else:
            _set_numbers(tensor, change)
    _rename(model, copies)
    target.write_bytes(model.SerializeToString())
    return ()


def _refuse_other_uses(program: Program, found: Found, changes: Sequence[Change]) -> None:
    """Refuse to change a tensor that is more than the weight of layers that are read."""
    changed = {found.weights[change.key].identity: change.layer for change in changes}
    for scope, node in program.scopes():
        if scope.called(node) or node.op in _WHATEVER_VALUES:
            continue
        for name in filter(None, node.inputs):
            with suppress(NotReadError):
                identity = scope.origin(name).identity
                if identity in changed and (id(scope), node.position, name) not in found.uses:
                    raise CheckpointError(
                        f"{program.path}: the weight of layer {changed[identity]!r} is an input of "
                        f"{scope.path + node.label!r} as well, which is to stay as it is; keep this layer"
                    )


def data_files(model: Any) -> tuple[str | bytes, ...]:
    """Return the names that an ONNX model has for the files that hold its values; bytes where a name is no text."""
    entries = [tensor.external_data for tensor in all_tensors(model) if is_external(tensor)]
    names = (next((entry.value for entry in one if entry.key == "location"), "") for one in entries)
    return tuple(dict.fromkeys(names))


def _overwrite_outside(model: Any, path: Path, copies: Mapping[str | bytes, Path], change: Change, tensor: Any) -> None:
    """Put filters into a copied file of values, unless another tensor has some of their bytes."""
    location, start, size = external_place(tensor, path)
    file = beside(path, location).resolve()
    for other in all_tensors(model):
        if is_external(other) and other is not tensor:
            name, first, count = external_place(other, path)
            if first < start + size and start < first + count and beside(path, name).resolve() == file:
                raise CheckpointError(
                    f"{path}: layer {change.layer!r} shares its values in {location!r} with another tensor; keep this "
                    "layer"
                )
    with copies[location].open("r+b") as stream:
        overwrite_in_file(stream, change, start)


def _copy_data(model: Any, path: Path, target: Path) -> dict[str | bytes, Path]:
    """Copy the files of values, and return the copies by the names that the model has for the files."""
    names = data_files(model)
    copies: dict[str | bytes, Path] = {}
    for number, name in enumerate(names, 1):
        file = beside(path, name)
        own = f"{target.name}.data" if len(names) == 1 else f"{target.name}.data.{number}"
        stays = target.name == path.name and Path(str(name)).name == name
        copies[name] = target.with_name(str(name) if stays else own)
        try:
            shutil.copyfile(file, copies[name])
        except FileNotFoundError:
            raise CheckpointError(f"{path}: its external data {name!r} is missing; fetch it again") from None
    return copies


def _rename(model: Any, copies: Mapping[str | bytes, Path]) -> None:
    """Tell the tensors of a model where their values are now."""
    for tensor in all_tensors(model):
        for entry in tensor.external_data if is_external(tensor) else ():
            if entry.key == "location":
                entry.value = copies[entry.value].name


def _set_numbers(tensor: Any, change: Change) -> None:
    """Put filters into a tensor that lists its numbers one by one."""
    numbers = getattr(tensor, _LISTS.get(change.filters.dtype, _OTHER_LIST))
    flat = change.filters.flatten()
    values = flat if change.filters.dtype in _LISTS else torch.from_numpy(bits(flat).astype("i4"))
    order = torch.arange(prod(change.shape)).view(change.shape)
    places = change.arrangement(order).flatten(0, LEADING - 1)[change.places]
    for place, value in zip(places.flatten().tolist(), values.tolist(), strict=True):
        numbers[place] = value
