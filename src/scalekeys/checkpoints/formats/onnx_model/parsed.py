"""ONNX models as they are stored: the parsed file, and checked access to what its messages say.

Nothing in a parsed message can be relied on: any field may be missing, of another kind, or bytes where text belongs.
What the rest of the package asks of a model is asked here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any

from scalekeys.errors import CheckpointError
from scalekeys.optional import in_short, require

_LONGEST_NAME = 200
_MOST = 2**31


class NotReadError(Exception):
    """A convolution is not read; the reason is a clause for the list of what is left out."""


@dataclass(frozen=True, eq=False)
class Node:
    """A node of a graph with its names as text."""

    proto: Any
    attributes: Mapping[str, Any]
    """In a function they are those of the call where the body refers to these."""
    position: int
    """Among the nodes of its graph."""
    op: str
    """Name of the operator."""
    domain: str
    """Who defines the operator; empty for ONNX itself."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    """`inputs` and `outputs`: names of the values that it takes and gives; empty where an optional one is left out."""
    name: str
    """Its own name, which may be empty."""

    @property
    def label(self) -> str:
        """What to call it: its name, or its operator and position."""
        return self.name or f"{self.op}_{self.position}"

    def input(self, index: int | None) -> str:
        """Return the name of an input, empty where it is not given."""
        return self.inputs[index] if index is not None and index < len(self.inputs) else ""

    def integers(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return an attribute of integers that are not negative; raises NotReadError if it is something else."""
        attribute = self.attributes.get(name)
        if attribute is None:
            return default
        kinds = require("onnx", extra="onnx").AttributeProto
        values = {kinds.INT: (attribute.i,), kinds.INTS: attribute.ints}.get(attribute.type)
        if values is None or not all(0 <= value < _MOST for value in values):
            raise NotReadError(f"the attribute {name!r} of its {self.op} is damaged")
        return tuple(values)

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is one integer."""
        values = self.integers(name, (default,))
        if len(values) != 1:
            raise NotReadError(f"the attribute {name!r} of its {self.op} is damaged")
        return values[0]

    def bodies(self) -> Iterator[tuple[str, Any]]:
        """Yield the graphs that it runs, such as the branches of an ``If``, with the names that it has for them."""
        for name, attribute in self.attributes.items():
            if attribute.HasField("g"):
                yield name, attribute.g
            for number, graph in enumerate(attribute.graphs):
                yield f"{name}_{number}", graph


def nodes_of(protos: Any) -> tuple[Node, ...]:
    """Return the nodes of a graph or function."""
    return tuple(
        Node(
            proto,
            {text(attribute.name): attribute for attribute in proto.attribute},
            position,
            op=text(proto.op_type),
            domain=domain(proto.domain),
            inputs=tuple(map(text, proto.input)),
            outputs=tuple(map(text, proto.output)),
            name=text(proto.name),
        )
        for position, proto in enumerate(protos)
    )


def text(value: str | bytes) -> str:
    r"""Return a string of a message as text, with escapes where it is no UTF-8 or too long for a name.

    >>> text(b"caf\xe9"), len(text("w" * 10_000))
    ('caf\\xe9', 211)
    """
    whole = value if isinstance(value, str) else value.decode("utf-8", errors="backslashreplace")
    return whole if len(whole) <= _LONGEST_NAME else f"{whole[:_LONGEST_NAME]}~{hash_of(whole)}"


def hash_of(name: str) -> str:
    """Return ten letters that tell long names apart."""
    return sha256(name.encode("utf-8", errors="surrogatepass")).hexdigest()[:10]


def domain(value: str | bytes) -> str:
    """Return a domain of operators; that of ONNX itself has two names."""
    return "" if value == "ai.onnx" else text(value)


def shape_of(tensor: Any) -> tuple[int, ...]:
    """Return the shape that a tensor claims; raises NotReadError if a side is negative."""
    if any(side < 0 for side in tensor.dims):
        raise NotReadError("its shape has a negative side")
    return tuple(tensor.dims)


def volume(shape: tuple[int, ...]) -> int:
    """Return how many values an array of this shape may become: sides of zero count as one, as a sum makes them so."""
    return prod(max(side, 1) for side in shape)


def read_model(path: Path) -> Any:
    """Parse an ONNX file, without the values in files beside it.

    Raises MissingExtraError if onnx is not installed; CheckpointError if the file is damaged or cut short, or has an
    empty graph.
    """
    onnx = require("onnx", extra="onnx")
    try:
        model = onnx.load_model(str(path), format="protobuf", load_external_data=False)
    except OSError:
        raise
    except Exception as error:  # the protobuf runtime has several, and which depends on its build
        raise CheckpointError(
            f"{path}: is no ONNX model, or is damaged or cut short ({in_short(error)[:200]}); fetch or export it again"
        ) from None
    if not model.graph.node:
        raise CheckpointError(f"{path}: is no ONNX model, or has an empty graph; fetch or export it again")
    return model


def all_tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor in a message of the format, however deep: of functions, loops and sparse tensors too."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in [value] if hasattr(value, "ListFields") else value:
            if field.message_type.name == "TensorProto":
                yield part
            else:
                yield from all_tensors(part)
