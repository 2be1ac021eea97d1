"""The weight of a convolution of an ONNX graph: stored, handed on, computed, quantised, or in another layout."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from scalekeys.checkpoints.core.inventory import TensorInfo, is_floating
from scalekeys.checkpoints.formats.onnx_model.blocked import (
    LAYOUT,
    Reordered,
    block_size,
    in_order,
    without_filling,
)
from scalekeys.checkpoints.formats.onnx_model.constants import Evaluator, steps_to
from scalekeys.checkpoints.formats.onnx_model.onnx_data import array_of, as_torch, type_of
from scalekeys.checkpoints.formats.onnx_model.operators import NCHWC, Operator
from scalekeys.checkpoints.formats.onnx_model.parsed import Node, NotReadError, nodes_of, shape_of
from scalekeys.checkpoints.formats.onnx_model.scopes import Made, Origin, Program, Scope, Stored
from scalekeys.errors import counted
from scalekeys.optional import require

_QUANTISED_SINCE = 21
_BIAS = 2
_Arranged: TypeAlias = tuple[np.ndarray, tuple[str, ...]]


@dataclass(frozen=True, eq=False)
class Weight:
    """The weight of one convolution, of shape (outputs, inputs of a group, *sides)."""

    identity: object
    """Equal for the same weight, wherever it is used."""
    path: str
    name: str
    """`path` and `name`: where in the graph it is, and what it is called there."""
    info: TensorInfo
    load: Callable[[], Tensor]
    tensor: Any = None
    """Where the file stores it just so; None if it is computed."""
    notes: tuple[str, ...] = ()
    """What was decided on the way, in clauses on its layer."""


@dataclass(frozen=True, eq=False)
class _Convolution:
    """A convolution with what is known of its operator, and where its weight comes from."""

    operator: Operator
    scope: Scope
    node: Node
    origin: Origin

    def given(self, index: int | None) -> Origin | None:
        """Return where one of its inputs comes from, None where the input is not given."""
        name = self.node.input(index)
        return self.scope.origin(name) if name else None


@dataclass(eq=False)
class Weights:
    """Finds the weights of the convolutions of a model."""

    program: Program

    def __post_init__(self) -> None:
        self._evaluator = Evaluator(self.program.path)

    def of(self, operator: Operator, scope: Scope, node: Node) -> Weight:
        """Return the weight of a convolution.

        Raises NotReadError if it is not in the file, is not computed here, or is none; CheckpointError if it is
        computed, and the values that it is computed from are damaged.
        """
        name = node.input(operator.weight)
        if not name:
            raise NotReadError(f"its {node.op} has no weight")
        convolution = _Convolution(operator, scope, node, scope.origin(name))
        plain = operator.zero_point is None and operator.layout == "oihw"
        if plain and isinstance(convolution.origin, Stored):
            return self._stored(convolution.origin)
        return self._computed(convolution)

    def _stored(self, stored: Stored) -> Weight:
        dense = not hasattr(stored.tensor, "indices")
        dtype = type_of(stored.tensor if dense else stored.tensor.values).name
        _check_type(dtype)
        return Weight(
            stored.identity,
            stored.path,
            stored.name,
            TensorInfo(shape_of(stored.tensor), dtype),
            lambda: as_torch(array_of(stored.tensor, self.program.path)),
            tensor=stored.tensor if dense else None,
        )

    def _computed(self, convolution: _Convolution) -> Weight:
        array, notes = self._arranged(convolution, self._evaluator)
        _check_type(array.dtype.name)
        leaf = _named_by(convolution, array.size)
        return Weight(
            (convolution.operator.layout, convolution.origin.identity, *_quantisation(convolution)),
            leaf.path if leaf else convolution.scope.path,
            _name(convolution, leaf),
            TensorInfo(array.shape, "float64" if array.dtype == np.float64 else "float32"),
            lambda: as_torch(self._arranged(convolution, Evaluator(self.program.path))[0]),
            notes=notes,
        )

    def _arranged(self, convolution: _Convolution, evaluator: Evaluator) -> _Arranged:
        """Return a weight in the layout of ONNX, with notes."""
        array = evaluator.array(convolution.origin)
        operator = convolution.operator
        if operator.zero_point is not None:
            return _dequantised(convolution, array, evaluator)
        if operator.layout == "ohwi":
            return _inputs_first(convolution.node, array), ()
        if operator.layout == "blocks":
            return self._unblocked(convolution, array, evaluator)
        return array, ()

    def _unblocked(self, convolution: _Convolution, array: np.ndarray, evaluator: Evaluator) -> _Arranged:
        if array.ndim != 4 or prod(array.shape[2:]) == 1:  # which are no filters
            return array, ()
        if array.shape[1] != 1:
            raise NotReadError(f"{LAYOUT}, and the blocks of depthwise weights alone are put in order")
        if convolution.node.integer("group", 1) != len(array):
            raise NotReadError(f"{LAYOUT}, for as many groups as it does not have")
        size, bias = self._block, convolution.given(_BIAS)
        ordered = in_order(array, size)
        kept = without_filling(ordered, size, evaluator.array(bias) if bias else None)
        filling = len(ordered) - len(kept)
        note = (
            f"has {counted(filling, 'filter')} of zeros at its end, taken for what fills up a block of {size} channels"
        )
        return kept, (note,) if filling else ()

    @cached_property
    def _block(self) -> int:
        """How many channels a block has."""
        return block_size(self._blocked())

    def _blocked(self) -> Iterator[Reordered]:
        for scope, node in self.program.scopes():
            if (node.domain, node.op) == (NCHWC, "Conv"):
                with suppress(NotReadError):  # is said of the layer itself
                    origin = scope.origin(node.input(1))
                    if isinstance(origin, Stored):
                        load = partial(self._evaluator.array, origin)
                        yield Reordered(shape_of(origin.tensor), node.integer("group", 1), load)


def _check_type(dtype: str) -> None:
    if not is_floating(dtype):
        raise NotReadError(f"its weight holds {dtype} values, not floating-point filters")


def _name(convolution: _Convolution, leaf: Stored | None) -> str:
    """Return what to call a computed weight, by the habits of onnxruntime.

    It names a quantised tensor after the tensor, and keeps the name of the bias alone when it reorders weight and bias.
    """
    bias = convolution.node.input(_BIAS)
    if convolution.operator.layout == "blocks" and bias.endswith(".bias"):
        return bias.removesuffix(".bias")
    return leaf.name.removesuffix("_quantized") if leaf else convolution.node.input(convolution.operator.weight)


def _named_by(convolution: _Convolution, size: int) -> Stored | None:
    """Return the only tensor of at least so many values that a weight is computed from, if there is one."""
    leaves = [step for step in steps_to(convolution.origin) if isinstance(step, Stored)]
    large = [leaf for leaf in leaves if prod(leaf.tensor.dims) >= size]
    return large[0] if len(large) == 1 else None


def _quantisation(convolution: _Convolution) -> tuple[object, ...]:
    """Return what tells two uses of the same integers apart."""
    if convolution.operator.zero_point is None:
        return ()
    given = [convolution.given(index) for index in (convolution.operator.scale, convolution.operator.zero_point)]
    own = (id(convolution.scope), convolution.node.position) if given[0] is None else ()
    return (*own, *(origin and origin.identity for origin in given))


def _dequantised(convolution: _Convolution, array: np.ndarray, evaluator: Evaluator) -> _Arranged:
    """Return (weight - zero point) * scale, with one zero point and scale for all filters or for each."""
    onnx = require("onnx", extra="onnx")
    scale = convolution.given(convolution.operator.scale) or _later_scale(convolution)
    zero_point = convolution.given(convolution.operator.zero_point)
    factors = np.ones((), np.float32) if scale is None else evaluator.array(scale)
    (node,) = nodes_of([onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0)])
    given: list[np.ndarray | None] = [array, factors.reshape(() if factors.size == 1 else -1)]
    given.append(evaluator.array(zero_point) if zero_point else None)
    (weight,) = evaluator.run(node, given, _QUANTISED_SINCE)
    note = "holds whole numbers: nothing in the graph tells the scale of its ConvInteger"
    return weight, () if scale else (note,)


def _later_scale(convolution: _Convolution) -> Origin | None:
    """Return the scale of the weight of a ConvInteger, which its output is multiplied with after a Cast.

    The dynamic quantisation of onnxruntime multiplies with the product of the scales of the input and of the weight.
    """
    scope, ends = convolution.scope, convolution.node.outputs[:1]
    for node in scope.nodes:
        if node.op == "Cast" and node.inputs[:1] == ends:
            ends = (*ends, *node.outputs)
    products = [node for node in scope.nodes if node.op == "Mul" and set(node.inputs) & set(ends)]
    for name in (name for node in products for name in node.inputs):
        if name in ends or name not in scope.producers:
            continue
        product, _ = scope.producers[name]
        made = [_made_by(scope, other) for other in product.inputs]
        if product.op == "Mul" and len(made) == 2 and made.count("DynamicQuantizeLinear") == 1:
            return scope.origin(product.inputs[1 - made.index("DynamicQuantizeLinear")])
    return None


def _made_by(scope: Scope, name: str) -> str:
    try:
        origin = scope.origin(name)
    except NotReadError:
        return ""
    return origin.node.op if isinstance(origin, Made) else ""


def _inputs_first(node: Node, array: np.ndarray) -> np.ndarray:
    """Return a weight that has its inputs last, unless the size of the kernels says that the weight has them second."""
    if array.ndim != 4:
        return array
    sides = node.integers("kernel_shape")
    last, second = array.shape[1:3], array.shape[2:]
    if sides == second and sides != last:
        return array
    if array.shape[1] == 1 and array.shape[3] != 1 and sides != last:
        raise NotReadError(
            f"the {node.op} of {node.domain} takes weights with the inputs last, and its weight has them second, or "
            "is not depthwise"
        )
    return array.transpose(0, 3, 1, 2)
