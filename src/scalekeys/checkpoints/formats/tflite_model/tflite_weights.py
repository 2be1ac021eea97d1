"""Weights of TensorFlow Lite graphs: constants, and what converters put between a constant and its convolution."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalekeys.checkpoints.formats.tflite_model.tflite_graph import GraphTensor, Operator, Subgraph, dequantised

_NUMPY = "float64 float32 float16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool"
_STORED = {name: np.dtype(name).newbyteorder("<") for name in _NUMPY.split()}
_QUANTISED = ("int4", "int8", "uint8", "int16")
_FLOATING = ("float16", "bfloat16", "float32", "float64")
_RESHAPING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Step:
    """An operator between a constant and its use, and the tensors on its two sides."""

    kind: str
    before: GraphTensor
    after: GraphTensor
    order: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Weight:
    """A weight that a graph holds: a constant, and the steps from it to the tensor that is used."""

    tensor: GraphTensor
    source: GraphTensor
    steps: tuple[_Step, ...] = ()

    def values(self) -> Array:
        """Compute the numbers of the weight; integers without a scale stay integers."""
        values = _stored(self.source)
        for step in self.steps:
            values = _APPLY[step.kind](values, step)
        return _numbers(values, self.tensor)


def weight_of(graph: Subgraph, number: int) -> Weight | str:
    """Return the weight behind a tensor, or the reason why it cannot be read, in a clause."""
    steps: list[_Step] = []
    used, passed = graph.tensors[number], {number}
    while graph.tensors[number].content is None:
        operator = graph.producers.get(number)
        if operator is None:
            return "its weight is handed in, or is stored in another file"
        step = _step(graph, operator, graph.tensors[number])
        if isinstance(step, str):
            return step
        steps.append(step)
        number = operator.inputs[0]
        if number in passed:
            return "its weight is computed in a circle"
        passed.add(number)
    weight = Weight(used, graph.tensors[number], tuple(reversed(steps)))
    return _fault(weight) or weight


def dtype_of(tensor: GraphTensor) -> str:
    """Return the type of the numbers that a tensor stands for."""
    return "float32" if tensor.dtype in _QUANTISED and tensor.quantisation else tensor.dtype


def _step(graph: Subgraph, operator: Operator, after: GraphTensor) -> _Step | str:
    """Return an operator as a step that can be computed, or the reason why it cannot be."""
    if operator.kind not in _APPLY or not operator.inputs or operator.inputs[0] < 0:
        return f"its weight is computed by the operator {operator.kind}"
    before = graph.tensors[operator.inputs[0]]
    step = _Step(operator.kind, before, after)
    if operator.kind == "TRANSPOSE":
        order = constant_integers(graph, operator)
        if sorted(order) != list(range(len(before.shape))):
            return "its weight is transposed in an order that the graph computes"
        step = _Step(operator.kind, before, after, order)
    shape = tuple(before.shape[axis] for axis in step.order) if step.order else before.shape
    fits = prod(shape) == prod(after.shape) if operator.kind in _RESHAPING else shape == after.shape
    return step if fits else f"its weight has a shape that does not fit the operator {operator.kind}"


def constant_integers(graph: Subgraph, operator: Operator) -> tuple[int, ...]:
    """Return the second input of an operator where it is a constant list of integers, else nothing."""
    tensor = graph.tensors[operator.inputs[1]] if len(operator.inputs) > 1 and operator.inputs[1] >= 0 else None
    if tensor is None or tensor.content is None or tensor.dtype not in ("int32", "int64") or size_fault(tensor):
        return ()
    return tuple(_stored(tensor).ravel().tolist())


def _fault(weight: Weight) -> str:
    """Say why a weight cannot be read; empty if it can."""
    if any(tensor.is_sparse for tensor in (weight.source, weight.tensor)):
        return "its weight is stored sparsely"
    if fault := size_fault(weight.source):
        return fault
    for step in weight.steps:
        if step.kind == "CAST" and not (step.before.dtype in _FLOATING and step.after.dtype in _FLOATING):
            return f"its weight is cast from {step.before.dtype} to {step.after.dtype}"
        if step.kind == "DEQUANTIZE" and (fault := _number_fault(step.before)):
            return fault
    return _number_fault(weight.tensor)


def _number_fault(tensor: GraphTensor) -> str:
    """Say why the integers of a tensor stand for no numbers; empty if they do."""
    if tensor.dtype in _FLOATING:
        return ""
    if tensor.dtype not in _QUANTISED:
        return f"its weight holds {tensor.dtype}"
    quantisation = tensor.quantisation
    if quantisation is None:
        return f"its weight holds {tensor.dtype} without a scale"
    lengths = {len(quantisation.scale), len(quantisation.zero_point)} - {1}
    axis = quantisation.axis
    if lengths and not (0 <= axis < len(tensor.shape) and lengths == {tensor.shape[axis]}):
        return "the scales of its weight do not fit its shape"
    return ""


def size_fault(tensor: GraphTensor) -> str:
    """Say why the stored bytes of a constant are not its values; empty if they are."""
    bits = 4 if tensor.dtype == "int4" else 16 if tensor.dtype == "bfloat16" else 0
    if tensor.dtype in _STORED:
        bits = 8 * _STORED[tensor.dtype].itemsize
    if not bits:
        return f"its weight holds {tensor.dtype}"
    expected = -(-prod(tensor.shape) * bits // 8)
    found = 0 if tensor.content is None else len(tensor.content)
    return "" if found == expected else f"its weight has {found} bytes in the file in the place of {expected}"


def _stored(tensor: GraphTensor) -> Array:
    content = np.zeros(0, np.uint8) if tensor.content is None else tensor.content
    if tensor.dtype == "int4":
        both = np.stack([content << 4, content], -1).reshape(-1)[: prod(tensor.shape)].view(np.int8)
        return (both >> 4).reshape(tensor.shape)
    if tensor.dtype == "bfloat16":
        return (content.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(tensor.shape)
    return np.frombuffer(content, _STORED[tensor.dtype]).reshape(tensor.shape)


def _numbers(values: Array, tensor: GraphTensor) -> Array:
    return dequantised(values, tensor.quantisation) if tensor.quantisation and tensor.dtype in _QUANTISED else values


def _cast(values: Array, step: _Step) -> Array:
    with np.errstate(over="ignore"):
        return values.astype(_STORED[step.after.dtype]) if step.after.dtype in _STORED else values


_APPLY: Mapping[str, Callable[[Array, _Step], Array]] = {
    "DEQUANTIZE": lambda values, step: _numbers(values, step.before),
    "TRANSPOSE": lambda values, step: values.transpose(step.order),
    "CAST": _cast,
    **dict.fromkeys(_RESHAPING, lambda values, step: values.reshape(step.after.shape)),
}
