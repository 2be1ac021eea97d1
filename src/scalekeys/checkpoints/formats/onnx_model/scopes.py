"""Where the values of an ONNX model come from: graphs, the bodies of branches and loops, and local functions.

A :class:`Scope` is a graph, or one call of a function. It gives for the name of a value its *origin*: a stored tensor,
or the node that computes it. What a function is called with, what a body takes from the graph around it, and what an
``Identity`` hands on is followed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from scalekeys.checkpoints.formats.onnx_model.parsed import Node, NotReadError, domain, nodes_of, text
from scalekeys.errors import CheckpointError

_DEEPEST = 32
_MOST_NODES = 500_000
_MOST_SCOPES = 20_000


class InputError(NotReadError):
    """A value is an input of the model, called `name` there."""

    def __init__(self, name: str) -> None:
        super().__init__(_depends_on(name))
        self.name = name


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor that the file holds, dense or sparse; `path` says in which part of the graph, `holder` keeps it."""

    tensor: Any
    path: str
    name: str
    holder: Any

    @property
    def identity(self) -> object:
        """Equal for the same tensor, wherever it is used."""
        return id(self.holder)


@dataclass(frozen=True, eq=False)
class Made:
    """A value that a node computes."""

    node: Node
    scope: "Scope"
    output: int

    @property
    def identity(self) -> object:
        """Equal for the same value, wherever it is used."""
        return id(self.scope), self.node.position, self.output


Origin: TypeAlias = Stored | Made


@dataclass(eq=False)
class Program:
    """A parsed model with its local functions."""

    model: Any
    path: Path
    visited: int = 0
    opened: int = 0
    _nodes: dict[int, tuple[Any, tuple[Node, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.functions = {(domain(one.domain), text(one.name), text(one.overload)): one for one in self.model.functions}
        self.main = Scope(self, self.model.graph, "", opsets=_opsets(self.model))

    def nodes(self, part: Any) -> tuple[Node, ...]:
        """Return the nodes of a graph or function, read once."""
        if id(part) not in self._nodes:
            entries = len(part.node) + len(getattr(part, "initializer", ()))
            if entries > _MOST_NODES:
                raise CheckpointError(
                    f"{self.path}: has a graph of {entries} nodes and tensors, which no network has; do not trust it"
                )
            self._nodes[id(part)] = part, nodes_of(part.node)
        return self._nodes[id(part)][1]

    def scopes(self, start: "Scope | None" = None) -> "Iterator[tuple[Scope, Node]]":
        """Yield every node that the model runs with its scope, those of bodies and of called functions too."""
        if start is None:
            self.visited = 0
        scope = start or self.main
        for node in scope.nodes:
            self.visited += 1
            self._refuse_bombs(0)
            yield scope, node
            called = scope.called(node)
            for inner in scope.bodies(node) if called is None else (called,):
                yield from self.scopes(inner)

    def count(self, depth: int) -> None:
        """Count a scope that is opened so deep in others."""
        self.opened += 1
        self._refuse_bombs(depth)

    def _refuse_bombs(self, depth: int) -> None:
        if depth > _DEEPEST or self.opened > _MOST_SCOPES or self.visited > _MOST_NODES:
            raise CheckpointError(
                f"{self.path}: its functions call one another in circles, more than {_DEEPEST} deep, or {_MOST_SCOPES} "
                "times; export it without local functions"
            )


@dataclass(eq=False)
class Scope:
    """A graph, or one call of a function."""

    program: Program
    part: Any
    path: str
    """Where it is, as ``If_3/then_branch/``; empty for the graph of the model."""
    opsets: Mapping[str, int]
    """Version of the operators of each domain."""
    outer: "Scope | None" = None
    """The graph around a body."""
    given: "Mapping[str, tuple[Scope, str]]" = field(default_factory=dict)
    """The values that a function is called with: their names where it is called."""
    attributes: Mapping[str, Any] | None = None
    """The attributes that a function is called with; None outside functions."""
    depth: int = 0
    """How many calls and bodies it is in."""

    def __post_init__(self) -> None:
        self.program.count(self.depth)
        is_graph = hasattr(self.part, "initializer")
        nodes = self.program.nodes(self.part)
        self.nodes = nodes if self.attributes is None else tuple(_bound(node, self.attributes) for node in nodes)
        self.producers = {name: (node, index) for node in self.nodes for index, name in enumerate(node.outputs) if name}
        self.inputs = {text(entry.name if is_graph else entry) for entry in self.part.input}
        self.stored = self._constants() | (self._initializers() if is_graph else {})
        self._called: dict[int, Scope | None] = {}
        self._bodies: dict[int, tuple[Scope, ...]] = {}

    def _initializers(self) -> dict[str, Stored]:
        named = [(text(tensor.values.name), tensor) for tensor in self.part.sparse_initializer]
        named += [(text(tensor.name), tensor) for tensor in self.part.initializer]
        return {name: Stored(tensor, self.path, name, tensor) for name, tensor in named}

    def _constants(self) -> dict[str, Stored]:
        found = {}
        for node in self.nodes:
            if (node.domain, node.op) == ("", "Constant") and node.outputs:
                for name, value in (("value", "t"), ("sparse_value", "sparse_tensor")):
                    attribute = node.attributes.get(name)
                    if attribute is not None and attribute.HasField(value):
                        tensor = getattr(attribute, value)
                        found[node.outputs[0]] = Stored(tensor, self.path, node.outputs[0], attribute)
        return found

    def called(self, node: Node) -> "Scope | None":
        """Return the call of a local function that a node is, None where it is an operator."""
        if node.position not in self._called:
            function = self.program.functions.get((node.domain, node.op, text(node.proto.overload)))
            self._called[node.position] = None if function is None else self._call(node, function)
        return self._called[node.position]

    def _call(self, node: Node, function: Any) -> "Scope":
        given = {text(name): (self, value) for name, value in zip(function.input, node.inputs, strict=False) if value}
        defaults = {text(attribute.name): attribute for attribute in function.attribute_proto}
        return Scope(
            self.program,
            function,
            f"{self.path}{node.label}/",
            _opsets(function),
            given=given,
            attributes=defaults | dict(node.attributes),
            depth=self.depth + 1,
        )

    def bodies(self, node: Node) -> "tuple[Scope, ...]":
        """Return the branches or the body of a loop that a node runs."""
        if node.position not in self._bodies:
            self._bodies[node.position] = tuple(
                Scope(
                    self.program,
                    graph,
                    f"{self.path}{node.label}/{name}/",
                    self.opsets,
                    outer=self,
                    attributes=self.attributes,
                    depth=self.depth + 1,
                )
                for name, graph in node.bodies()
            )
        return self._bodies[node.position]

    def origin(self, name: str) -> Origin:
        """Return where a value comes from.

        Raises NotReadError if it is not known before the network runs, or nowhere; for inputs of the model an
        InputError.
        """
        scope, passed = self, set()
        while (id(scope), name) not in passed:
            passed.add((id(scope), name))
            if name in scope.given:
                scope, name = scope.given[name]
            elif name in scope.stored:
                return scope.stored[name]
            elif name in scope.producers:
                node, output = scope.producers[name]
                if called := scope.called(node):
                    scope, name = called, _output(called, output)
                elif (node.domain, node.op) == ("", "Identity") and node.inputs:
                    name = node.inputs[0]
                else:
                    return Made(node, scope, output)
            elif name in scope.inputs or not scope.outer:
                if scope is self.program.main and name in scope.inputs:
                    raise InputError(name)
                known = name in scope.inputs
                raise NotReadError(_depends_on(name) if known else "nothing in the file gives its weight")
            else:
                scope = scope.outer
        raise NotReadError("its weight is computed in a circle")


def _depends_on(name: str) -> str:
    return f"its weight depends on the input {name!r}, which has no value in the file"


def _output(scope: Scope, index: int) -> str:
    names = list(scope.part.output)
    if index >= len(names):
        raise NotReadError("its weight is an output that the function called for it does not have")
    return text(names[index])


def _opsets(part: Any) -> dict[str, int]:
    return {domain(entry.domain): entry.version for entry in part.opset_import}


def _bound(node: Node, attributes: Mapping[str, Any]) -> Node:
    """Return a node of a function with the attributes of the call where it refers to them."""
    references = {name: text(entry.ref_attr_name) for name, entry in node.attributes.items() if entry.ref_attr_name}
    if not references:
        return node
    kept = {name: entry for name, entry in node.attributes.items() if name not in references}
    found = {name: attributes[reference] for name, reference in references.items() if reference in attributes}
    return replace(node, attributes=kept | found)
