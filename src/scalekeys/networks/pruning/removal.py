"""Which channels can go, why others cannot, and the parameters of the network without them."""

from dataclasses import dataclass
from math import gcd

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.fx import Node

from scalekeys.networks.pruning.channels import Channels, Use
from scalekeys.networks.pruning.exported import arguments, operation, place
from scalekeys.networks.pruning.layer_rules import by_input

_LAST = "every channel of a layer would go, and one must remain"

KEPT_FOR_WIDTH = "the channel is kept so that the width stays a multiple of"
"""How the reason begins for which a dead channel stays that could go; a number follows."""


@dataclass(frozen=True, eq=False)
class Removal:
    """What is removed from a network."""

    channels: Channels
    groups: Tensor
    """For each channel the number of its group: the channels that can be removed together only."""
    removed: Tensor
    """Bool. For each group."""
    blocked: dict[int, str]
    """By group why it stays."""

    def of(self, node: Node) -> Tensor:
        """Mark the channels of a node that are removed."""
        return self.removed[self.groups[self.channels.of(node)]]

    def reasons(self, weight: str) -> list[str | None]:
        """Return for each filter of a depthwise weight why it stays; None where it is removed or nothing is known."""
        node = self.channels.depthwise.get(weight)
        if node is None:
            return []
        groups = self.groups[self.channels.of(node)].tolist()
        return [None if self.removed[group] else self.blocked.get(group) for group in groups]


def removal(channels: Channels, multiple_of: int = 1) -> Removal:
    """Find the groups of channels that hold a dead filter and are constant for all that sums over channels.

    `multiple_of`: the largest divisor that each width has in common with this number, the width keeps.
    """
    groups = _groups(channels)
    blocked = _blocked(channels, groups)
    removed = torch.zeros(int(groups.max()) + 1 if len(groups) else 0, dtype=torch.bool)
    for name, values in channels.constants.items():
        if name in channels.depthwise:
            removed[groups[channels.of(channels.depthwise[name])][values.isfinite()]] = True
    removed[list(blocked)] = False
    for node in channels.values:
        mine = groups[channels.of(node)]
        if len(mine) and bool(removed[mine].all()):
            removed[mine[0]] = False
            blocked[int(mine[0])] = _LAST
    _keep_divisors(channels, groups, removed, blocked, multiple_of)
    return Removal(channels, groups, removed, blocked)


def _keep_divisors(
    channels: Channels, groups: Tensor, removed: Tensor, blocked: dict[int, str], multiple_of: int
) -> None:
    """Keep as many of the last removed channels of each node as its width needs to stay a multiple of its divisor.

    A channel that one node keeps stays in all nodes of its group, so that this is repeated until nothing changes.
    """
    settled = False
    while not settled:
        settled = True
        for node in channels.values:
            mine = groups[channels.of(node)]
            gone = mine[removed[mine]]
            kept = gone[removable(len(gone), len(mine), multiple_of) :]
            removed[kept] = False
            blocked.update(dict.fromkeys(kept.tolist(), f"{KEPT_FOR_WIDTH} {gcd(len(mine), multiple_of)}"))
            settled = settled and not len(kept)


def removable(dead: int, width: int, multiple_of: int) -> int:
    """Return how many dead channels of a layer can go where its width keeps the divisor in common with `multiple_of`.

    >>> removable(3, 32, 8), removable(9, 32, 8), removable(3, 30, 8)
    (0, 8, 2)
    """
    return dead - dead % gcd(width, multiple_of)


def reduced_state(found: Removal) -> dict[str, Tensor]:
    """Return the parameters and buffers of a network without the removed channels.

    What a removed channel gave to a layer that sums over channels is added to the bias of this layer, or taken from
    the running mean of the batch norm behind it where it has no bias.
    """
    channels = found.channels
    state = {name: tensor.detach() for name, tensor in channels.graph.state.items()}
    keep = {node: ~found.of(node) for node in channels.values}
    for use in channels.uses:
        _fold(use, found, state, keep[use.node])
    for cut in channels.cuts:
        rows = keep[cut.node].nonzero()[:, 0]
        if len(rows) < len(keep[cut.node]):
            state[cut.name] = state[cut.name].index_select(cut.axis, rows.to(state[cut.name].device))
    return state


def _fold(use: Use, found: Removal, state: dict[str, Tensor], keep: Tensor) -> None:
    gone = found.of(use.source)
    values = found.channels.values[use.source]
    if not bool((values[gone] != 0).any()):
        return
    given = by_input(state[use.weight].cpu().double())[:, gone] @ values[gone]
    graph = found.channels.graph
    follower = next(iter(use.node.users))
    if use.bias in state:
        state[use.bias] = _added(state[use.bias], given)
    elif len(use.node.users) == 1 and operation(follower) == "batch_norm" and follower in found.channels.axis:
        mean = graph.names[arguments(follower)["running_mean"]]
        state[mean] = _added(state[mean], -given)
    else:
        state[use.bias] = _added(state[use.weight].new_zeros(len(given)), given)[keep.to(state[use.weight].device)]


def _added(tensor: Tensor, more: Tensor) -> Tensor:
    return (tensor.cpu().double() + more).to(tensor)


def _groups(channels: Channels) -> Tensor:
    """Give each channel the number of its group, of channels that are tied to each other."""
    if not channels.ties:
        return torch.arange(channels.count)
    one, other = (torch.cat(side).numpy() for side in zip(*channels.ties, strict=True))
    links = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(channels.count, channels.count))
    return torch.from_numpy(connected_components(links, directed=False)[1]).long()


def _blocked(channels: Channels, groups: Tensor) -> dict[int, str]:
    """Say for each group that has to stay why; what rearranges channels is said before what uses them."""
    blocked: dict[int, str] = {}
    for some, reason in channels.pins:
        blocked.update((group, reason) for group in set(groups[some].tolist()) - blocked.keys())
    mixed: dict[int, str] = {}
    for some, reason in channels.mixed:
        mixed.update((group, reason) for group in set(groups[some].tolist()) - mixed.keys())
    for use in channels.uses:
        values, mine = channels.values[use.source], groups[channels.of(use.source)]
        for group in set(mine[values.isnan()].tolist()) - blocked.keys():
            blocked[group] = mixed.get(group, f"{place(use.node)} uses the channel, which is not constant there")
        if use.padded:
            for group in set(mine[values.isfinite() & (values != 0)].tolist()) - blocked.keys():
                blocked[group] = f"{place(use.node)} pads with zeros a channel that is constant but not zero"
    return blocked
