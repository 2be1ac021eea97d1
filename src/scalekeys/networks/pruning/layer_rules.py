"""How layers with parameters give channels on: those that sum over channels, filter them, or normalise them."""

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from scalekeys.networks.pruning.channels import Channels, Use, source_of, unknown
from scalekeys.networks.pruning.exported import Exported, arguments, place, shape


def normalization(channels: Channels, node: Node) -> str:  # noqa: ARG001
    """Say why the channels before a layer norm, group norm or instance norm stay."""
    return f"{place(node)} normalises over channels, so that a constant one still counts in the others"


def convolution(channels: Channels, node: Node) -> str | None:
    """Follow a convolution over all channels, or of each channel by itself."""
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


def linear(channels: Channels, node: Node) -> str | None:
    """Follow a linear layer along the last axis."""
    given, sizes = arguments(node), shape(node) or ()
    if not _plain(channels.graph, given):
        return f"the weights of {place(node)} are computed, or used more than once"
    if channels.tracked(given["input"]) and channels.axis[given["input"]] != len(sizes) - 1:
        return unknown(node)
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


def batch_norm(channels: Channels, node: Node) -> str | None:
    """Follow a batch norm with statistics of its own."""
    given, graph = arguments(node), channels.graph
    source, parts = given["input"], [given[name] for name in ("running_mean", "running_var", "weight", "bias")]
    if not channels.tracked(source) or channels.axis[source] != 1 or parts[0] is None or given["training"]:
        return unknown(node)
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


def prelu(channels: Channels, node: Node) -> str | None:
    """Follow a PReLU with one slope, or one for each channel."""
    source, weight = source_of(node), node.args[1]
    if not channels.tracked(source) or channels.axis[source] != 1 or not channels.graph.is_layer(weight):
        return unknown(node)
    slopes, before = channels.graph.tensor(weight), channels.values[source]
    channels.follow(node, source, torch.where(before < 0, before * slopes, before))
    if len(slopes) > 1:
        channels.cut(weight, node)
    return None
