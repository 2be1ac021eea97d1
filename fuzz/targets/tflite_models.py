"""TensorFlow Lite models of a few operators, built by the classes of the schema."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import flatbuffers
import numpy as np
import tflite

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int8": 9, "int4": 17, "bfloat16": 18}


@dataclass
class T:
    """A tensor; `buffer` is the name of the buffer that it shares with others of that name."""

    name: str
    shape: tuple[int, ...]
    type: str = "float32"
    data: bytes | None = None
    scale: Any = None
    zero_point: Any = None
    axis: int = 0
    buffer: str | None = None
    sparse: bool = False


def constant(name: str, array: Any, **more: Any) -> T:
    """Return a tensor with values."""
    array = np.asarray(array)
    more.setdefault("type", array.dtype.name)
    more.setdefault("shape", array.shape)
    return T(name, data=array.tobytes(), **more)


@dataclass
class Op:
    """An operator, its inputs and outputs by the numbers of their tensors."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int] = field(default_factory=dict)
    custom: str = ""


Graph: TypeAlias = tuple[Sequence[T], Sequence[Op]]
"""Tensors and operators of a subgraph."""


def _vector(b: Any, kind: str, values: Any) -> Any:
    values = list(values)
    put = {"i4": b.PrependInt32, "i8": b.PrependInt64, "f4": b.PrependFloat32, "off": b.PrependUOffsetTRelative}[kind]
    size = {"i4": 4, "i8": 8, "f4": 4, "off": 4}[kind]
    b.StartVector(size, len(values), size)
    for value in reversed(values):
        put(value)
    return b.EndVector()


def model(*graphs: Graph, outside: Collection[str] = ()) -> bytes:
    """Build a model of subgraphs, each (tensors, operators); buffers named in `outside` stand behind the flatbuffer."""
    b = flatbuffers.Builder(1024)
    contents: dict[Any, bytes] = {None: b""}
    for tensors, _ in graphs:
        for tensor in tensors:
            if tensor.data is not None:
                contents[tensor.buffer or id(tensor)] = tensor.data
    order = list(contents)
    codes = list(dict.fromkeys((op.kind, op.custom) for _, ops in graphs for op in ops))
    tables = {
        "graphs": [_subgraph(b, tensors, ops, order, codes) for tensors, ops in graphs],
        "codes": [_code(b, *code) for code in codes],
        "buffers": [_buffer(b, contents[name], name in outside) for name in order],
    }
    vectors = {name: _vector(b, "off", parts) for name, parts in tables.items()}
    tflite.ModelStart(b)
    tflite.ModelAddVersion(b, 3)
    tflite.ModelAddSubgraphs(b, vectors["graphs"])
    tflite.ModelAddOperatorCodes(b, vectors["codes"])
    tflite.ModelAddBuffers(b, vectors["buffers"])
    b.Finish(tflite.ModelEnd(b), b"TFL3")
    return _with_outside(bytearray(b.Output()), [contents[name] for name in order if name in outside])


def _with_outside(content: bytearray, parts: Sequence[bytes]) -> bytes:
    found = tflite.Model.GetRootAs(content)
    places = [found.Buffers(i) for i in range(found.BuffersLength())]
    for buffer, part in zip([place for place in places if place.Offset() == 7], parts, strict=True):
        at = buffer._tab.Pos + buffer._tab.Offset(6)
        content[at : at + 8] = len(content).to_bytes(8, "little")
        content += part
    return bytes(content)


def _buffer(b: Any, content: bytes, is_outside: bool) -> Any:
    data = b.CreateByteVector(content) if content and not is_outside else None
    tflite.BufferStart(b)
    if data is not None:
        tflite.BufferAddData(b, data)
    if is_outside:
        tflite.BufferAddOffset(b, 7)  # filled in once the place is known
        tflite.BufferAddSize(b, len(content))
    return tflite.BufferEnd(b)


def _code(b: Any, kind: str, custom: str) -> Any:
    name = b.CreateString(custom) if custom else None
    number = getattr(tflite.BuiltinOperator, kind)
    tflite.OperatorCodeStart(b)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(number, 127))
    tflite.OperatorCodeAddBuiltinCode(b, number)
    if name is not None:
        tflite.OperatorCodeAddCustomCode(b, name)
    return tflite.OperatorCodeEnd(b)


def _subgraph(b: Any, tensors: Sequence[T], ops: Sequence[Op], order: list[Any], codes: list[tuple[str, str]]) -> Any:
    stored = _vector(b, "off", [_tensor(b, tensor, order) for tensor in tensors])
    run = _vector(b, "off", [_operator(b, op, codes) for op in ops])
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, stored)
    tflite.SubGraphAddOperators(b, run)
    return tflite.SubGraphEnd(b)


def _tensor(b: Any, tensor: T, order: list[Any]) -> Any:
    name, shape = b.CreateString(tensor.name), _vector(b, "i4", tensor.shape)
    quantisation = sparsity = None
    if tensor.scale is not None:
        scale = _vector(b, "f4", np.ravel(tensor.scale))
        zeros = _vector(b, "i8", np.ravel(np.zeros(1, int) if tensor.zero_point is None else tensor.zero_point))
        tflite.QuantizationParametersStart(b)
        tflite.QuantizationParametersAddScale(b, scale)
        tflite.QuantizationParametersAddZeroPoint(b, zeros)
        tflite.QuantizationParametersAddQuantizedDimension(b, tensor.axis)
        quantisation = tflite.QuantizationParametersEnd(b)
    if tensor.sparse:
        tflite.SparsityParametersStart(b)
        sparsity = tflite.SparsityParametersEnd(b)
    tflite.TensorStart(b)
    tflite.TensorAddShape(b, shape)
    tflite.TensorAddType(b, TYPES[tensor.type])
    tflite.TensorAddBuffer(b, order.index(tensor.buffer or id(tensor)) if tensor.data is not None else 0)
    tflite.TensorAddName(b, name)
    if quantisation is not None:
        tflite.TensorAddQuantization(b, quantisation)
    if sparsity is not None:
        tflite.TensorAddSparsity(b, sparsity)
    return tflite.TensorEnd(b)


def _operator(b: Any, op: Op, codes: list[tuple[str, str]]) -> Any:
    inputs, outputs = _vector(b, "i4", op.inputs), _vector(b, "i4", op.outputs)
    name = {"CONV_2D": "Conv2DOptions", "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions"}.get(op.kind)
    options = None
    if name is not None:
        getattr(tflite, f"{name}Start")(b)
        for key, value in ({"StrideH": 1, "StrideW": 1} | op.options).items():
            getattr(tflite, f"{name}Add{key}")(b, value)
        options = getattr(tflite, f"{name}End")(b)
    tflite.OperatorStart(b)
    tflite.OperatorAddOpcodeIndex(b, codes.index((op.kind, op.custom)))
    tflite.OperatorAddInputs(b, inputs)
    tflite.OperatorAddOutputs(b, outputs)
    if name is not None:
        tflite.OperatorAddBuiltinOptionsType(b, getattr(tflite.BuiltinOptions, name))
        tflite.OperatorAddBuiltinOptions(b, options)
    return tflite.OperatorEnd(b)
