"""How far apart the samples of the values of an ONNX graph lie: the graph is followed from its inputs, node by node."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np

from scalekeys.checkpoints.core.pitch import CONSTANT, UNKNOWN, Grid, Pitch, agreed, pitch_of, strided
from scalekeys.checkpoints.formats.onnx_model.constants import Evaluator
from scalekeys.checkpoints.formats.onnx_model.operators import Operator
from scalekeys.checkpoints.formats.onnx_model.parsed import Node, NotReadError, text
from scalekeys.checkpoints.formats.onnx_model.scopes import InputError, Made, Program, Scope
from scalekeys.errors import CheckpointError

_LONGEST_RANK = 16
_STEPS_BACK = 8
_MOST_STEPS = 64
_PUT_TOGETHER = ("Concat", "Slice", "Gather", "Squeeze", "Unsqueeze", "Cast")


class Grids:
    """The grids of all values of a model; None for a value whose axes are not known.

    The pitch is 1 along each axis of the first input of at least three axes, and of inputs of the same shape. Other
    inputs, as the states of a stream or a threshold, make no claim.
    """

    def __init__(self, program: Program) -> None:
        self.evaluator = Evaluator(program.path)
        self._inputs, self.shape = _input_grids(program)
        self._made: dict[object, Grid | None] = {}
        for scope, node in program.scopes():
            if scope.called(node):
                continue
            grid = self._of_node(scope, node)
            for output in range(len(node.outputs)):
                self._made[Made(node, scope, output).identity] = grid

    def pitch(self, operator: Operator, scope: Scope, node: Node, axes: int) -> Pitch | None:
        """Return the pitch that the kernels of a convolution have: of its output if it is transposed, else its input.

        None stands for a pitch that is not known.
        """
        grid = self._of_node(scope, node) if operator.transposed else self.of(scope, node.input(0))
        fits = operator.layout != "ohwi" and grid is not None and len(grid) == axes + 2
        return pitch_of(grid[2:]) if fits and grid else None

    def of(self, scope: Scope, name: str) -> Grid | None:
        """Return the grid of a value by its name in some part of the graph; without axes for what makes no claim."""
        if not name:
            return ()
        try:
            origin = scope.origin(name)
        except InputError as error:
            return self._inputs.get(error.name)
        except NotReadError:
            return None
        if isinstance(origin, Made) and origin.node.op == "If":
            branches = origin.scope.bodies(origin.node)
            return agreed(self.of(branch, text(branch.part.output[origin.output].name)) for branch in branches)
        return self._made.get(origin.identity) if isinstance(origin, Made) else ()

    def recent(self, scope: Scope, name: str) -> list[float]:
        """Return the pitches along a value, or along the last one before it that has any."""
        for _ in range(_STEPS_BACK):
            if known := [pitch for pitch in (self.of(scope, name) or ())[1:] if pitch > 0]:
                return known
            origin = scope.origin(name)
            if not isinstance(origin, Made):
                break
            scope, name = origin.scope, origin.node.input(0)
        return []

    def parts_of_shape(self, scope: Scope, name: str) -> tuple[list[Grid | None], list[int]] | None:
        """Return what a shape is put together of: the grids of values that have parts of it, and sides that are given.

        None stands for a shape that is computed otherwise.
        """
        others: list[Grid | None] = []
        sides: list[int] = []
        pending = [scope.origin(name)]
        for _ in range(_MOST_STEPS):
            if not pending:
                return others, sides
            step = pending.pop()
            if not isinstance(step, Made):
                sides = [*_whole_numbers(self.evaluator.array(step)), *sides]
            elif step.node.op == "Shape":
                others.append(self.of(step.scope, step.node.input(0)))
            elif step.node.op in _PUT_TOGETHER:
                parts = step.node.inputs if step.node.op == "Concat" else step.node.inputs[:1]
                pending += [step.scope.origin(one) for one in parts]
            else:
                break
        return None

    def _of_node(self, scope: Scope, node: Node) -> Grid | None:
        grids = [self.of(scope, name) for name in node.inputs]
        if node.op in ("Shape", "Size") or (all(grid == () for grid in grids) and not any(node.bodies())):
            return ()
        follow = _FOLLOWED.get(node.op)
        if follow is None:
            return None
        grid = None
        with suppress(NotReadError, CheckpointError, IndexError, ValueError, OverflowError):
            grid = follow(_Step(self, scope, node), grids)
        return grid if grid is None or len(grid) <= _LONGEST_RANK else None


class _Step:
    """A node, with what its constants say."""

    def __init__(self, walk: Grids, scope: Scope, node: Node) -> None:
        self.node, self.scope, self.walk = node, scope, walk

    def array(self, index: int) -> np.ndarray:
        """Return an input that is a constant."""
        return self.walk.evaluator.array(self.scope.origin(self.node.input(index)))

    def constant(self, index: int, attribute: str = "") -> np.ndarray | None:
        """Return an input, or the attribute that older versions have in its place; None where neither is given."""
        if self.node.input(index):
            return self.array(index).reshape(-1)
        entry = self.node.attributes.get(attribute)
        if entry is None:
            return None
        return np.array(entry.floats or entry.ints or [entry.i], dtype=float)

    def integers(self, index: int, attribute: str = "") -> list[int] | None:
        """Return a constant as a list of whole numbers."""
        found = self.constant(index, attribute)
        return None if found is None else _whole_numbers(found)

    def number(self, attribute: str, default: int) -> int:
        """Return an attribute, which may be negative."""
        entry = self.node.attributes.get(attribute)
        return default if entry is None else int(entry.i)


_Shape: TypeAlias = tuple[int | str, ...]
_Grids: TypeAlias = Sequence[Grid | None]
_Follow: TypeAlias = Callable[[_Step, _Grids], Grid | None]


def _input_grids(program: Program) -> tuple[dict[str, Grid | None], _Shape]:
    """Return the grids of the inputs of the model by name, and the shape of those whose samples count."""
    entries = [entry for entry in program.model.graph.input if text(entry.name) not in program.main.stored]
    shapes = {text(entry.name): _shape(entry) for entry in entries}
    first = next((shape for shape in shapes.values() if shape is not None and len(shape) > 2), ())
    grids = {
        name: None if shape is None else (1.0 if shape == first else CONSTANT,) * len(shape)
        for name, shape in shapes.items()
    }
    return grids, first


def _shape(entry: Any) -> _Shape | None:
    kind = entry.type.tensor_type
    if not kind.HasField("shape"):
        return None
    return tuple(side.dim_value or text(side.dim_param) for side in kind.shape.dim)


def _whole_numbers(array: np.ndarray) -> list[int]:
    return [int(value) for value in array.reshape(-1)[:_LONGEST_RANK]]


def _transposed(step: _Step, grids: _Grids) -> Grid | None:
    return _over_sides(grids[0], [1 / stride for stride in step.node.integers("strides")])


def _pooled_wholly(_: _Step, grids: _Grids) -> Grid | None:
    return grids[0] and (*grids[0][:2], *(CONSTANT for _ in grids[0][2:]))


def _over_sides(grid: Grid | None, steps: Sequence[float], *, pools: bool = False) -> Grid | None:
    """Follow an operator that steps over all axes behind those of batch and channels; one that pools keeps channels."""
    if not grid or len(grid) < 3:
        return None
    sides = strided(grid[2:], steps or (1,) * (len(grid) - 2))
    return (grid[0], grid[1] if pools else UNKNOWN, *sides)


def _resized(step: _Step, grids: _Grids) -> Grid | None:
    grid, node = grids[0], step.node
    if not grid:
        return None
    if node.input(3):
        return _resized_to(step, grid)
    scales = step.constant(1 if node.op == "Upsample" or len(node.inputs) < 3 else 2, "scales")
    factors = np.full(len(grid), UNKNOWN if scales is None else 1.0)
    if scales is not None:
        factors[step.integers(len(node.inputs), "axes") or slice(None)] = 1 / scales.astype(float)
    return strided(grid, factors.tolist())


def _resized_to(step: _Step, grid: Grid) -> Grid:
    """Follow a resizing to given sides, which divide those of the input, or to the sides of another value."""
    unknown = (*grid[:2], *(UNKNOWN for _ in grid[2:]))
    parts = step.walk.parts_of_shape(step.scope, step.node.input(3))
    if parts is None:
        return unknown
    others, sides = parts
    if sides:
        return _divided(step.walk.shape, grid, sides) or unknown
    found = {other[2:] for other in others if other is not None and len(other) == len(grid)}
    found = found - {grid[2:]} or found  # as the channels of the shape may be those of the value itself
    return (*grid[:2], *found.pop()) if len(found) == 1 else unknown


def _divided(shape: _Shape, grid: Grid, sides: Sequence[int]) -> Grid | None:
    """Return the grid of so many samples along the last axes, where they divide an input of the same axes evenly."""
    axes = len(grid) - 2
    if len(shape) != len(grid) or len(sides) < axes:
        return None
    found = []
    for whole, side in zip(shape[2:], sides[-axes:], strict=True):
        if not isinstance(whole, int) or side < 1 or (whole % side and side % whole):
            return None
        found.append(whole / side)
    ratios = [new / old for new, old in zip(found, grid[2:], strict=True)]
    return (*grid[:2], *found) if all(ratio == ratios[0] for ratio in ratios) else None


def _sliced(step: _Step, grids: _Grids) -> Grid | None:
    steps = step.integers(4)
    if steps is None or not grids[0]:
        return grids[0]
    factors = [1.0] * len(grids[0])
    for axis, stride in zip(step.integers(3) or range(len(steps)), steps, strict=True):
        factors[axis] = abs(stride)
    return strided(grids[0], factors)


def _permuted(step: _Step, grids: _Grids) -> Grid | None:
    grid = grids[0]
    return grid and tuple(grid[axis] for axis in step.node.integers("perm", tuple(range(len(grid)))[::-1]))


def _joined(_: _Step, grids: _Grids) -> Grid | None:
    rank = max(len(grid) if grid else 0 for grid in grids)
    return agreed(grids) if all(grid is None or len(grid) in (0, rank) for grid in grids) else None


def _reduced(step: _Step, grids: _Grids) -> Grid | None:
    grid = grids[0]
    if not grid:
        return None
    axes = {axis % len(grid) for axis in step.integers(1, "axes") or range(len(grid))}
    if step.number("keepdims", 1):
        return tuple(CONSTANT if axis in axes else pitch for axis, pitch in enumerate(grid))
    return tuple(pitch for axis, pitch in enumerate(grid) if axis not in axes)


def _picked(step: _Step, grids: _Grids) -> Grid | None:
    """Follow one index of an axis, which is left out, or several, which need not be neighbours."""
    grid = grids[0]
    if not grid:
        return None
    axis = step.number("axis", 0) % len(grid)
    return (*grid[:axis], *(UNKNOWN,) * step.array(1).ndim, *grid[axis + 1 :])


def _squeezed(step: _Step, grids: _Grids) -> Grid | None:
    grid, axes = grids[0], step.integers(1, "axes")
    if not grid or axes is None:
        return None
    gone = {axis % len(grid) for axis in axes}
    return tuple(pitch for axis, pitch in enumerate(grid) if axis not in gone)


def _unsqueezed(step: _Step, grids: _Grids) -> Grid | None:
    grid, axes = grids[0], step.integers(1, "axes")
    if grid is None or axes is None:
        return None
    rank, old = len(grid) + len(axes), iter(grid)
    new = {axis % rank for axis in axes}
    return tuple(CONSTANT if axis in new else next(old) for axis in range(rank))


def _reshaped(step: _Step, grids: _Grids) -> Grid | None:
    """Follow the axes that a new shape keeps: by a zero, or as their side times their pitch is a side of the input.

    What takes the shape of another value is taken to lie on its grid.
    """
    grid = grids[0]
    shape = step.scope.origin(step.node.input(1)) if step.node.input(1) else None
    if isinstance(shape, Made) and shape.node.op == "Shape":
        return step.walk.of(shape.scope, shape.node.input(0))
    sides = step.integers(1, "shape")
    if not grid or sides is None:
        return None
    if 0 in sides:
        return tuple(grid[axis] if side == 0 else UNKNOWN for axis, side in enumerate(sides))
    wholes = _without_channels(step.walk.shape)
    left, found = step.walk.recent(step.scope, step.node.input(0)), []
    for side in reversed(sides):
        place = next((at for at in reversed(range(len(left))) if side > 1 and side * left[at] in wholes), None)
        found.append(UNKNOWN if place is None else left[place])
        left = left if place is None else left[:place]
    return tuple(reversed(found))


def _without_channels(shape: _Shape) -> _Shape:
    """Leave batch and channels out of the shape of a picture, whichever end the channels stand at."""
    if len(shape) < 4:
        return shape
    last = isinstance(shape[-1], int) and (not isinstance(shape[1], int) or shape[-1] < shape[1])
    return shape[1:-1] if last else shape[2:]


_KEPT = (
    "Abs BatchNormalization Cast Ceil Celu Clip Dropout DynamicQuantizeLinear QuantizeLinear DequantizeLinear Elu "
    "Erf Exp Floor Gelu GroupNormalization HardSigmoid HardSwish Identity InstanceNormalization "
    "LayerNormalization LeakyRelu Log LogSoftmax LpNormalization LRN MeanVarianceNormalization Mish Neg Pad "
    "QuickGelu Reciprocal "
    "Relu ReorderInput ReorderOutput Round Selu Sigmoid Sign SimplifiedLayerNormalization Softmax "
    "Softplus Softsign Split Sqrt Swish Tanh ThresholdedRelu"
)
_BROADCAST = "Add BiasGelu Div FastGelu Max Mean Min Mod Mul Pow PRelu QLinearAdd QLinearMul Sub Sum Where"
_CONVOLVED = "Conv ConvInteger QLinearConv FusedConv DeformConv"
_REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]
_POOLED = ("AveragePool", "MaxPool", "LpPool")
_FOLLOWED: Mapping[str, _Follow] = {
    **dict.fromkeys(_KEPT.split(), lambda _, grids: grids[0]),
    **dict.fromkeys(_BROADCAST.split(), lambda _, grids: agreed(grids)),
    **dict.fromkeys(_CONVOLVED.split(), lambda step, grids: _over_sides(grids[0], step.node.integers("strides"))),
    **dict.fromkeys(("ConvTranspose", "ConvTransposeWithDynamicPads"), _transposed),
    **dict.fromkeys(_POOLED, lambda step, grids: _over_sides(grids[0], step.node.integers("strides"), pools=True)),
    **dict.fromkeys(("Global" + name for name in _POOLED), _pooled_wholly),
    **{f"Reduce{name}": _reduced for name in _REDUCTIONS},
    "Resize": _resized,
    "Upsample": _resized,
    "Slice": _sliced,
    "Transpose": _permuted,
    "Concat": _joined,
    "SpaceToDepth": lambda step, grids: _over_sides(grids[0], [step.node.integer("blocksize", 0)] * 2),
    "DepthToSpace": lambda step, grids: _over_sides(grids[0], [1 / step.node.integer("blocksize", 1)] * 2),
    # along all axes but the last, the product with a constant matrix is elementwise
    "MatMul": lambda _, grids: (*grids[0][:-1], UNKNOWN) if grids[0] and grids[1] == () else None,
    "Gather": _picked,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Reshape": _reshaped,
}
"""What is done with the grid of the inputs of each operator; any other one gives a value that nothing is known of."""
