"""TensorFlow Lite files as plain values: the flatbuffer is read once, and everything that it claims is checked."""

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalekeys.errors import CheckpointError
from scalekeys.files import open_regular
from scalekeys.optional import in_short, require
from scalekeys.shapes import size_text

IDENTIFIER = b"TFL3"
"""What stands at byte 4 of every TensorFlow Lite file."""

_MOST_AXES = 8
_LARGEST_INDEX = 2**31
_OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "TRANSPOSE_CONV": "TransposeConvOptions",
    "CONV_3D": "Conv3DOptions",
    "CONV_3D_TRANSPOSE": "Conv3DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
}


@dataclass(frozen=True, eq=False)
class Quantisation:
    """How integers stand for numbers: ``(integer - zero_point) * scale``, for the tensor or along one axis of it."""

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int


@dataclass(frozen=True, eq=False)
class GraphTensor:
    """A tensor of a subgraph; `content` holds its bytes, and is None where the graph computes them."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    buffer: int
    content: NDArray[np.uint8] | None
    quantisation: Quantisation | None
    is_sparse: bool


@dataclass(frozen=True)
class Operator:
    """An operator of a subgraph, with what a convolution or a pooling says of itself; None where it says nothing."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: tuple[int, ...] | None = None
    dilation: tuple[int, ...] | None = None
    multiplier: int | None = None


@dataclass(frozen=True, eq=False)
class Subgraph:
    """Tensors by number, and operators in the order in which they run."""

    tensors: tuple[GraphTensor, ...]
    operators: tuple[Operator, ...]

    @cached_property
    def producers(self) -> dict[int, Operator]:
        """The operator that computes each tensor."""
        return {output: operator for operator in self.operators for output in operator.outputs}


def read_graph(path: Path) -> tuple[Subgraph, ...]:
    """Read the subgraphs of a TensorFlow Lite file; the values of their tensors stay in the file.

    Raises MissingExtraError if tflite is not installed; CheckpointError if the file is damaged or cut short.
    """
    tflite = require("tflite", extra="tflite")
    try:
        with open_regular(path) as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _Reader(tflite, content).subgraphs()
    except OSError:
        raise
    except Exception as error:  # flatbuffers follows every offset, and fails with whatever lies there
        raise CheckpointError(
            f"{path}: is no TensorFlow Lite model, or is damaged or cut short ({in_short(error)}); fetch it again"
        ) from None


class _Reader:
    """Reads the tables of one file, and stops where they name more than the file can hold."""

    def __init__(self, tflite: Any, content: mmap.mmap) -> None:
        self._tflite = tflite
        self._content = content
        if content[4:8] != IDENTIFIER:
            raise ValueError("it does not start as one")
        self._model = tflite.Model.GetRootAs(content)
        self._budget = len(content)
        self._kinds = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
        self._dtypes = {number: name.lower() for name, number in vars(tflite.TensorType).items() if name.isupper()}

    def subgraphs(self) -> tuple[Subgraph, ...]:
        found = []
        for number in range(self._model.SubgraphsLength()):
            self._spend(1)
            graph = self._model.Subgraphs(number)
            tensors = tuple(self._tensor(graph.Tensors(place)) for place in range(graph.TensorsLength()))
            operators = tuple(
                self._operator(graph.Operators(place), len(tensors)) for place in range(graph.OperatorsLength())
            )
            found.append(Subgraph(tensors, operators))
        if not any(graph.tensors for graph in found):
            raise ValueError("it has no tensors")
        return tuple(found)

    def _spend(self, count: int) -> None:
        """Count what was read: tables that name each other many times would take for ever in a small file."""
        self._budget -= count
        if self._budget < 0:
            raise ValueError("it names more than it holds")

    def _tensor(self, tensor: Any) -> GraphTensor:
        name = tensor.Name() or b""
        self._spend(1 + len(name) + tensor.ShapeLength())
        shape = _integers(tensor.ShapeAsNumpy(), tensor.ShapeLength())
        if len(shape) > _MOST_AXES or any(side < 0 for side in shape):
            raise ValueError(f"a tensor has the shape {shape[:_MOST_AXES]}")
        dynamic = _integers(tensor.ShapeSignatureAsNumpy(), tensor.ShapeSignatureLength())
        if len(dynamic) == len(shape):
            shape = tuple(0 if open_ < 0 else side for side, open_ in zip(shape, dynamic, strict=True))
        return GraphTensor(
            name=name.decode("utf-8", errors="replace"),
            shape=shape,
            dtype=self._dtypes.get(tensor.Type(), f"values of type {tensor.Type()}"),
            buffer=tensor.Buffer(),
            content=None if tensor.IsVariable() else self._values(tensor.Buffer()),
            quantisation=_quantisation(tensor.Quantization()),
            is_sparse=tensor.Sparsity() is not None,
        )

    def _values(self, number: int) -> NDArray[np.uint8] | None:
        """Return the bytes of a buffer, which stand in the flatbuffer or, in large files, behind it."""
        if number >= self._model.BuffersLength():
            raise ValueError(f"there is no buffer {number}")
        buffer = self._model.Buffers(number)
        if buffer.DataLength():
            return np.asarray(buffer.DataAsNumpy(), np.uint8)
        start, size = buffer.Offset(), buffer.Size()
        if start <= 1 or size == 0:  # the converter writes 1 where it fills the offset in later
            return None
        if start + size > len(self._content):
            raise ValueError(f"buffer {number} ends behind the end of the file")
        return np.frombuffer(self._content, np.uint8, size, start)

    def _operator(self, operator: Any, tensors: int) -> Operator:
        self._spend(1 + operator.InputsLength() + operator.OutputsLength())
        inputs = _integers(operator.InputsAsNumpy(), operator.InputsLength())
        outputs = _integers(operator.OutputsAsNumpy(), operator.OutputsLength())
        if any(number >= tensors for number in (*inputs, *outputs)):
            raise ValueError("an operator names a tensor that is not there")
        kind = self._kind(operator.OpcodeIndex())
        options = self._options(kind, operator)
        if options is None:
            return Operator(kind, inputs, outputs)
        return Operator(
            kind,
            inputs,
            outputs,
            stride=_sides(options, "Stride{}"),
            dilation=_sides(options, "Dilation{}Factor"),
            multiplier=options.DepthMultiplier() if kind == "DEPTHWISE_CONV_2D" else None,
        )

    def _kind(self, number: int) -> str:
        if number >= self._model.OperatorCodesLength():
            raise ValueError(f"there is no kind {number} of operators")
        code = self._model.OperatorCodes(number)
        kind: str = self._kinds.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "an unknown operator")
        if kind != "CUSTOM":
            return kind
        name = code.CustomCode() or b""
        self._spend(len(name))
        return f"{kind} {name.decode('utf-8', errors='replace')}"

    def _options(self, kind: str, operator: Any) -> Any:
        """Return the options of a convolution or a pooling, None for other operators."""
        name = _OPTIONS.get(kind)
        table = operator.BuiltinOptions() if name else None
        if name is None or table is None:
            return None
        if operator.BuiltinOptionsType() != getattr(self._tflite.BuiltinOptions, name):
            raise ValueError(f"an operator {kind} has the options of another one")
        options = getattr(self._tflite, name)()
        options.Init(table.Bytes, table.Pos)
        return options


def _integers(values: Any, length: int) -> tuple[int, ...]:
    return tuple(values.tolist()) if length else ()


def _sides(options: Any, name: str) -> tuple[int, ...]:
    """Return what options say along each axis; 1 where the operator has no such option."""
    sides = tuple(getattr(options, name.format(axis), lambda: 1)() for axis in "DHW")
    if not 0 < min(sides) <= max(sides) < _LARGEST_INDEX:
        raise ValueError(f"a convolution has the stride or the dilation {size_text(sides)}")
    return sides if hasattr(options, "StrideD") else sides[1:]


def _quantisation(table: Any) -> Quantisation | None:
    if table is None or not table.ScaleLength():
        return None
    scale, zero_point = np.asarray(table.ScaleAsNumpy()), np.zeros(1, np.int64)
    if table.ZeroPointLength():
        zero_point = np.asarray(table.ZeroPointAsNumpy())
    return Quantisation(scale, zero_point, table.QuantizedDimension())


def dequantised(integers: NDArray[Any], quantisation: Quantisation) -> NDArray[np.float32]:
    """Return the numbers that integers stand for, each rounded once, as TensorFlow Lite has it.

    >>> both = Quantisation(np.float32([0.5, 2.0]), np.int64([0, 1]), axis=1)
    >>> dequantised(np.int8([[3, 3], [-4, -4]]), both)
    array([[  1.5,   4. ],
           [ -2. , -10. ]], dtype=float32)
    """
    with np.errstate(all="ignore"):
        exact = integers.astype(np.float64) - _along(quantisation.zero_point, quantisation.axis, integers.ndim)
        return (exact * _along(quantisation.scale, quantisation.axis, integers.ndim)).astype(np.float32)


def _along(values: NDArray[Any], axis: int, axes: int) -> NDArray[np.float64]:
    sides: Sequence[int] = [-1 if place == axis else 1 for place in range(axes)] if len(values) > 1 else ()
    return values.astype(np.float64).reshape(sides)
