"""The values of ONNX tensors, inside the model or in a file beside it."""

from math import prod
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scalekeys.errors import CheckpointError
from scalekeys.optional import require


def values_of(tensor: Any, model: Path) -> Tensor:
    """Return the values of a tensor of the ONNX file `model`; half precision and less become float32.

    Raises
    ------
    CheckpointError
        If they are missing or incomplete, or would come from outside the folder of the model.
    """
    onnx = require("onnx", extra="onnx")
    if is_external(tensor):
        inside = onnx.TensorProto()
        inside.CopyFrom(tensor)
        inside.ClearField("external_data")
        inside.data_location = onnx.TensorProto.DEFAULT
        inside.raw_data = _external_bytes(tensor, model)
        tensor = inside
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # onnx checks neither the length nor the type before it reshapes
        raise CheckpointError(
            f"{model}: the values of {tensor.name!r} are damaged ({error}); export it again"
        ) from None
    return torch.from_numpy(np.array(array, dtype=np.float64 if array.dtype == np.float64 else np.float32))


def is_external(tensor: Any) -> bool:
    """Tell whether the values of a tensor are in a file beside the model."""
    return bool(tensor.data_location == require("onnx", extra="onnx").TensorProto.EXTERNAL)


def external_fields(tensor: Any) -> dict[str, str]:
    """Return what a tensor says of the file with its values: `location`, `offset` and `length`."""
    return {entry.key: entry.value for entry in tensor.external_data}


def _external_bytes(tensor: Any, model: Path) -> bytes:
    fields = external_fields(tensor)
    file = beside(model, fields.get("location", ""))
    onnx = require("onnx", extra="onnx")
    count = prod(tensor.dims) * np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    try:
        with file.open("rb") as stream:
            stream.seek(int(fields.get("offset", "0")))
            content = stream.read(count)
    except (OSError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{model}: its external data {file.name!r} cannot be read ({error})") from None
    if len(content) < count:
        raise CheckpointError(f"{file}: is cut short, the values of {tensor.name!r} are not all there; fetch it again")
    return content


def beside(model: Path, location: str) -> Path:
    """Return the file of external data, which must lie in the folder of the model.

    The folder that a linked model truly lies in counts too, as caches link both files into a folder of snapshots.
    """
    parts = PureWindowsPath(location).parts  # splits at both kinds of slashes
    outside = not parts or PureWindowsPath(location).anchor or location.startswith("/") or ".." in parts
    file = model.parent / location
    homes = (model.parent.resolve(), model.resolve().parent)
    if outside or not any(file.resolve().is_relative_to(home) for home in homes):
        raise CheckpointError(f"{model}: its external data {location!r} is outside the model's folder and is not read")
    return file
