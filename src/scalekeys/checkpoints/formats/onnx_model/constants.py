"""Weights that a graph computes from what it stores: computed with the reference implementation of the operators.

A graph may say that a constant has any number of values, so that sizes are predicted, and bounded, before anything is
computed.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scalekeys.checkpoints.formats.onnx_model.onnx_data import array_of, is_external
from scalekeys.checkpoints.formats.onnx_model.parsed import Node, NotReadError, all_tensors, shape_of, volume
from scalekeys.checkpoints.formats.onnx_model.predicted_sizes import PREDICTED
from scalekeys.checkpoints.formats.onnx_model.scopes import Made, Origin, Stored
from scalekeys.optional import in_short, require

_MOST_STEPS = 256
_MOST_VALUES = 2**24
_STRING = 8
_MICROSOFT = ("QuantizeLinear", "DequantizeLinear")  # in com.microsoft they do what ONNX defines since version 21
_OLDEST = {"QuantizeLinear": 21, "DequantizeLinear": 21}  # which define what older versions do as well


@dataclass(eq=False)
class Evaluator:
    """Computes constants of one model, until it has computed `values` numbers."""

    path: Path
    values: int = 2**26
    """How many numbers may be computed in all."""
    left: int = field(init=False, default=0)

    def array(self, origin: Origin) -> np.ndarray:
        """Return the values that come from somewhere in the graph.

        Raises NotReadError if they depend on what the network is given, or are too many, or an operator is not run
        here; CheckpointError if stored values are damaged.
        """
        self.left = min(_MOST_VALUES, self.values)
        arrays: dict[object, np.ndarray] = {}
        for step in steps_to(origin):
            if step.identity not in arrays:
                self._add(step, arrays)
        return arrays[origin.identity]

    def run(self, node: Node, arrays: Sequence[np.ndarray | None], version: int) -> list[np.ndarray]:
        """Return what one node gives."""
        self._take(_predicted(node, arrays))
        results = _run(node, arrays, version)
        for result in results:
            if not isinstance(result, np.ndarray) or result.dtype.kind in "OSU" or volume(result.shape) > _MOST_VALUES:
                raise NotReadError(f"its weight is computed by {node.op}, which gives no numbers here")
        return results

    def _add(self, step: Origin, arrays: dict[object, np.ndarray]) -> None:
        if isinstance(step, Stored):
            self._take(volume(shape_of(step.tensor)))
            arrays[step.identity] = array_of(step.tensor, self.path)
            return
        node = step.node
        given = [arrays[step.scope.origin(name).identity] if name else None for name in node.inputs]
        results = self.run(node, given, _version(step))
        for output, result in enumerate(results[: len(node.outputs)]):
            arrays[Made(node, step.scope, output).identity] = result

    def _take(self, count: int) -> None:
        self.left -= count
        self.values -= count
        if self.left < 0:
            raise NotReadError("its weight is computed from more numbers than a weight has")


def steps_to(origin: Origin) -> Iterator[Origin]:
    """Yield what has to be known to compute a value, each thing before what is computed from it.

    Raises NotReadError if something is not known, comes from itself, or is too much.
    """
    pending: list[tuple[Origin, bool]] = [(origin, False)]
    open_: set[object] = set()
    done: set[object] = set()
    while pending:
        step, ready = pending.pop()
        if step.identity in done:
            continue
        if ready or isinstance(step, Stored):
            done.add(step.identity)
            yield step
            continue
        if step.identity in open_:
            raise NotReadError("its weight is computed in a circle")
        open_.add(step.identity)
        if len(open_) + len(pending) > _MOST_STEPS:
            raise NotReadError(f"its weight is computed by more than {_MOST_STEPS} nodes")
        _refuse(step.node)
        pending.append((step, True))
        pending += [(step.scope.origin(name), False) for name in reversed(step.node.inputs) if name]


def _refuse(node: Node) -> None:
    known = node.op in (PREDICTED if node.domain == "" else _MICROSOFT if node.domain == "com.microsoft" else ())
    if not known:
        raise NotReadError(f"its weight is computed by {node.op}, which is not evaluated")
    if not any(node.inputs) and node.op != "Constant":
        raise NotReadError(f"its weight is computed by {node.op}, which has no inputs")
    attributes = node.attributes.values()
    external = any(is_external(tensor) for attribute in attributes for tensor in all_tensors(attribute))
    to_text = node.op.startswith("Cast") and "to" in node.attributes and node.attributes["to"].i == _STRING
    if external or any(True for _ in node.bodies()) or to_text:
        raise NotReadError(f"its weight is computed by {node.op} in a way that is not evaluated")


def _version(step: Made) -> int:
    node = step.node
    if node.domain:
        return _OLDEST[node.op]
    newest: int = require("onnx", extra="onnx").defs.onnx_opset_version()
    version = step.scope.opsets.get("", 0)
    if not 0 < version <= newest:
        raise NotReadError(f"its weight is computed by operators of version {version}, and 1 to {newest} are known")
    return max(version, _OLDEST.get(node.op, 1))


def _predicted(node: Node, arrays: Sequence[np.ndarray | None]) -> int:
    try:
        return PREDICTED[node.op](node, arrays)
    except (ValueError, TypeError, IndexError, OverflowError, ZeroDivisionError):
        raise NotReadError(f"its weight is computed by {node.op} from inputs that do not fit") from None


def _run(node: Node, arrays: Sequence[np.ndarray | None], version: int) -> list[np.ndarray]:
    onnx = require("onnx", extra="onnx")
    reference = require("onnx.reference", extra="onnx")
    names = [f"i{number}" if array is not None else "" for number, array in enumerate(arrays)]
    outputs = [f"o{number}" for number in range(max(1, len(node.outputs)))]
    single = onnx.NodeProto(op_type=node.op, input=names, output=outputs)
    for name, attribute in node.attributes.items():
        single.attribute.add().CopyFrom(attribute)
        single.attribute[-1].name = name
    ends = [[onnx.ValueInfoProto(name=name) for name in ends if name] for ends in (names, outputs)]
    graph = onnx.GraphProto(name="one", node=[single], input=ends[0], output=ends[1])
    opset = onnx.OperatorSetIdProto(domain="", version=version)
    model = onnx.ModelProto(ir_version=onnx.IR_VERSION, graph=graph, opset_import=[opset])
    given = {name: array for name, array in zip(names, arrays, strict=True) if array is not None}
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results: list[np.ndarray] = reference.ReferenceEvaluator(model).run(None, given)
    except Exception as error:  # anything, as it checks nothing that it is given
        raise NotReadError(f"its weight is computed by {node.op}, which fails ({in_short(error)[:120]})") from None
    return results
