"""How operations on tensors give channels on: one by one, in another shape, or beside others."""

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from scalekeys.networks.pruning.channels import Channels, source_of, unknown
from scalekeys.networks.pruning.exported import arguments, operation, place, shape


def same(channels: Channels, node: Node) -> str | None:
    """Follow what gives each channel on as it is."""
    source = source_of(node)
    if not channels.tracked(source):
        return unknown(node)
    channels.follow(node, source, channels.values[source])
    return None


def pooling(channels: Channels, node: Node) -> str | None:
    """Follow what takes means, maxima or interpolations within each channel, or pads it."""
    given, source = arguments(node), source_of(node)
    sizes, before = shape(node) or (), shape(source) or ()
    if not channels.tracked(source) or channels.axis[source] != 1 or sizes[:2] != before[:2]:
        return unknown(node)
    values = channels.values[source]
    pads = given.get("pad", given.get("padding", 0))
    zeros = operation(node).startswith("avg_pool") or "pad" in given
    if zeros and (any(pads) if isinstance(pads, list | tuple) else pads):
        values = torch.where(values != 0, torch.nan, values)
    channels.follow(node, source, values)
    return None


def mean(channels: Channels, node: Node) -> str | None:
    """Follow a mean over axes beside the channels."""
    given, source = arguments(node), source_of(node)
    if not channels.tracked(source) or not given.get("dim"):
        return unknown(node)
    rank, axis = len(shape(source) or ()), channels.axis[source]
    over = {dim % rank for dim in given["dim"]}
    if axis in over:
        return unknown(node)
    left = axis if given["keepdim"] else axis - sum(dim < axis for dim in over)
    channels.follow(node, source, channels.values[source], left)
    return None


def reshape(channels: Channels, node: Node) -> str | None:
    """Follow a tensor in another shape in which the channels still are one axis."""
    source = source_of(node)
    if not channels.tracked(source):
        return unknown(node)
    before, after, axis = shape(source) or (), shape(node) or (), channels.axis[source]
    for place_after, size in enumerate(after):
        if size == before[axis] and prod(after[:place_after]) == prod(before[:axis]):
            channels.follow(node, source, channels.values[source], place_after)
            return None
    return unknown(node)


def permute(channels: Channels, node: Node) -> str | None:
    """Follow a tensor whose axes change places."""
    given, source, rank = arguments(node), source_of(node), len(shape(node) or ())
    if not channels.tracked(source):
        return unknown(node)
    if operation(node) == "permute":
        order = [dim % rank for dim in given["dims"]]
    else:
        order = list(range(rank))
        first, second = given["dim0"], given["dim1"]
        order[first], order[second] = order[second], order[first]
    channels.follow(node, source, channels.values[source], order.index(channels.axis[source]))
    return None


def concatenation(channels: Channels, node: Node) -> str | None:
    """Follow tensors that are put beside each other, along their channels."""
    given = arguments(node)
    parts, dim = given["tensors"], given["dim"] % len(shape(node) or ())
    if any(channels.tracked(part) and channels.axis[part] != dim for part in parts):
        return unknown(node)
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


def elementwise(channels: Channels, node: Node) -> str | None:
    """Follow what is computed for each value alone, from one tensor or two."""
    sources = [one for one in node.all_input_nodes if channels.tracked(one)]
    others = [one for one in node.all_input_nodes if not channels.tracked(one)]
    if not sources or any(not _fits(channels, one, sources[0], node) for one in node.all_input_nodes):
        return unknown(node)
    known = {one: channels.values[one] for one in sources} | {
        one: channels.graph.tensor(one).flatten() for one in others
    }
    values = _computed(node, known)
    unclear = torch.stack([known[one].isnan().expand(len(known[sources[0]])) for one in known])
    values = values.masked_fill(unclear.any(0), torch.nan)
    if operation(node) == "mul":
        values = values.masked_fill(torch.stack([(one == 0).expand(len(values)) for one in known.values()]).any(0), 0.0)
    channels.follow(node, sources[0], values, _aligned(channels.axis[sources[0]], sources[0], node))
    for one in sources[1:]:
        channels.tie(node, one)
    for one in others:
        if len(known[one]) > 1:
            channels.cut(one, node, axis=(shape(one) or ()).index(len(values)))
    if len(sources) > 1:
        lost = values.isnan() & ~unclear.all(0)
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
