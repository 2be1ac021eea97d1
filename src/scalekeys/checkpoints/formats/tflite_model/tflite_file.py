"""``.tflite``: convolutions of the graph, with their strides and dilations, in its order; integers as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scalekeys.checkpoints.core.checkpoint import (
    MOST_VALUES,
    Checkpoint,
    ConvolutionLayer,
    has_sides,
    layer_of_graph,
)
from scalekeys.checkpoints.core.inventory import TensorInfo
from scalekeys.checkpoints.core.kinds import ORDINARY, Wanted
from scalekeys.checkpoints.core.naming import unique_name
from scalekeys.checkpoints.core.pitch import Pitch
from scalekeys.checkpoints.formats.tflite_model.tflite_convolutions import TORCH_ORDER, convolutions
from scalekeys.checkpoints.formats.tflite_model.tflite_graph import IDENTIFIER, Subgraph, read_graph
from scalekeys.checkpoints.formats.tflite_model.tflite_weights import Weight, dtype_of, size_fault
from scalekeys.errors import CheckpointError
from scalekeys.filters import LeftOut


@dataclass(frozen=True, eq=False)
class _Stored:
    """A weight of the file, and the order of its axes in torch."""

    weight: Weight
    order: tuple[int, ...]

    @property
    def info(self) -> TensorInfo:
        shape = self.weight.tensor.shape
        return TensorInfo(tuple(shape[axis] for axis in self.order), dtype_of(self.weight.tensor))

    def load(self) -> Tensor:
        return torch.from_numpy(np.array(self.weight.values().transpose(self.order), order="C"))


def matches(head: bytes) -> bool:
    """Tell whether a file starts as a TensorFlow Lite model."""
    return head[4:8] == IDENTIFIER


def open_tflite(path: Path, wanted: Wanted) -> Checkpoint:
    """Open a TensorFlow Lite model.

    Weights of convolutions are given in torch's order of axes. A layer is called by its weight, or by its output where
    the converter has left the weight without a name. Values are those of the file, where the converter may have
    multiplied a batch norm into them; integers are read as the numbers that they stand for.

    Raises MissingExtraError if tflite is not installed; CheckpointError if the file is damaged or cut short.
    """
    graphs = read_graph(path)
    found: dict[str, _Stored] = {}
    layers: list[ConvolutionLayer] = []
    notes: list[str] = []
    left_out: list[LeftOut] = []
    pitches: dict[str, Pitch | None] = {}
    ordinary = 0
    counts: dict[str, int] = {}
    for convolution in convolutions(graphs):
        name = unique_name(convolution.name, counts)
        asked = convolution.kind in wanted.kinds
        if convolution.weight and len(convolution.shape) == len(TORCH_ORDER[convolution.operator]):
            found[name] = _Stored(convolution.weight, TORCH_ORDER[convolution.operator])
        if asked and not convolution.fault:
            layer, said = layer_of_graph(
                name, name, stride=convolution.stride, dilation=convolution.dilation, kind=convolution.kind
            )
            layers.append(layer)
            pitches[layer.key] = convolution.pitch
            notes += said
        elif reason := convolution.fault if asked else convolution.reason:
            left_out.append(LeftOut(name, convolution.shape, reason))
        elif convolution.kind == ORDINARY and name in found:
            ordinary += has_sides(found[name].info.shape)
    _check_size(path, [found[layer.key].info for layer in layers])
    found |= _others(graphs, found)
    return Checkpoint(
        str(path),
        path.stem,
        {key: stored.info for key, stored in found.items()},
        tuple(layers),
        lambda key: found[key].load(),
        notes=tuple(notes),
        left_out=tuple(left_out),
        kinds=wanted.kinds,
        ordinary=ordinary,
        pitches=lambda: pitches,
    )


def _check_size(path: Path, layers: Sequence[TensorInfo]) -> None:
    """Refuse weights that are the same bytes again and again, which would fill the memory from a small file."""
    claimed = sum(prod(info.shape) for info in layers)
    if claimed > max(MOST_VALUES, 8 * path.stat().st_size):
        raise CheckpointError(
            f"{path}: its layers claim {claimed} values, which the file does not hold; do not trust it"
        )


def _others(graphs: Sequence[Subgraph], found: dict[str, _Stored]) -> dict[str, _Stored]:
    """Return the constants of all subgraphs that no convolution uses, by names of their own."""
    used = {id(tensor) for stored in found.values() for tensor in (stored.weight.tensor, stored.weight.source)}
    counts, others = dict.fromkeys(found, 1), {}
    for graph in graphs:
        for tensor in graph.tensors:
            if tensor.content is not None and id(tensor) not in used and not size_fault(tensor):
                axes = tuple(range(len(tensor.shape)))
                others[unique_name(tensor.name, counts)] = _Stored(Weight(tensor, tensor), axes)
    return others
