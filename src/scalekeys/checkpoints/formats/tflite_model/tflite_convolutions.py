"""The convolutions of TensorFlow Lite graphs: their kinds, their names, and why some are left out."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from scalekeys.checkpoints.core.kinds import GROUPED, ORDINARY, kind_of, not_asked
from scalekeys.checkpoints.core.pitch import Pitch, same_everywhere
from scalekeys.checkpoints.formats.tensorflow_names import clean_name
from scalekeys.checkpoints.formats.tflite_model.tflite_graph import Operator, Subgraph
from scalekeys.checkpoints.formats.tflite_model.tflite_grids import Grids
from scalekeys.checkpoints.formats.tflite_model.tflite_weights import Weight, constant_integers, weight_of

TORCH_ORDER = {
    "CONV_2D": (0, 3, 1, 2),
    "DEPTHWISE_CONV_2D": (3, 0, 1, 2),
    "CONV_3D": (4, 3, 0, 1, 2),
    "TRANSPOSE_CONV": (0, 3, 1, 2),
    "CONV_3D_TRANSPOSE": (3, 4, 0, 1, 2),
}
"""Which axes of a stored weight are the filters, the channels of one of them, and the sides of its kernels."""

_OTHERS = re.compile(r"STABLEHLO_CONVOLUTION|CUSTOM .*(conv|edgetpu|ethos).*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution of a graph."""

    name: str
    """Of its weight or else of its output, without what the converter has put behind; not unique."""
    operator: str
    """What it is in the graph."""
    shape: tuple[int, ...]
    """Of its weight, as it is stored."""
    weight: Weight | None
    """None where it cannot be read."""
    kind: str = ""
    """Empty where it is not known, or the kernels have one value."""
    reason: str = ""
    """Why it is left out where it is not read; empty where it is then not spoken of."""
    fault: str = ""
    """Why it cannot be read at all; empty where it can."""
    stride: tuple[int, ...] | None = None
    dilation: tuple[int, ...] | None = None
    """`stride` and `dilation`: along the axes of its kernels."""
    pitch: Pitch | None = None
    """Of the samples that its kernels stand on, in samples of the input of the network, where it is known."""


def convolutions(graphs: Sequence[Subgraph]) -> Iterator[Convolution]:
    """Yield the convolutions of all subgraphs in the order in which they run, one for each weight.

    Subgraphs that stand for signatures of one network share its weights by name.
    """
    shared: set[tuple[object, ...]] = set()
    for graph in graphs:
        used, own, pitches = set(), set(), _pitches(graph)
        for operator in graph.operators:
            if operator.kind not in TORCH_ORDER:
                if _OTHERS.fullmatch(operator.kind):
                    yield _other(graph, operator)
                continue
            number = operator.inputs[1] if len(operator.inputs) > 1 else -1
            if number < 0 or number in used or (identity := _identity(graph, number)) in shared:
                continue
            used.add(number)
            own.add(identity)
            yield replace(_convolution(graph, operator, number), pitch=pitches[number])
        shared |= own - {()}


def _pitches(graph: Subgraph) -> dict[int, Pitch | None]:
    """Return the pitch of convolutions by the numbers of their weights."""
    grids, uses = Grids(graph), defaultdict(list)
    for operator in graph.operators:
        if operator.kind in TORCH_ORDER and len(operator.inputs) > 1:
            uses[operator.inputs[1]].append(grids.pitch(operator))
    return {number: same_everywhere(found) for number, found in uses.items()}


def _identity(graph: Subgraph, number: int) -> tuple[object, ...]:
    tensor = graph.tensors[number]
    return (tensor.name, tensor.buffer, tensor.shape) if tensor.name and tensor.content is not None else ()


def _convolution(graph: Subgraph, operator: Operator, number: int) -> Convolution:
    found = weight_of(graph, number)
    shape, weight = graph.tensors[number].shape, None if isinstance(found, str) else found
    kind, reason = _role(operator, shape, _channels(graph, operator))
    fault = found if isinstance(found, str) else ""
    if fault and (reason or 0 in shape):
        reason = fault
    name = _name(graph, operator, weight.source.name if weight else "", graph.tensors[number].name)
    dilation = _dilation(graph, operator)
    return Convolution(name, operator.kind, shape, weight, kind, reason, fault, operator.stride, dilation)


def _other(graph: Subgraph, operator: Operator) -> Convolution:
    reason = f"it is the operator {operator.kind.removeprefix('CUSTOM ')!r}, which is not read"
    return Convolution(_name(graph, operator), operator.kind, (), None, reason=reason)


def _role(operator: Operator, shape: tuple[int, ...], channels: int | None) -> tuple[str, str]:
    """Return the kind of a convolution, and why it is left out where it is not read."""
    order = TORCH_ORDER[operator.kind]
    if len(shape) != len(order):
        return "", f"its weight has {len(shape)} axes"
    filters, inner, *sides = (shape[axis] for axis in order)
    if 0 in shape or prod(sides) == 1:
        return "", ""
    if "TRANSPOSE" in operator.kind:
        return ORDINARY, ""
    if operator.kind == "DEPTHWISE_CONV_2D":
        channels = channels or filters // (operator.multiplier or 1)
    elif channels is None:
        reason = "the graph does not say how many channels its input has, so that it can be depthwise or ordinary"
        return ("", reason) if inner == 1 < filters else (ORDINARY, "")
    if channels % inner or filters % max(1, channels // inner):
        return "", "its filters do not fit the channels of its input"
    groups = channels // inner
    if groups == 1:
        named = operator.kind == "DEPTHWISE_CONV_2D"
        return ORDINARY, "its input has one channel, so that it is an ordinary convolution" if named else ""
    kind = kind_of(groups=groups, inputs=inner)
    return kind, not_asked(groups) if kind == GROUPED else ""


def _channels(graph: Subgraph, operator: Operator) -> int | None:
    """Return how many channels the input of a convolution has, None where the graph leaves that open."""
    axes = len(TORCH_ORDER[operator.kind])
    shape = graph.tensors[operator.inputs[0]].shape if operator.inputs[0] >= 0 else ()
    return shape[-1] if len(shape) == axes and shape[-1] > 0 else None


def _dilation(graph: Subgraph, operator: Operator) -> tuple[int, ...] | None:
    """Return the dilation; older converters spread the input over a batch in the place of the kernel over pixels."""
    before = graph.producers.get(operator.inputs[0])
    if operator.dilation and before and before.kind == "SPACE_TO_BATCH_ND":
        block = constant_integers(graph, before)
        if len(block) == len(operator.dilation) and min(block) > 0:
            return tuple(own * spread for own, spread in zip(operator.dilation, block, strict=True))
    return operator.dilation


def _name(graph: Subgraph, operator: Operator, *names: str) -> str:
    """Return the first name that says something: of the weight, or of the output of its operator."""
    output = graph.tensors[operator.outputs[0]].name if operator.outputs and operator.outputs[0] >= 0 else ""
    cleaned = (clean_name(name) for name in (*names, output))
    return next((name for name in cleaned if name), operator.kind.lower())
