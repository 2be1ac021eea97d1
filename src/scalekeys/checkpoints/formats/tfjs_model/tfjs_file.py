"""``model.json``, ``weights_manifest.json``: what TensorFlow.js loads, a JSON file and shards of weights beside it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.kinds import Wanted
from scalekeys.checkpoints.formats.content import MANIFEST
from scalekeys.checkpoints.formats.keras_model.keras_checkpoint import Placed, checkpoint_of, placed
from scalekeys.checkpoints.formats.keras_model.keras_config import layers_of
from scalekeys.checkpoints.formats.keras_model.keras_layers import Role
from scalekeys.checkpoints.formats.tfjs_model.entries import entry
from scalekeys.checkpoints.formats.tfjs_model.tfjs_graph import placed_in_graph
from scalekeys.checkpoints.formats.tfjs_model.tfjs_weights import ManifestWeight, described, read_manifest
from scalekeys.errors import CheckpointError, one_line
from scalekeys.files import read_bytes

_LARGEST = 2**26
_VERSION = 2  # of the Keras that TensorFlow.js follows where it has written a model itself


def open_tfjs(path: Path, wanted: Wanted) -> Checkpoint:
    """Open a model of TensorFlow.js, or the manifest of its weights, whose shards lie beside it.

    A graph, or the configuration of a Keras model, says which layers are depthwise, their strides and dilations and
    their order. In a manifest alone the names of weights say so, as in a file of Keras weights. Values are those of the
    file, where the converter may have multiplied a batch norm into them; integers are read as the numbers that they
    stand for.

    Raises CheckpointError if the file is damaged or cut short, or a shard is missing or lies outside its folder.
    """
    try:
        document = json.loads(read_bytes(path, CheckpointError, most=_LARGEST))
        if isinstance(document, list):
            document = {"weightsManifest": document}
        stored = read_manifest(path, entry(document, "weightsManifest", kind=list))
        found = _placed(path, entry(document, "modelTopology", kind=dict, default={}), stored)
    except (ValueError, ArithmeticError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else one_line(str(error))
        raise CheckpointError(
            f"{path}: is no TensorFlow.js model, or is damaged or cut short ({why}); fetch it again"
        ) from None
    opened = checkpoint_of(path, found, lambda weight: torch.from_numpy(stored[weight.key].values()), wanted)
    return replace(opened, model=path.name.removesuffix(f"-{MANIFEST}").removesuffix(".json"))


def _placed(path: Path, topology: Mapping[str, Any], stored: Mapping[str, ManifestWeight]) -> list[Placed]:
    """Return the weights of a model, those of convolutions in the order of the network."""
    if not topology:
        return placed([described(weight, is_named=False) for weight in stored.values()], (), 0)
    if "node" not in topology:
        layers = layers_of(topology.get("model_config", topology), path)
        major = str(topology.get("keras_version", "")).partition(".")[0]
        version = int(major) if major in ("1", "2", "3") else _VERSION
        return placed([described(weight) for weight in stored.values()], layers, version)
    found = list(placed_in_graph(topology, stored))
    used = {one.weight.key for one in found}
    return found + [Placed(described(weight), Role()) for name, weight in stored.items() if name not in used]
