"""A network as the graph of operations that it runs, with the names of its parameters."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from scalekeys.errors import ModelError
from scalekeys.networks.running.batches import evaluating
from scalekeys.optional import in_short

SIZED = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.PReLU),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
)
"""The layers of torch that know how many channels they have, and can be given fewer."""


@dataclass(frozen=True, eq=False)
class Exported:
    """The operations of a network in the order in which they run."""

    nodes: tuple[Node, ...]
    """Those that compute, and the last one, which gives the outputs."""
    names: dict[Node, str]
    """The names of the parameters and buffers by their nodes."""
    state: dict[str, Tensor]
    owned: frozenset[str]
    """Names of what exactly one operation uses under exactly one name, so that a part of it can be cut off."""
    sized: frozenset[str]
    """Names of layers whose numbers of channels can be changed."""

    def parameter(self, argument: Any) -> str | None:
        """Return the name of the parameter or buffer that an argument is."""
        return self.names.get(argument) if isinstance(argument, Node) else None

    def is_layer(self, argument: Any) -> bool:
        """Tell whether an argument is owned by a layer whose number of channels can be changed."""
        name = self.parameter(argument)
        return name is not None and name in self.owned and name.rpartition(".")[0] in self.sized

    def tensor(self, argument: Any) -> Tensor:
        """Return a parameter or buffer in float64 on the CPU."""
        return self.state[self.names[argument]].detach().cpu().double()


def exported(network: nn.Module, example: Tensor) -> Exported:
    """Record the operations of a network in evaluation mode.

    `example`: inputs; their shape counts.
    Raises ModelError if torch cannot record it.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    >>> [operation(node) for node in exported(network, torch.zeros(1, 3, 5, 5)).nodes]
    ['conv2d', 'relu', 'output']
    """
    try:
        with evaluating(network, copies=False), torch.no_grad():
            program = torch.export.export(network, (example,), strict=False)
    except Exception as error:  # whatever the network raises, or what torch says of it
        raise ModelError(
            f"the network {type(network).__name__}: its operations on an input of shape {tuple(example.shape)} cannot "
            f"be recorded by torch.export ({in_short(error)}); give an input of the shape that it takes"
        ) from error
    signature = program.graph_signature
    by_placeholder = signature.inputs_to_parameters | signature.inputs_to_buffers
    nodes = {node: by_placeholder[node.name] for node in program.graph.nodes if node.name in by_placeholder}
    state = dict(network.named_parameters()) | dict(network.named_buffers())
    held = [*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False)]
    times = Counter(tensor.data_ptr() for _, tensor in held if tensor.numel())
    owned = {name for node, name in nodes.items() if len(node.users) == 1 and times[state[name].data_ptr()] == 1}
    sized = {name for name, layer in network.named_modules() if isinstance(layer, SIZED) and not _computed(layer)}
    steps = tuple(node for node in program.graph.nodes if node.op in ("call_function", "output"))
    return Exported(steps, nodes, state, frozenset(owned), frozenset(sized))


def operation(node: Node) -> str:
    """Return what a node does by its name in torch, such as ``conv2d``, without the underscore of changes in place."""
    if node.op != "call_function":
        return node.op
    schema = getattr(node.target, "_schema", None)
    name = schema.name if schema is not None else getattr(node.target, "__name__", str(node.target))
    return str(name).rpartition(":")[2].rstrip("_")


def place(node: Node) -> str:
    """Return the layer in which a node computes, and what it does, for a sentence."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    layer = stack[-1][0] if stack else ""
    return f"{layer!r} ({operation(node)})" if layer else f"the operation {operation(node)}"


def shape(node: Any) -> tuple[int, ...] | None:
    """Return the shape of what a node computes; None where that is not one tensor."""
    value = node.meta.get("val") if isinstance(node, Node) else None
    return tuple(int(size) for size in value.shape) if isinstance(value, Tensor) else None


def arguments(node: Node) -> dict[str, Any]:
    """Return the arguments of an operation by name, defaults included."""
    given = {}
    for position, argument in enumerate(node.target._schema.arguments):  # type: ignore[union-attr]
        if position < len(node.args):
            given[argument.name] = node.args[position]
        elif argument.name in node.kwargs:
            given[argument.name] = node.kwargs[argument.name]
        elif argument.has_default_value():
            given[argument.name] = argument.default_value
    return given


def _computed(layer: nn.Module) -> bool:
    """Tell whether the weight of a layer is no plain parameter, as by pruning or weight normalisation."""
    weight = layer._parameters.get("weight")
    return weight is None and getattr(layer, "affine", True)
