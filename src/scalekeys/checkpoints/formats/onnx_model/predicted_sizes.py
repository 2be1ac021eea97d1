"""How many values the operators give that constants may be computed by, told before any memory is taken for them.

An operator that is not in the table is not run: random numbers, loops, and what a damaged model could take all memory
or time with.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TypeAlias

import numpy as np

from scalekeys.checkpoints.formats.onnx_model.parsed import Node, volume

Arrays: TypeAlias = Sequence[np.ndarray | None]
_Prediction: TypeAlias = Callable[[Node, Arrays], int]


def _shapes(arrays: Arrays) -> list[tuple[int, ...]]:
    return [array.shape for array in arrays if array is not None]


def _largest(_: Node, arrays: Arrays) -> int:
    return max(map(volume, _shapes(arrays)), default=1)


def _sum(_: Node, arrays: Arrays) -> int:
    return sum(map(volume, _shapes(arrays)))


def _quantised(node: Node, arrays: Arrays) -> int:
    scales = [volume(shape) for shape in _shapes(arrays)[1:]]
    return max(_largest(node, arrays), node.integer("block_size", 0) * max(scales, default=1))


def _padded(node: Node, arrays: Arrays) -> int:
    pads = _integers(arrays, 1) if len(arrays) > 1 else node.integers("pads")
    sides = _shapes(arrays)[0]
    return prod(max(side, 1) + 2 * max(map(abs, pads), default=0) for side in sides)


def _counted(_: Node, arrays: Arrays) -> int:
    start, limit, step = (float(array.reshape(())) for array in arrays if array is not None)
    return max(1, int((limit - start) / step) + 1)


def _gathered(_: Node, arrays: Arrays) -> int:
    data, indices = _shapes(arrays)[:2]
    return volume(indices) * volume(data)


def _multiplied(_: Node, arrays: Arrays) -> int:
    first, second = _shapes(arrays)[:2]
    return volume(first) * (second[-1] if len(second) > 1 else 1) * volume(second[:-2])


def _integers(arrays: Arrays, index: int) -> tuple[int, ...]:
    array = arrays[index]
    return () if array is None else tuple(int(value) for value in array.reshape(-1)[:64])


_LARGEST = (
    "Abs Acos Asin Atan BitwiseNot Cast CastLike Ceil Clip Constant Cos Cosh DepthToSpace Elu Exp Flatten Floor "
    "HardSigmoid Identity IsInf IsNaN LeakyRelu Log LogSoftmax LpNormalization Neg Not Reciprocal ReduceL1 "
    "ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare "
    "Relu Reshape Round Shape Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign "
    "SpaceToDepth Sqrt Squeeze Tan Tanh Transpose Trilu Unsqueeze"
)
_BROADCAST = (
    "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean "
    "Min Mod Mul Or Pow PRelu Sub Sum Where Xor"
)
_ONE_BY_ONE = ("Erf", "GatherElements", "ScatterElements", "ScatterND")  # takes a step of Python for each value
PREDICTED: Mapping[str, _Prediction] = {
    **dict.fromkeys(_LARGEST.split(), _largest),
    **dict.fromkeys(_BROADCAST.split(), lambda _, arrays: volume(np.broadcast_shapes(*_shapes(arrays)))),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantised),
    "Concat": _sum,
    "Pad": _padded,
    "Range": _counted,
    "Gather": _gathered,
    "MatMul": _multiplied,
    "ConstantOfShape": lambda _, arrays: volume(_integers(arrays, 0)),
    "Expand": lambda _, arrays: volume(np.broadcast_shapes(_shapes(arrays)[0], _integers(arrays, 1))),
    "Tile": lambda _, arrays: volume(_shapes(arrays)[0]) * volume(_integers(arrays, 1)),
    "Split": lambda node, arrays: max(_largest(node, arrays), node.integer("num_outputs", 1)),
    **dict.fromkeys(_ONE_BY_ONE, lambda node, arrays: 64 * _sum(node, arrays)),
}
"""Operators of ONNX that constants are computed by, with the most values that a result can have."""
