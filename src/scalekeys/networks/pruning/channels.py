"""Which channels of the tensors of a network belong together, which are constant, and what uses them.

Every operation that keeps channels apart ties the channels of its inputs to those of its output. A convolution or a
linear layer that sums over channels uses them, and gives new ones. What no rule knows uses all channels as they are.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from scalekeys.networks.pruning.exported import Exported, arguments, operation, place, shape


@dataclass(frozen=True, eq=False)
class Use:
    """A layer that sums over channels.

    Parameters
    ----------
    node : Node
        The convolution or linear layer.
    source : Node
        Its input.
    weight, bias : str
        The names of its parameters; that of a bias that it lacks is the one it would have.
    padded : bool
        Whether zeros beside the input meet a kernel of more than one value.
    """

    node: Node
    source: Node
    weight: str
    bias: str
    padded: bool


@dataclass(frozen=True)
class Cut:
    """A parameter that has an entry for each channel of a node, along one axis."""

    name: str
    axis: int
    node: Node


@dataclass(eq=False)
class Channels:
    """What is known of the channels of a network.

    Parameters
    ----------
    graph : Exported
    constants : dict
        By the name of a depthwise weight what its filters give on, (channels,); NaN where that depends on the input.
    """

    graph: Exported
    constants: dict[str, Tensor]
    axis: dict[Node, int] = field(default_factory=dict)
    start: dict[Node, int] = field(default_factory=dict)
    values: dict[Node, Tensor] = field(default_factory=dict)
    ties: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    pins: list[tuple[Tensor, str]] = field(default_factory=list)
    mixed: list[tuple[Tensor, str]] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    depthwise: dict[str, Node] = field(default_factory=dict)
    count: int = 0

    def of(self, node: Node) -> Tensor:
        """Return the numbers of the channels of a node among all channels."""
        return torch.arange(len(self.values[node])) + self.start[node]

    def tracked(self, argument: Any) -> bool:
        """Tell whether the channels of an argument are known."""
        return isinstance(argument, Node) and argument in self.axis

    def add(self, node: Node, axis: int, values: Tensor) -> None:
        """Begin the channels of a node."""
        self.axis[node], self.start[node], self.values[node] = axis, self.count, values
        self.count += len(values)

    def follow(self, node: Node, source: Node, values: Tensor, axis: int | None = None) -> None:
        """Give a node the channels of its input."""
        self.add(node, self.axis[source] if axis is None else axis, values)
        self.tie(node, source)

    def tie(self, node: Node, source: Node) -> None:
        """Let the channels of two nodes be removed together only."""
        self.ties.append((self.of(node), self.of(source)))

    def pin(self, node: Node, reason: str) -> None:
        """Let no channel that enters a node be removed."""
        self.pins += [(self.of(one), reason) for one in node.all_input_nodes if self.tracked(one)]

    def cut(self, argument: Any, node: Node, axis: int = 0) -> None:
        """Let a parameter lose the entries of the channels of a node that are removed."""
        name = self.graph.parameter(argument)
        if name is not None:
            self.cuts.append(Cut(name, axis, node))


def channels_of(graph: Exported, constants: dict[str, Tensor]) -> Channels:
    """Follow the channels of a network through its operations.

    Parameters
    ----------
    graph : Exported
    constants : dict
        See :class:`Channels`.
    """
    channels = Channels(graph, constants)
    for node in graph.nodes:
        if operation(node) == "output":
            channels.pin(node, "the channel is an output of the network")
            continue
        rule = _RULES.get(operation(node))
        reason = _unknown(node) if rule is None or shape(node) is None else rule(channels, node)
        if reason is not None:
            channels.pin(node, reason)
    return channels


def _unknown(node: Node) -> str:
    return f"{place(node)} does not keep the channels apart, or rearranges them"


def _normalization(channels: Channels, node: Node) -> str:  # noqa: ARG001
    return f"{place(node)} normalises over channels, so that a constant one still counts in the others"


def _convolution(channels: Channels, node: Node) -> str | None:
    given = arguments(node)
    if not _plain(channels.graph, given):
        return f"the weights of {place(node)} are computed, or used more than once"
    outputs, inputs, *sides = channels.graph.state[channels.graph.names[given["weight"]]].shape
    padding = given["padding"]
    padded = prod(sides) > 1 and (padding == "same" if isinstance(padding, str) else any(padding))
    if given["groups"] == 1:
        _sums(channels, node, given, 1, padded=padded)
        return None
    if inputs != 1 or given["groups"] != outputs:
        return f"the convolution {place(node)} has groups of several channels, all of one size"
    _depthwise(channels, node, given, padded=padded)
    return None


def _linear(channels: Channels, node: Node) -> str | None:
    given, sizes = arguments(node), shape(node) or ()
    if not _plain(channels.graph, given):
        return f"the weights of {place(node)} are computed, or used more than once"
    if channels.tracked(given["input"]) and channels.axis[given["input"]] != len(sizes) - 1:
        return _unknown(node)
    _sums(channels, node, given, len(sizes) - 1, padded=False)
    return None


def _plain(graph: Exported, given: dict[str, Any]) -> bool:
    return all(graph.is_layer(given[name]) for name in ("weight", "bias") if given[name] is not None)


def _bias(graph: Exported, given: dict[str, Any]) -> Tensor:
    weight = graph.tensor(given["weight"])
    return weight.new_zeros(len(weight)) if given["bias"] is None else graph.tensor(given["bias"])


def _sums(channels: Channels, node: Node, given: dict[str, Any], axis: int, *, padded: bool) -> None:
    """Follow a layer that sums over channels."""
    weight, source = channels.graph.tensor(given["weight"]), given["input"]
    values = torch.full((len(weight),), torch.nan, dtype=torch.float64)
    name = channels.graph.names[given["weight"]]
    if channels.tracked(source):
        channels.uses.append(Use(node, source, name, f"{name.rpartition('.')[0]}.bias", padded))
        channels.cut(given["weight"], source, axis=1)
        here = channels.values[source]
        here = torch.where(here != 0, torch.nan, here) if padded else here
        known = here.isfinite()
        open_ended = (weight[:, ~known] != 0).flatten(1).any(-1)
        sums = by_input(weight)[:, known] @ here[known]
        values = torch.where(open_ended, torch.nan, sums + _bias(channels.graph, given))
    channels.add(node, axis, values)
    channels.cut(given["weight"], node)
    channels.cut(given["bias"], node)


def by_input(weight: Tensor) -> Tensor:
    """Return what a layer multiplies a constant input by: its weight, summed over the kernel, (outputs, inputs)."""
    return weight.reshape(*weight.shape[:2], -1).sum(-1)


def _depthwise(channels: Channels, node: Node, given: dict[str, Any], *, padded: bool) -> None:
    weight, source = channels.graph.tensor(given["weight"]).flatten(1), given["input"]
    name, bias = channels.graph.names[given["weight"]], _bias(channels.graph, given)
    values = torch.full_like(bias, torch.nan)
    if channels.tracked(source):
        here = channels.values[source]
        values = (torch.where(here != 0, torch.nan, here) if padded else here) * weight.sum(1) + bias
    values = torch.where((weight == 0).all(1), bias, values)
    known = channels.constants.get(name, torch.full_like(values, torch.nan))
    channels.add(node, 1, torch.where(known.isnan(), values, known))
    if channels.tracked(source):
        channels.tie(node, source)
    else:
        channels.pins.append((channels.of(node), f"{place(node)} filters channels that cannot be cut off before it"))
    channels.depthwise[name] = node
    channels.cut(given["weight"], node)
    channels.cut(given["bias"], node)


def _batch_norm(channels: Channels, node: Node) -> str | None:
    given, graph = arguments(node), channels.graph
    source, parts = given["input"], [given[name] for name in ("running_mean", "running_var", "weight", "bias")]
    if not channels.tracked(source) or channels.axis[source] != 1 or parts[0] is None or given["training"]:
        return _unknown(node)
    if not all(graph.is_layer(part) for part in parts if part is not None):
        return f"the weights of {place(node)} are computed, or used more than once"
    mean, variance, scale, shift = (None if part is None else graph.tensor(part) for part in parts)
    assert mean is not None
    assert variance is not None
    values = (channels.values[source] - mean) / (variance + given["eps"]).sqrt()
    values = values * (1 if scale is None else scale) + (0 if shift is None else shift)
    channels.follow(node, source, values)
    for part in parts:
        channels.cut(part, node)
    return None


def _prelu(channels: Channels, node: Node) -> str | None:
    source, weight = _source(node), node.args[1]
    if not channels.tracked(source) or channels.axis[source] != 1 or not channels.graph.is_layer(weight):
        return _unknown(node)
    slopes, before = channels.graph.tensor(weight), channels.values[source]
    channels.follow(node, source, torch.where(before < 0, before * slopes, before))
    if len(slopes) > 1:
        channels.cut(weight, node)
    return None


def _source(node: Node) -> Node:
    """Return the first operand of an operation on a tensor."""
    source = node.args[0]
    assert isinstance(source, Node)
    return source


def _same(channels: Channels, node: Node) -> str | None:
    """Follow what gives each channel on as it is."""
    source = _source(node)
    if not channels.tracked(source):
        return _unknown(node)
    channels.follow(node, source, channels.values[source])
    return None


def _pooling(channels: Channels, node: Node) -> str | None:
    """Follow what takes means, maxima or interpolations within each channel, or pads it."""
    given, source = arguments(node), _source(node)
    sizes, before = shape(node) or (), shape(source) or ()
    if not channels.tracked(source) or channels.axis[source] != 1 or sizes[:2] != before[:2]:
        return _unknown(node)
    values = channels.values[source]
    pads = given.get("pad", given.get("padding", 0))
    zeros = operation(node).startswith("avg_pool") or "pad" in given
    if zeros and (any(pads) if isinstance(pads, list | tuple) else pads):
        values = torch.where(values != 0, torch.nan, values)
    channels.follow(node, source, values)
    return None


def _mean(channels: Channels, node: Node) -> str | None:
    given, source = arguments(node), _source(node)
    if not channels.tracked(source) or not given.get("dim"):
        return _unknown(node)
    rank, axis = len(shape(source) or ()), channels.axis[source]
    over = {dim % rank for dim in given["dim"]}
    if axis in over:
        return _unknown(node)
    left = axis if given["keepdim"] else axis - sum(dim < axis for dim in over)
    channels.follow(node, source, channels.values[source], left)
    return None


def _reshape(channels: Channels, node: Node) -> str | None:
    """Follow a tensor in another shape in which the channels still are one axis."""
    source = _source(node)
    if not channels.tracked(source):
        return _unknown(node)
    before, after, axis = shape(source) or (), shape(node) or (), channels.axis[source]
    for place_after, size in enumerate(after):
        if size == before[axis] and prod(after[:place_after]) == prod(before[:axis]):
            channels.follow(node, source, channels.values[source], place_after)
            return None
    return _unknown(node)


def _permute(channels: Channels, node: Node) -> str | None:
    given, source, rank = arguments(node), _source(node), len(shape(node) or ())
    if not channels.tracked(source):
        return _unknown(node)
    if operation(node) == "permute":
        order = [dim % rank for dim in given["dims"]]
    else:
        order = list(range(rank))
        first, second = given["dim0"], given["dim1"]
        order[first], order[second] = order[second], order[first]
    channels.follow(node, source, channels.values[source], order.index(channels.axis[source]))
    return None


def _concatenation(channels: Channels, node: Node) -> str | None:
    given = arguments(node)
    parts, dim = given["tensors"], given["dim"] % len(shape(node) or ())
    if any(channels.tracked(part) and channels.axis[part] != dim for part in parts):
        return _unknown(node)
    values = [_values_of(channels, part, dim) for part in parts]
    channels.add(node, dim, torch.cat(values))
    for part, here in zip(parts, channels.of(node).split([len(some) for some in values]), strict=True):
        if channels.tracked(part):
            channels.ties.append((channels.of(part), here))
        else:
            channels.pins.append((here, f"{place(node)} puts the channel beside others that are not known"))
    return None


def _values_of(channels: Channels, part: Node, dim: int) -> Tensor:
    if channels.tracked(part):
        return channels.values[part]
    return torch.full(((shape(part) or ())[dim],), torch.nan, dtype=torch.float64)


def _elementwise(channels: Channels, node: Node) -> str | None:
    """Follow what is computed for each value alone, from one tensor or two."""
    sources = [one for one in node.all_input_nodes if channels.tracked(one)]
    others = [one for one in node.all_input_nodes if not channels.tracked(one)]
    if not sources or any(not _fits(channels, one, sources[0], node) for one in node.all_input_nodes):
        return _unknown(node)
    known = {one: channels.values[one] for one in sources} | {one: _entries(channels, one) for one in others}
    values, unknown = (
        _computed(node, known),
        torch.stack([known[one].isnan().expand(len(known[sources[0]])) for one in known]),
    )
    values = values.masked_fill(unknown.any(0), torch.nan)
    if operation(node) == "mul":
        values = values.masked_fill(torch.stack([(one == 0).expand(len(values)) for one in known.values()]).any(0), 0.0)
    channels.follow(node, sources[0], values, _aligned(channels.axis[sources[0]], sources[0], node))
    for one in sources[1:]:
        channels.tie(node, one)
    for one in others:
        if len(known[one]) > 1:
            channels.cut(one, node, axis=(shape(one) or ()).index(len(values)))
    if len(sources) > 1:
        lost = values.isnan() & ~unknown.all(0)
        channels.mixed.append((channels.of(node)[lost], _combined(node)))
    return None


def _combined(node: Node) -> str:
    if operation(node) == "mul":
        return f"{place(node)} multiplies the channel, which is constant, by a factor that depends on the input"
    return f"{place(node)} adds the channel to one that is not constant"


def _computed(node: Node, known: dict[Node, Tensor]) -> Tensor:
    size = max(len(values) for values in known.values())

    def value(argument: Any) -> Any:
        return known[argument] if isinstance(argument, Node) else argument

    found: Tensor = node.target(*map(value, node.args), **{key: value(one) for key, one in node.kwargs.items()})  # type: ignore[operator]
    return found.double().expand(size).clone()


def _fits(channels: Channels, one: Node, first: Node, node: Node) -> bool:
    """Tell whether an operand has the channels of the first one, or is a parameter with a value for each or all."""
    count, sizes = len(channels.values[first]), shape(one)
    if sizes is None:
        return False
    if channels.tracked(one):
        axes = {_aligned(channels.axis[each], each, node) for each in (one, first)}
        return len(axes) == 1 and len(channels.values[one]) == count
    if channels.graph.parameter(one) is None:
        return False
    axis = _aligned(channels.axis[first], first, node) - len(shape(node) or ()) + len(sizes)
    single = prod(sizes) == 1
    return single or (
        channels.graph.parameter(one) in channels.graph.owned and axis >= 0 and prod(sizes) == count == sizes[axis]
    )


def _aligned(axis: int, source: Node, node: Node) -> int:
    """Return where an axis of an operand stands in the result, to whose last axis its last one belongs."""
    return axis + len(shape(node) or ()) - len(shape(source) or ())


def _entries(channels: Channels, one: Node) -> Tensor:
    return channels.graph.tensor(one).flatten()


_ELEMENTWISE = (
    "relu relu6 hardtanh silu gelu sigmoid hardsigmoid hardswish tanh leaky_relu elu selu celu mish softplus clamp "
    "clamp_min clamp_max abs exp neg sqrt square pow add sub rsub mul div"
)
_SAME = "dropout feature_dropout clone contiguous to _to_copy alias detach"
_WITHIN = (
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d "
    "adaptive_avg_pool3d adaptive_max_pool2d upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "upsample_linear1d upsample_bilinear2d upsample_trilinear3d pad constant_pad_nd"
)
_RESHAPES = "view reshape flatten squeeze unsqueeze _unsafe_view"
_RULES: dict[str, Callable[[Channels, Node], str | None]] = {
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(_SAME.split(), _same),
    **dict.fromkeys(_WITHIN.split(), _pooling),
    **dict.fromkeys(_RESHAPES.split(), _reshape),
    **dict.fromkeys(("permute", "transpose"), _permute),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("layer_norm", "group_norm", "instance_norm"), _normalization),
    "linear": _linear,
    "batch_norm": _batch_norm,
    "prelu": _prelu,
    "mean": _mean,
    "cat": _concatenation,
}
