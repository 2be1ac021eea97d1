"""The convolutions of an ONNX model: those that are read, and those that are not."""

import re
from contextlib import suppress
from dataclasses import dataclass, field
from math import prod

from scalekeys.checkpoints.core.arrangement import inputs_first, outputs_first
from scalekeys.checkpoints.core.checkpoint import ConvolutionLayer, has_sides, is_depthwise_shape, layer_of_graph
from scalekeys.checkpoints.core.inventory import TensorInfo
from scalekeys.checkpoints.core.kinds import DEPTHWISE, DEPTHWISE_ONLY, GROUPED, ORDINARY, Kinds, kind_of, not_asked
from scalekeys.checkpoints.core.naming import unique_name
from scalekeys.checkpoints.core.pitch import Pitch, same_everywhere
from scalekeys.checkpoints.formats.onnx_model.constants import steps_to
from scalekeys.checkpoints.formats.onnx_model.onnx_data import type_of
from scalekeys.checkpoints.formats.onnx_model.onnx_grids import Grids
from scalekeys.checkpoints.formats.onnx_model.operators import Operator, is_convolution, is_foreign, operator_of
from scalekeys.checkpoints.formats.onnx_model.parsed import Node, NotReadError, shape_of
from scalekeys.checkpoints.formats.onnx_model.scopes import Program, Scope, Stored
from scalekeys.checkpoints.formats.onnx_model.weights import Weight, Weights
from scalekeys.filters import LeftOut

_MOST_AXES = 5  # of a weight
_RECURRENT = ("RNN", "GRU", "LSTM")  # whose weights are their inputs 1 and 2
_ANONYMOUS = re.compile(r"onnx::.*|_?val?_\d+|\d+|.*Constant(_\d+)?(_output_\d+)?|reorder(_token_\d+)?")


@dataclass(eq=False)
class Found:
    """What there is in a model."""

    kinds: Kinds = DEPTHWISE_ONLY
    """The kinds of convolutions that are asked for."""
    layers: dict[str, ConvolutionLayer] = field(default_factory=dict)
    """The layers of these kinds by the keys of their weights."""
    weights: dict[str, Weight] = field(default_factory=dict)
    """Their weights, by key."""
    stored: dict[str, Stored] = field(default_factory=dict)
    """The tensors that the file holds, by key."""
    left_out: list[LeftOut] = field(default_factory=list)
    ordinary: set[tuple[int, str]] = field(default_factory=set)
    """Weights of ordinary convolutions that are not asked for: scope, and name of the input."""
    recurrent: set[str] = field(default_factory=set)
    """The keys of stored tensors that recurrent layers take as weights."""
    notes: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    uses: set[tuple[int, int, str]] = field(default_factory=set)
    """Where the weights are used: scope, position of the node, and name of the input."""
    places: dict[str, list[tuple[Operator, Scope, Node]]] = field(default_factory=dict)
    """The convolutions that use each weight, by its key."""
    _keys: dict[object, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def key_of(self, identity: object, wanted: str) -> str:
        """Return the key of a tensor: the wanted one, or one like it where a damaged model calls several tensors so."""
        if identity not in self._keys:
            self._keys[identity] = unique_name(wanted, self._counts)
        return self._keys[identity]

    def pitches(self, program: Program) -> dict[str, Pitch | None]:
        """Return the pitch of each layer, None where it is not known or not the same wherever its weight is used."""
        grids = Grids(program)
        axes = {key: len(weight.info.shape) - 2 for key, weight in self.weights.items()}
        return {
            key: same_everywhere(grids.pitch(*place, axes[key]) for place in self.places[key]) for key in self.layers
        }

    @property
    def tensors(self) -> dict[str, TensorInfo]:
        """Shape and type of each stored tensor that has them, and of each weight."""
        infos = {key: info for key, stored in self.stored.items() if (info := _info(stored))}
        return infos | {key: weight.info for key, weight in self.weights.items()}


def find_layers(program: Program, kinds: Kinds = DEPTHWISE_ONLY) -> Found:
    """Find the convolutions of a model that are of some kinds, in the order of its graph.

    Raises CheckpointError if values that a weight is computed from are damaged, or functions call one another without
    end.
    """
    found, weights = Found(kinds), Weights(program)
    scopes: set[int] = set()
    for scope, node in program.scopes():
        if id(scope) not in scopes:
            scopes.add(id(scope))
            _add_stored(found, scope)
        if node.op.endswith(_RECURRENT):
            found.recurrent |= _stored_weights(found, scope, node)
        if not (is_convolution(node) or _may_convolve(scope, node)) or scope.called(node):
            continue
        try:
            _add(found, weights, scope, node)
        except NotReadError as error:
            found.left_out.append(LeftOut(scope.path + node.label, _likely_shape(scope, node), str(error)))
    return found


def _may_convolve(scope: Scope, node: Node) -> bool:
    """Tell whether an operator that is not known takes what may be a depthwise weight beside values of the network."""
    if not is_foreign(node) or scope.called(node):
        return False
    data, *others = [_stored_shape(scope, name) for name in node.inputs] or [()]
    return not data and any(map(is_depthwise_shape, others))


def _likely_shape(scope: Scope, node: Node) -> tuple[int, ...]:
    """Return the shape of the first stored tensor that a convolution takes and that has the axes of a weight."""
    shapes = (_stored_shape(scope, name) for name in node.inputs)
    return next((shape for shape in shapes if len(shape) > 2), ())


def _stored_shape(scope: Scope, name: str) -> tuple[int, ...]:
    """Return the shape of a tensor that the file holds; empty for other values."""
    with suppress(NotReadError):
        origin = scope.origin(name) if name else None
        if isinstance(origin, Stored):
            return shape_of(origin.tensor)
    return ()


def _stored_weights(found: Found, scope: Scope, node: Node) -> set[str]:
    """Return the keys of the stored tensors that the weights of a recurrent layer are, or are computed from."""
    keys: set[str] = set()
    for name in filter(None, node.inputs[1:3]):
        with suppress(NotReadError):
            stored = [step for step in steps_to(scope.origin(name)) if isinstance(step, Stored)]
            keys |= {found.key_of(one.identity, one.path + one.name) for one in stored}
    return keys


def _add_stored(found: Found, scope: Scope) -> None:
    for name, stored in scope.stored.items():
        found.stored.setdefault(found.key_of(stored.identity, scope.path + name), stored)


def _add(found: Found, weights: Weights, scope: Scope, node: Node) -> None:
    """Add the layer of a convolution, or say why it is left out, unless it has one group and is not asked for."""
    operator = operator_of(node, scope.opsets.get(node.domain, 1))
    group = node.integer("group", 1)
    if group == 1 and ORDINARY not in found.kinds:
        with suppress(NotReadError):
            if prod(node.integers("kernel_shape") or _likely_shape(scope, node)[2:]) > 1:
                found.ordinary.add((id(scope), node.input(operator.weight)))
        return
    weight = weights.of(operator, scope, node)
    shape, name = weight.info.shape, _layer_name(scope, node, weight)
    reason = operator.unread or _fault(operator, node, shape, group)
    key = found.key_of(weight.identity, weight.path + weight.name)
    if not reason and has_sides(shape):
        kind = kind_of(groups=group, inputs=shape[1], transposed=operator.transposed)
        if kind == DEPTHWISE and shape[0] == 1:
            return
        if kind in found.kinds:
            _add_layer(found, scope, node, _Use(operator, kind, key, name), weight)
            return
        reason = not_asked(group, transposed=operator.transposed) if kind == GROUPED else ""
    if reason:
        found.left_out.append(LeftOut(name, shape, reason))


@dataclass(frozen=True)
class _Use:
    """What a node does with a weight, the key of the weight, and what its layer is to be called."""

    operator: Operator
    kind: str
    key: str
    name: str


def _add_layer(found: Found, scope: Scope, node: Node, use: _Use, weight: Weight) -> None:
    axes = len(weight.info.shape) - 2
    found.uses.add((id(scope), node.position, node.input(use.operator.weight)))
    found.places.setdefault(use.key, []).append((use.operator, scope, node))
    if use.key in found.layers:
        return
    name = scope.path + node.label if use.name in found.names else use.name
    found.names.add(name)
    found.layers[use.key], said = layer_of_graph(
        name,
        use.key,
        stride=_sides(node, "strides", axes),
        dilation=_sides(node, "dilations", axes),
        arrangement=inputs_first(node.integer("group", 1)) if use.operator.transposed else outputs_first,
        kind=use.kind,
    )
    found.weights[use.key] = weight
    found.notes += [*said, *(f"layer {name!r} {note}" for note in weight.notes)]


def _fault(operator: Operator, node: Node, shape: tuple[int, ...], group: int) -> str:
    """Say why a convolution does not fit its weight; empty if it does."""
    if len(shape) < 3 or group < 1 or (shape[0] % group and operator.layout != "blocks"):
        return f"its weight of shape {shape} does not fit its {group} groups"
    if node.integers("kernel_shape", shape[2:]) != shape[2:]:
        return f"its weight of shape {shape} does not have its kernel_shape"
    if len(shape) > _MOST_AXES and prod(shape[2:]) > 1:
        return f"its kernels have {len(shape) - 2} axes, and kernels of one to three axes are read"
    return ""


def _sides(node: Node, name: str, axes: int) -> tuple[int, ...]:
    values = node.integers(name) or (1,) * axes
    if len(values) != axes or 0 in values:
        raise NotReadError(f"the attribute {name!r} of its {node.op} is damaged")
    return values


def _layer_name(scope: Scope, node: Node, weight: Weight) -> str:
    if _ANONYMOUS.fullmatch(weight.name) and node.name:
        return scope.path + node.name
    return weight.path + weight.name.removesuffix(".weight")


def _info(stored: Stored) -> TensorInfo | None:
    try:
        return TensorInfo(shape_of(stored.tensor), type_of(getattr(stored.tensor, "values", stored.tensor)).name)
    except NotReadError:
        return None
