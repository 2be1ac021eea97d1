"""How far apart the samples of the tensors of a TensorFlow Lite graph lie, by strides and by the sides of tensors."""

from collections.abc import Sequence

from scalekeys.checkpoints.core.pitch import CONSTANT, UNKNOWN, Grid, Pitch, agreed, pitch_of, strided
from scalekeys.checkpoints.formats.tflite_model.tflite_graph import Operator, Subgraph

_STEPPING = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_3D", "MAX_POOL_2D", "AVERAGE_POOL_2D")
_TRANSPOSED = {"TRANSPOSE_CONV": 2, "CONV_3D_TRANSPOSE": 1}
"""Which input of a transposed convolution is what it spreads out."""

_BY_SIDES = ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE")
_KEEPING = ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "PAD", "PADV2", "MIRROR_PAD", "CONCATENATION")


class Grids:
    """The grids of the tensors of a subgraph by number; None for a tensor whose axes are not known.

    The pitch is 1 along each axis of the first tensor of at least three axes that no operator gives and whose values
    are not in the file. An operator that is not known keeps the pitch of axes along which its sides stay the same.
    """

    def __init__(self, graph: Subgraph) -> None:
        self._graph = graph
        self._input: int | None = None
        self._made: dict[int, Grid | None] = {}
        for operator in graph.operators:
            grid = self._of_operator(operator)
            self._made |= dict.fromkeys(operator.outputs, grid)

    def pitch(self, operator: Operator) -> Pitch | None:
        """Return the pitch of the kernels of a convolution: of its output if it is transposed, else of its input."""
        grid = self._of_operator(operator) if operator.kind in _TRANSPOSED else self.of(operator.inputs[0])
        return pitch_of(grid[1:-1]) if grid else None

    def of(self, number: int) -> Grid | None:
        """Return the grid of a tensor; without axes for a constant."""
        if number < 0 or self._graph.tensors[number].content is not None:
            return ()
        if number not in self._made:
            axes = len(self._graph.tensors[number].shape)
            if self._input is None and axes > 2:
                self._input = number
            self._made[number] = (1.0 if number == self._input else CONSTANT,) * axes
        return self._made[number]

    def _of_operator(self, operator: Operator) -> Grid | None:
        grids = [self.of(number) for number in operator.inputs]
        stride = operator.stride
        if not grids or not operator.outputs or operator.outputs[0] < 0:
            return None
        if operator.kind in _STEPPING:
            return _over_sides(grids[0], stride)
        if operator.kind in _TRANSPOSED and len(grids) > _TRANSPOSED[operator.kind]:
            return _over_sides(grids[_TRANSPOSED[operator.kind]], [1 / step for step in stride or ()])
        if all(grid == () for grid in grids):
            return ()
        if operator.kind in _KEEPING:
            return agreed(grids)
        return self._by_sides(operator, agreed(grids))

    def _by_sides(self, operator: Operator, grid: Grid | None) -> Grid | None:
        """Follow an operator by the sides of its first input that is no constant, and of its output."""
        given = next(number for number in operator.inputs if self.of(number) != ())
        before, after = (self._graph.tensors[number].shape for number in (given, operator.outputs[0]))
        if grid is None or not len(grid) == len(before) == len(after):
            return None
        along = _resampled if operator.kind in _BY_SIDES else _kept
        return tuple(map(along, grid, before, after))


def _kept(pitch: float, before: int, after: int) -> float:
    if before == after:
        return pitch
    return CONSTANT if after == 1 else UNKNOWN


def _resampled(pitch: float, before: int, after: int) -> float:
    return pitch * before / after if before and after else UNKNOWN


def _over_sides(grid: Grid | None, steps: Sequence[float] | None) -> Grid | None:
    if not grid or len(grid) < 3 or not steps:
        return None
    return (grid[0], *strided(grid[1:-1], steps), UNKNOWN)
