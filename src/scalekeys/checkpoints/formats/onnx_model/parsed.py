"""ONNX models as they are stored: the parsed file, and the tensors in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scalekeys.errors import CheckpointError
from scalekeys.optional import require


def read_model(path: Path) -> Any:
    """Parse an ONNX file, without the values in files beside it.

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    CheckpointError
        If the file is damaged or cut short, or has an empty graph.
    """
    onnx = require("onnx", extra="onnx")
    try:
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except OSError:
        raise
    except Exception as error:  # the protobuf runtime has several, and which depends on its build
        raise CheckpointError(
            f"{path}: is no ONNX model, or is damaged or cut short ({error}); fetch or export it again"
        ) from None
    if not model.graph.node:
        raise CheckpointError(f"{path}: is no ONNX model, or has an empty graph; fetch or export it again")
    return model


def stored_tensors(graph: Any) -> Iterator[tuple[str, Any]]:
    """Yield the tensors that a graph holds, with their names: initializers and constants."""
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def all_tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor in a message of the format, however deep: of functions, loops and sparse tensors too."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in [value] if hasattr(value, "ListFields") else value:
            if field.message_type.name == "TensorProto":
                yield part
            else:
                yield from all_tensors(part)
