"""The depthwise layers of an ONNX model, and the convolutions that are not read."""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from math import prod

from scalekeys.checkpoints.core.checkpoint import DepthwiseLayer, is_depthwise_shape, layer_of_graph
from scalekeys.checkpoints.core.finding import OTHER_AXES
from scalekeys.checkpoints.core.inventory import TensorInfo
from scalekeys.checkpoints.formats.onnx_model.onnx_data import type_of
from scalekeys.checkpoints.formats.onnx_model.operators import Operator, is_convolution, operator_of
from scalekeys.checkpoints.formats.onnx_model.parsed import Node, NotReadError, shape_of
from scalekeys.checkpoints.formats.onnx_model.scopes import Program, Scope, Stored
from scalekeys.checkpoints.formats.onnx_model.weights import Weight, Weights
from scalekeys.filters import LeftOut

_ANONYMOUS = re.compile(r"onnx::.*|_?val?_\d+|\d+|.*Constant(_\d+)?(_output_\d+)?|reorder(_token_\d+)?")


@dataclass(eq=False)
class Found:
    """What there is in a model.

    Parameters
    ----------
    layers : dict
        The depthwise layers by the keys of their weights.
    weights : dict
        Their weights, by key.
    stored : dict
        The tensors that the file holds, by key.
    uses : set
        Where the weights are used: scope, position of the node, and name of the input.
    names : set
        The names of the layers.
    left_out : list of LeftOut
    notes : list of str
    """

    layers: dict[str, DepthwiseLayer] = field(default_factory=dict)
    weights: dict[str, Weight] = field(default_factory=dict)
    stored: dict[str, Stored] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    uses: set[tuple[int, int, str]] = field(default_factory=set)

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """Shape and type of each stored tensor that has them, and of each weight."""
        infos = {key: info for key, stored in self.stored.items() if (info := _info(stored))}
        return infos | {key: weight.info for key, weight in self.weights.items()}


def find_layers(program: Program) -> Found:
    """Find the depthwise layers of a model, in the order of its graph.

    Raises
    ------
    CheckpointError
        If values that a weight is computed from are damaged, or functions call one another without end.
    """
    found, weights, keys = Found(), Weights(program), _Keys()
    scopes: set[int] = set()
    for scope, node in program.scopes():
        if id(scope) not in scopes:
            scopes.add(id(scope))
            _add_stored(found, scope, keys)
        if not is_convolution(node) or scope.called(node):
            continue
        try:
            _add(found, weights, scope, node, keys)
        except NotReadError as error:
            found.left_out.append(LeftOut(scope.path + node.label, _likely_shape(scope, node), str(error)))
    return found


def _likely_shape(scope: Scope, node: Node) -> tuple[int, ...]:
    """Return the shape of the first stored tensor that a convolution takes and that has the axes of a weight."""
    for name in filter(None, node.inputs):
        with suppress(NotReadError):
            origin = scope.origin(name)
            if isinstance(origin, Stored) and len(shape := shape_of(origin.tensor)) > 2:
                return shape
    return ()


def _add_stored(found: Found, scope: Scope, keys: "_Keys") -> None:
    for name, stored in scope.stored.items():
        found.stored.setdefault(keys.of(stored.identity, scope.path + name), stored)


def _add(found: Found, weights: Weights, scope: Scope, node: Node, keys: "_Keys") -> None:
    """Add the layer of a convolution, or say why it is left out, unless it has one group."""
    operator = operator_of(node, scope.opsets.get(node.domain, 1))
    group = node.integer("group", 1)
    if group == 1:
        return
    weight = weights.of(operator, scope, node)
    shape, name = weight.info.shape, _layer_name(scope, node, weight)
    reason = operator.unread or _reason(operator, node, shape, group)
    key = keys.of(weight.identity, weight.path + weight.name)
    if reason:
        found.left_out.append(LeftOut(name, shape, reason))
        return
    if not is_depthwise_shape(shape) or operator.transposed:
        return
    found.uses.add((id(scope), node.position, node.input(operator.weight)))
    if key not in found.layers:
        if name in found.names:
            name = scope.path + node.label
        found.names.add(name)
        found.layers[key], said = layer_of_graph(
            name, key, stride=_pair(node, "strides"), dilation=_pair(node, "dilations")
        )
        found.weights[key] = weight
        found.notes += [*said, *(f"layer {name!r} {note}" for note in weight.notes)]


def _reason(operator: Operator, node: Node, shape: tuple[int, ...], group: int) -> str:
    """Say why a convolution with this weight is not read; empty if it is, or is not depthwise."""
    if operator.transposed:
        return "it is a transposed convolution" if shape[:1] == (group,) else ""
    if len(shape) < 3 or group < 1 or (shape[0] % group and operator.layout != "blocks"):
        return f"its weight of shape {shape} does not fit its {group} groups"
    if node.integers("kernel_shape", shape[2:]) != shape[2:]:
        return f"its weight of shape {shape} does not have its kernel_shape"
    if len(shape) != 4 and shape[1] == 1 and prod(shape[2:]) > 1:
        return OTHER_AXES.get(len(shape), f"its kernels have {len(shape) - 2} axes, and kernels of two axes are read")
    return ""


def _pair(node: Node, name: str) -> tuple[int, ...]:
    values = node.integers(name) or (1, 1)
    if len(values) != 2 or 0 in values:
        raise NotReadError(f"the attribute {name!r} of its {node.op} is damaged")
    return values


def _layer_name(scope: Scope, node: Node, weight: Weight) -> str:
    if _ANONYMOUS.fullmatch(weight.name) and node.name:
        return scope.path + node.name
    return weight.path + weight.name.removesuffix(".weight")


@dataclass(eq=False)
class _Keys:
    """Gives each tensor a key of its own: what a damaged model calls its tensors may be the name of several."""

    _keys: dict[object, str] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)

    def of(self, identity: object, wanted: str) -> str:
        """Return the key of a tensor: the one that is wanted, if no other tensor has it."""
        if identity not in self._keys:
            free = next(key for number in count(1) if (key := wanted + f"#{number}" * (number > 1)) not in self._used)
            self._keys[identity] = free
            self._used.add(free)
        return self._keys[identity]


def _info(stored: Stored) -> TensorInfo | None:
    try:
        return TensorInfo(shape_of(stored.tensor), type_of(getattr(stored.tensor, "values", stored.tensor)).name)
    except NotReadError:
        return None
