"""The convolutions of a TensorFlow.js graph, told as layers of Keras, whose weights have the same order of axes."""

from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scalekeys.checkpoints.core.kinds import DEPTHWISE, ORDINARY
from scalekeys.checkpoints.formats.keras_model.keras_checkpoint import Placed
from scalekeys.checkpoints.formats.keras_model.keras_config import LayerConfig
from scalekeys.checkpoints.formats.keras_model.keras_layers import MAIN_KERNELS, Role, role_of
from scalekeys.checkpoints.formats.keras_model.keras_tree import StoredWeight
from scalekeys.checkpoints.formats.tensorflow_names import clean_name
from scalekeys.checkpoints.formats.tfjs_model.entries import entry, numbers
from scalekeys.checkpoints.formats.tfjs_model.tfjs_weights import ManifestWeight
from scalekeys.errors import printable

_DEPTHWISE_CLASS = "DepthwiseConv2D"
_CLASSES = {
    "Conv2D": "Conv2D",
    "_FusedConv2D": "Conv2D",
    "Conv3D": "Conv3D",
    "Conv2DBackpropInput": "Conv2DTranspose",
    "DepthwiseConv2d": _DEPTHWISE_CLASS,
    "DepthwiseConv2dNative": _DEPTHWISE_CLASS,
    "FusedDepthwiseConv2dNative": _DEPTHWISE_CLASS,
}
"""The layers of Keras that operators stand for. A ``Conv2D`` of TensorFlow.js has one group."""

_AXES = {"Conv3D": 5}
"""How many axes their weights have, and what they are applied to, where these are not four."""

_HANDING_ON = ("Identity", "Switch", "Enter")
"""Operators that give their first input as it is."""
_LONGEST = 64  # so many of them in a row are a circle

_OF_A_CALL = "StatefulPartitionedCall/"
_VERSION = 2  # of the Keras whose weights are described


@dataclass(frozen=True, eq=False)
class _Node:
    """A node, with the names of the nodes that its inputs come from."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    @property
    def axes(self) -> int:
        """Number of axes of its weight, and of what it is applied to."""
        return _AXES.get(self.op, 4)

    def sides(self, name: str) -> list[int]:
        """Return a list of a number for each axis of the kernels; of ones where the node has none."""
        values = numbers(self.attributes, name, "list", "i") or [1] * self.axes
        return values[2:] if self._layout().startswith("NC") else values[1:-1]

    def _layout(self) -> str:
        """Return the order of axes, such as NHWC, which is stored in base 64 or, by old converters, as numbers."""
        found = entry(self.attributes, "data_format", kind=dict, default={}).get("s", "")
        try:
            return (bytes(found) if isinstance(found, list) else b64decode(found)).decode(errors="replace")
        except (ValueError, TypeError):
            raise ValueError("its entry 'data_format.s' is not a text in base 64") from None


def placed_in_graph(topology: Mapping[str, Any], stored: Mapping[str, ManifestWeight]) -> Iterator[Placed]:
    """Yield the weights of the convolutions of a graph and of its functions, in the order of the file.

    A weight that can be read is yielded once; one that cannot, for each convolution that has it.
    `stored`: all weights of the manifest by name, which is that of their node.
    Raises ValueError if the graph is damaged.
    """
    used: set[str] = set()
    functions = entry(topology, "library", "function", kind=list, default=[])
    inner = (entry(function, "nodeDef", kind=list, default=[]) for function in functions)
    for nodes in (entry(topology, "node", kind=list), *inner):
        graph = {node.name: node for node in map(_node, nodes)}
        for node in graph.values():
            if node.op in _CLASSES:
                placed = _placed(graph, node, stored)
                if placed.weight.fault:
                    yield placed
                elif placed.weight.key not in used:
                    used.add(placed.weight.key)
                    yield placed


def _node(found: Any) -> _Node:
    name, op = entry(found, "name", kind=str), entry(found, "op", kind=str)
    inputs = entry(found, "input", kind=list, default=[])
    if not all(isinstance(text, str) for text in inputs):
        raise ValueError(f"the inputs of its node {name!r} are not texts")
    sources = (text.partition(":")[0] for text in inputs if not text.startswith("^"))
    return _Node(name, op, tuple(sources), entry(found, "attr", kind=dict, default={}))


def _placed(graph: Mapping[str, _Node], node: _Node, stored: Mapping[str, ManifestWeight]) -> Placed:
    """Return the weight of a convolution with what it is; a layer is called by its node."""
    short = node.name.replace(_OF_A_CALL, "")
    label = printable(clean_name(short) or short)
    settings = {"strides": node.sides("strides"), "dilation_rate": _dilation(graph, node, stored)}
    config = LayerConfig(label, _CLASSES[node.op], settings, 0, ())
    source = _source(graph, node, 1)
    found, fault = stored.get(source), _fault(graph, node, source, stored)
    shape, dtype = (found.shape, found.dtype) if found else ((), "")
    weight = StoredWeight(source, (label,), MAIN_KERNELS[0], (label,), label, label, shape, dtype, fault)
    if fault:
        return Placed(weight, Role(DEPTHWISE if config.class_name == _DEPTHWISE_CLASS else ORDINARY, fault=fault))
    return Placed(weight, role_of(weight, config, _VERSION), config)


def _fault(graph: Mapping[str, _Node], node: _Node, source: str, stored: Mapping[str, ManifestWeight]) -> str:
    """Say why the weight of a convolution, which comes from the node `source`, cannot be read; empty if it can."""
    if source in stored:
        axes = len(stored[source].shape)
        return stored[source].fault if axes == node.axes else f"its weight has {axes} axes"
    if source in graph and graph[source].op not in ("Const", "Placeholder"):
        return f"its weight is computed by the operator {graph[source].op}"
    return "its weight is handed in, or is stored in another file"


def _source(graph: Mapping[str, _Node], node: _Node, place: int) -> str:
    """Return the name of the node that an input of a node comes from; empty where there is no such input."""
    name = node.inputs[place] if len(node.inputs) > place else ""
    for _ in range(_LONGEST):
        if name not in graph or graph[name].op not in _HANDING_ON or not graph[name].inputs:
            break
        name = graph[name].inputs[0]
    return name


def _dilation(graph: Mapping[str, _Node], node: _Node, stored: Mapping[str, ManifestWeight]) -> list[int]:
    """Return the dilation; it is often said by spreading the input over a batch, as TensorFlow runs it."""
    own = node.sides("dilations")
    before = graph.get(_source(graph, node, 0))
    if before is None or before.op != "SpaceToBatchND":
        return own
    block = stored.get(_source(graph, before, 1))
    if block is None or block.dtype != "int32" or block.shape != (len(own),):
        return own
    return [step * int(spread) for step, spread in zip(own, block.values(), strict=True)]
