"""``.onnx``: convolutions of the graph, with their strides and dilations, in its order."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from torch import Tensor

from scalekeys.checkpoints.core.changes import Copying
from scalekeys.checkpoints.core.checkpoint import (
    Checkpoint,
    DepthwiseLayer,
    is_depthwise_shape,
    layer_of_graph,
    refuse_choice,
)
from scalekeys.checkpoints.core.finding import OTHER_AXES
from scalekeys.checkpoints.core.inventory import TensorInfo
from scalekeys.checkpoints.formats.onnx_model.onnx_data import values_of
from scalekeys.checkpoints.formats.onnx_model.onnx_writing import data_files, write_onnx
from scalekeys.checkpoints.formats.onnx_model.parsed import read_model, stored_tensors
from scalekeys.filters import LeftOut
from scalekeys.optional import require

SUFFIXES = (".onnx",)

_WEIGHT_INPUT = {"Conv": 1, "FusedConv": 1, "ConvInteger": 1, "ConvTranspose": 1, "QLinearConv": 3}
_DTYPES = {
    "float": "float32",
    "double": "float64",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
    "float8e8m0": "float8_e8m0fnu",
}
_HANDS_ON = ("Identity", "Cast", "QuantizeLinear", "DequantizeLinear")
_ANONYMOUS = re.compile(r"onnx::.*|_?val?_\d+|\d+|.*Constant(_\d+)?(_output_\d+)?")
_SECOND_FIELDS = (0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42)  # tags of ModelProto, after ir_version


def matches(head: bytes) -> bool:
    """Tell whether a file starts as an ONNX model: the version of the format, then another field of the model."""
    return len(head) > 2 and head[0] == 0x08 and head[1] < 0x80 and head[2] in _SECOND_FIELDS


def open_onnx(path: Path, *, weights: str | None = None) -> Checkpoint:
    """Open an ONNX model; values in files beside it are read one tensor at a time.

    A layer is called by its weight, or by its node where the exporter has left the weight without a name. Functions
    and the bodies of loops and branches are not searched. Values are those of the file, where an exporter may have
    multiplied a batch norm into them.

    Raises
    ------
    MissingExtraError
        If onnx is not installed.
    CheckpointError
        If the file is damaged or cut short, or `weights` is given.
    """
    refuse_choice(str(path), weights)
    model = read_model(path)
    graph = model.graph
    stored = dict(stored_tensors(graph))
    tensors = {name: _info(tensor) for name, tensor in stored.items()}
    layers: dict[str, DepthwiseLayer] = {}
    notes: list[str] = []
    left_out: list[LeftOut] = []
    for node, key in _grouped_convolutions(graph, stored):
        if key is None:
            left_out.append(LeftOut(node.name or node.output[0], (), f"the weight of this {node.op_type} is computed"))
            continue
        name, shape = _layer_name(node, key), tensors[key].shape
        if _is_other_depthwise(node, shape):
            left_out.append(LeftOut(name, shape, OTHER_AXES.get(len(shape), "it is a transposed convolution")))
        elif is_depthwise_shape(shape) and key not in layers:
            stride, dilation = (_integers(node, attribute) or (1, 1) for attribute in ("strides", "dilations"))
            layers[key], said = layer_of_graph(name, key, stride=stride, dilation=dilation)
            notes += said

    def load(key: str) -> Tensor:
        return values_of(stored[key], path)

    found = tuple(layers.values())
    copying = Copying(partial(write_onnx, path), files=(path, *(path.parent / name for name in data_files(model))))
    return Checkpoint(
        str(path), path.stem, tensors, found, load, notes=tuple(notes), left_out=tuple(left_out), copying=copying
    )


def _grouped_convolutions(graph: Any, stored: Mapping[str, Any]) -> Iterator[tuple[Any, str | None]]:
    """Yield each convolution of more than one group with the name of its stored weight, None if it is computed."""
    producers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.op_type not in _WEIGHT_INPUT or (_integers(node, "group") or (1,))[0] <= 1:
            continue
        name: str = node.input[_WEIGHT_INPUT[node.op_type]]
        passed: set[str] = set()
        while name not in stored and name not in passed and getattr(producers.get(name), "op_type", "") in _HANDS_ON:
            passed.add(name)
            name = producers[name].input[0]
        yield node, name if name in stored else None


def _integers(node: Any, name: str) -> tuple[int, ...]:
    for attribute in node.attribute:
        if attribute.name == name:
            return tuple(attribute.ints) or (int(attribute.i),)
    return ()


def _is_other_depthwise(node: Any, shape: tuple[int, ...]) -> bool:
    """Tell whether a weight is depthwise in another number of dimensions, or of a transposed convolution."""
    transposed = node.op_type == "ConvTranspose" and _integers(node, "group")[0] == shape[0]
    return transposed or (len(shape) in (3, 5) and shape[1] == 1 and prod(shape[2:]) > 1)


def _layer_name(node: Any, key: str) -> str:
    return node.name if _ANONYMOUS.fullmatch(key) and node.name else key.removesuffix(".weight")


def _info(tensor: Any) -> TensorInfo:
    onnx = require("onnx", extra="onnx")
    name = str(onnx.TensorProto.DataType.Name(tensor.data_type)).lower()
    return TensorInfo(tuple(tensor.dims), _DTYPES.get(name, name))
