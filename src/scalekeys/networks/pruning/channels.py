"""What is known of the channels of a network: which belong together, which are constant, and what uses them."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from scalekeys.networks.pruning.exported import Exported, place


@dataclass(frozen=True, eq=False)
class Use:
    """A layer that sums over channels."""

    node: Node
    """The convolution or linear layer."""
    source: Node
    """Its input."""
    weight: str
    bias: str
    """`weight` and `bias`: the names of its parameters; that of a bias that it lacks is the one it would have."""
    padded: bool
    """Whether zeros beside the input meet a kernel of more than one value."""


@dataclass(frozen=True)
class Cut:
    """A parameter that has an entry for each channel of a node, along one axis."""

    name: str
    axis: int
    node: Node


@dataclass(eq=False)
class Channels:
    """What is known of the channels of a network."""

    graph: Exported
    constants: dict[str, Tensor]
    """By the name of a depthwise weight what its filters give on, (channels,); NaN where that depends on the input."""
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


def unknown(node: Node) -> str:
    """Say of an operation that no rule follows why the channels before it stay."""
    return f"{place(node)} does not keep the channels apart, or rearranges them"


def source_of(node: Node) -> Node:
    """Return the first operand of an operation on a tensor."""
    source = node.args[0]
    assert isinstance(source, Node)
    return source
