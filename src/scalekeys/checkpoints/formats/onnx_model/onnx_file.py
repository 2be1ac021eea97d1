"""``.onnx``: a model opened as a checkpoint."""

from functools import partial
from pathlib import Path

from torch import Tensor

from scalekeys.checkpoints.core.changes import Copying
from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.kinds import Wanted
from scalekeys.checkpoints.formats.onnx_model.layers import find_layers
from scalekeys.checkpoints.formats.onnx_model.onnx_data import array_of, as_torch
from scalekeys.checkpoints.formats.onnx_model.onnx_writing import data_files, write_onnx
from scalekeys.checkpoints.formats.onnx_model.parsed import read_model
from scalekeys.checkpoints.formats.onnx_model.scopes import Program

_SECOND_FIELDS = (0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42)  # tags of ModelProto, after ir_version


def matches(head: bytes) -> bool:
    """Tell whether a file starts as an ONNX model: the version of the format, then another field of the model."""
    return len(head) > 2 and head[0] == 0x08 and head[1] < 0x80 and head[2] in _SECOND_FIELDS


def open_onnx(path: Path, wanted: Wanted) -> Checkpoint:
    """Open an ONNX model; values in files beside it are read one tensor at a time.

    A layer is called by its weight, or by its node where the exporter has left the weight without a name; what is in a
    branch, a loop or a local function has the names of these before its own. Weights that the graph computes from what
    the file stores, by dequantisation for example, are computed. Values are those of the file, where an exporter may
    have multiplied a batch norm into them.

    Raises MissingExtraError if onnx is not installed; CheckpointError if the file is damaged or cut short.
    """
    model = read_model(path)
    program = Program(model, path)
    found = find_layers(program, wanted.kinds)

    def load(key: str) -> Tensor:
        weight = found.weights.get(key)
        return weight.load() if weight else as_torch(array_of(found.stored[key].tensor, path))

    files = (path, *(path.parent / name for name in data_files(model) if isinstance(name, str)))
    return Checkpoint(
        str(path),
        path.stem,
        found.tensors,
        tuple(found.layers.values()),
        load,
        notes=tuple(found.notes),
        left_out=tuple(found.left_out),
        copying=Copying(
            partial(write_onnx, path, wanted.kinds),
            files=files,
            can_change=lambda key: found.weights[key].tensor is not None,
        ),
        recurrent=found.recurrent,
        kinds=wanted.kinds,
        ordinary=len(found.ordinary),
        pitches=partial(found.pitches, program),
    )
