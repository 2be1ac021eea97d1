"""A sample of the filters of several networks in which chosen networks count as much as is asked."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scalekeys.clustering.lines import Moves, Rows, squares
from scalekeys.clustering.points import points_of, sample
from scalekeys.clustering.search import search
from scalekeys.clustering.spec import ClusterSpec
from scalekeys.filters import FilterBank
from scalekeys.shapes import Size

MOST = 2**13
"""Filters of a sample."""


@dataclass(frozen=True, eq=False)
class NetworkSample:
    """Filters of several networks as unit vectors, at most as many of one as of each other that has so many."""

    rows: Rows
    """Shape (points, taps)."""
    network: Int[Tensor, "points"]
    """The number of the network of each."""
    counts: Int[Tensor, "networks"]
    """How many filters of each network are in the sample."""
    window: Size
    moves: Moves
    """The symmetries."""

    @classmethod
    def of(cls, banks: Sequence[FilterBank], spec: ClusterSpec, most: int = MOST) -> "NetworkSample":
        """Sample the usable filters of banks, one bank a network.

        `most`: filters in all.
        """
        points = points_of(banks, spec)
        ends = torch.tensor([len(bank) for bank in banks], device=points.device).cumsum(0)
        owner = torch.searchsorted(ends, points.positions, right=True)
        mixed = sample(points, len(points), spec.seed)
        bound = _bound(torch.bincount(owner, minlength=len(banks)).tolist(), most)
        which = torch.cat([mixed[owner[mixed] == number][:bound] for number in range(len(banks))])
        network = owner[which]
        counts = torch.bincount(network, minlength=len(banks))
        return cls(points.take(which), network, counts, points.window, points.moves)

    def keys(self, shares: Float[Tensor, "networks"], spec: ClusterSpec) -> Float[Tensor, "keys taps"]:
        """Find keys where networks count with their shares; those of share 0 are not looked at."""
        weights = self._weights(shares)
        mine = weights > 0
        found, _ = search(self.rows[mine], weights[mine], spec.k, self.moves, seed=spec.seed, restarts=spec.restarts)
        return found[0]

    def drawn(self, shares: Float[Tensor, "networks"], count: int, seed: int) -> Float[Tensor, "keys taps"]:
        """Draw filters at random, each network with its share."""
        generator = torch.Generator().manual_seed(seed)
        return self.rows[torch.multinomial(self._weights(shares).cpu(), count, generator=generator)]

    def explained(self, keys: Float[Tensor, "keys taps"]) -> Float[Tensor, "networks"]:
        """Return the share of energy that keys explain of each network; NaN for networks without filters."""
        best = squares(self.rows, keys.to(self.rows)[None], self.moves)[0].amax(0).double()
        sums = torch.zeros(len(self.counts), dtype=torch.float64, device=best.device).index_add(0, self.network, best)
        return (sums / self.counts).cpu()

    def _weights(self, shares: Float[Tensor, "networks"]) -> Float[Tensor, "points"]:
        return (shares.to(self.counts.device) / self.counts.clamp(min=1))[self.network]


def equal_shares(labels: Sequence[Sequence[Hashable]], chosen: Bool[Tensor, "networks"]) -> Float[Tensor, "networks"]:
    """Share 1 equally among the first labels, the part of each among the second labels in it, and so on.

    `labels`: for each network its group, its series in the group, ...; networks with the same labels share alike.
    `chosen`: the others get nothing.

    >>> equal_shares([("a", "x"), ("a", "y"), ("a", "y"), ("b", "z")], torch.ones(4, dtype=torch.bool)).tolist()
    [0.25, 0.125, 0.125, 0.5]
    """
    paths = {number: (*label, number) for number, label in enumerate(labels) if chosen[number]}
    children: dict[tuple[Hashable, ...], set[Hashable]] = {}
    for path in paths.values():
        for depth, label in enumerate(path):
            children.setdefault(path[:depth], set()).add(label)
    shares = torch.zeros(len(labels), dtype=torch.float64)
    for number, path in paths.items():
        shares[number] = 1 / prod(len(children[path[:depth]]) for depth in range(len(path)))
    return shares


def _bound(counts: Sequence[int], most: int) -> int:
    """Return how many filters each network may have at most, so that all of them have no more than `most`.

    >>> _bound([10, 300, 500], 200), _bound([10, 20], 200)
    (95, 20)
    """
    left, networks = most, len(counts)
    for count in sorted(counts):
        if count * networks > left:
            return max(1, left // networks)
        left, networks = left - count, networks - 1
    return max(counts)
