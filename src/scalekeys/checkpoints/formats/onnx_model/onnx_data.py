"""The values of ONNX tensors, inside the model or in a file beside it."""

import os
import re
from math import prod
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scalekeys.checkpoints.core.checkpoint import MOST_VALUES
from scalekeys.checkpoints.formats.onnx_model.parsed import NotReadError, shape_of, text
from scalekeys.errors import CheckpointError, shortened
from scalekeys.files import lies_beside, open_regular
from scalekeys.optional import in_short, require

_FEWER_BITS = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2}  # types of which several values share a byte
_LONGEST_PATH = 4096


def as_torch(array: np.ndarray) -> Tensor:
    """Return an array as a tensor of float64 if it is so, else of float32."""
    return torch.from_numpy(np.array(array, dtype=np.float64 if array.dtype == np.float64 else np.float32))


def array_of(tensor: Any, model: Path) -> np.ndarray:
    """Return the values of a tensor of the ONNX file `model`, dense or sparse, in the type that they are stored in.

    Raises CheckpointError if they are missing or incomplete, or would come from outside the folder of the model.
    """
    if hasattr(tensor, "indices"):
        return _dense(tensor, model)
    onnx = require("onnx", extra="onnx")
    if is_external(tensor):
        inside = onnx.TensorProto()
        inside.CopyFrom(tensor)
        inside.ClearField("external_data")
        inside.data_location = onnx.TensorProto.DEFAULT
        inside.raw_data = _external_bytes(tensor, model)
        tensor = inside
    try:
        array: np.ndarray = onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # onnx checks neither the length nor the type before it reshapes
        raise _damaged(tensor, model, in_short(error)) from None
    return array


def _dense(tensor: Any, model: Path) -> np.ndarray:
    """Return the values of a sparse tensor with the zeros between them."""
    values, indices = array_of(tensor.values, model), array_of(tensor.indices, model)
    shape = tuple(tensor.dims)
    if prod(shape) > MOST_VALUES:
        raise _damaged(tensor.values, model, f"it claims {prod(shape)} values")
    try:
        dense = np.zeros(shape, values.dtype)
        if indices.ndim > 1:
            dense[tuple(indices.T)] = values
        else:
            dense.reshape(-1)[indices] = values
    except (ValueError, IndexError, TypeError) as error:
        raise _damaged(tensor.values, model, in_short(error)) from None
    return dense


def _damaged(tensor: Any, model: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{model}: the values of {_name(tensor)} are damaged ({why[:150]}); export it again")


def _name(tensor: Any) -> str:
    return repr(text(tensor.name))


def type_of(tensor: Any) -> np.dtype:
    """Return the type of the values of a tensor; raises NotReadError if there is no such type."""
    try:
        found: np.dtype = require("onnx", extra="onnx").helper.tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError:
        raise NotReadError(f"its values are of a type that is not known ({tensor.data_type})") from None
    return found


def is_external(tensor: Any) -> bool:
    """Tell whether the values of a tensor are in a file beside the model."""
    return bool(tensor.data_location == require("onnx", extra="onnx").TensorProto.EXTERNAL)


def external_place(tensor: Any, model: Path) -> tuple[str, int, int]:
    """Return where the values of a tensor are: the file as the model calls it, the first byte, and how many.

    Raises CheckpointError if that is damaged.
    """
    fields = {text(entry.key): entry.value for entry in tensor.external_data}
    location = fields.get("location", "")
    try:
        size = _size(tensor)
        offset, length = (_count(fields.get(key, default)) for key, default in (("offset", "0"), ("length", str(size))))
    except (NotReadError, ValueError) as error:
        raise CheckpointError(f"{model}: its external data {_short(location)} cannot be read ({error})") from None
    if length < size:
        raise CheckpointError(
            f"{model}: the values of {_name(tensor)} are damaged ({length} bytes in place of {size}); export it again"
        )
    return _short(location)[1:-1] if isinstance(location, bytes) else location, offset, size


def _count(value: str | bytes) -> int:
    if not isinstance(value, str) or not re.fullmatch("[0-9]{1,18}", value):
        raise ValueError(f"{_short(value)} is no number of bytes")
    return int(value)


def _size(tensor: Any) -> int:
    bits = _FEWER_BITS.get(tensor.data_type, 8 * type_of(tensor).itemsize)
    return (prod(shape_of(tensor)) * bits + 7) // 8


def _external_bytes(tensor: Any, model: Path) -> bytes:
    location, offset, size = external_place(tensor, model)
    file = beside(model, location)
    try:
        with open_regular(file) as stream:
            if offset + size > os.fstat(stream.fileno()).st_size:
                raise CheckpointError(
                    f"{file}: is cut short, the values of {_name(tensor)} are not all there; fetch it again"
                )
            stream.seek(offset)
            return stream.read(size)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{model}: its external data {_short(location)} cannot be read ({_why(error)}); put that file beside it"
        ) from None


def beside(model: Path, location: str | bytes) -> Path:
    """Return the file of external data, which must lie in the folder of the model."""
    if isinstance(location, bytes) or not location.isprintable() or len(location) > _LONGEST_PATH:
        raise CheckpointError(f"{model}: its external data {_short(location)} cannot be read, as no file is called so")
    parts = PureWindowsPath(location).parts  # splits at both kinds of slashes
    outside = not parts or PureWindowsPath(location).anchor or location.startswith("/") or ".." in parts
    file = model.parent / location
    try:
        inside = not outside and lies_beside(file, model)
    except (OSError, RuntimeError) as error:  # a name that is too long, or links in a circle
        raise CheckpointError(f"{model}: its external data {_short(location)} cannot be read ({_why(error)})") from None
    if not inside:
        raise CheckpointError(
            f"{model}: its external data {_short(location)} is outside the model's folder and is not read"
        )
    return file


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or in_short(error)[:100]


def _short(location: str | bytes) -> str:
    return repr(shortened(text(location), 80))
