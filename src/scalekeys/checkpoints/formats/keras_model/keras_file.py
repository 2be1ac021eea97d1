"""``.keras``, ``.weights.h5``, ``.h5``: what Keras saves, of all its versions."""

from collections.abc import Sequence
from math import inf
from pathlib import Path

from torch import Tensor

from scalekeys.checkpoints.core.arrangement import inputs_first, outputs_first
from scalekeys.checkpoints.core.checkpoint import Checkpoint, ConvolutionLayer, has_sides, layer_of_graph
from scalekeys.checkpoints.core.kinds import ORDINARY, Wanted
from scalekeys.checkpoints.core.naming import unique_name
from scalekeys.checkpoints.formats.keras_model.keras_archive import config_of_archive, opened_weights
from scalekeys.checkpoints.formats.keras_model.keras_config import LayerConfig, layers_of
from scalekeys.checkpoints.formats.keras_model.keras_layers import BIASES, in_torch_order, info_of, role_of
from scalekeys.checkpoints.formats.keras_model.keras_neighbours import judged_by_neighbours
from scalekeys.checkpoints.formats.keras_model.keras_tree import StoredWeight, text, values_of, version_of, weights_in
from scalekeys.filters import LeftOut


def open_keras(path: Path, wanted: Wanted) -> Checkpoint:
    """Open a Keras model, or weights of one.

    Weights are given in torch's order of axes. The configuration of the model, where there is one, says which layers
    are depthwise or grouped, their strides and dilations and their order; in a file of weights alone, the names of
    layers, their biases and the weights around them do.

    Raises MissingExtraError if h5py is not installed; CheckpointError if the file is damaged or cut short.
    """
    with opened_weights(path) as file:
        described = layers_of(config_of_archive(path) or text(file.attrs.get("model_config")), path)
        stored = weights_in(file, {layer.path: layer.name for layer in described})
        version = version_of(file)
    placed = _placed(stored, described)
    biases = {weight.layer: weight.shape for weight in stored if weight.variable.endswith(BIASES)}
    found = judged_by_neighbours(
        {
            weight.key: (weight, role_of(weight, config, version, biases.get(weight.layer, ())))
            for weight, config in placed
        }
    )
    layers: list[ConvolutionLayer] = []
    notes: list[str] = []
    left_out: list[LeftOut] = []
    ordinary = 0
    names: dict[str, int] = {}
    for weight, config in placed:
        role = found[weight.key][1]
        asked = role.kind in wanted.kinds
        if asked and not role.fault:
            layer, said = layer_of_graph(
                unique_name(weight.label, names),
                weight.key,
                stride=config.stride if config else None,
                dilation=config.dilation if config else None,
                arrangement=inputs_first(1) if role.is_transposed else outputs_first,
                kind=role.kind,
            )
            layers.append(layer)
            notes += said
        elif reason := role.fault if asked else role.reason:
            left_out.append(LeftOut(unique_name(weight.label, names), weight.shape, reason))
        elif role.kind == ORDINARY and not weight.fault:
            ordinary += has_sides(info_of(weight, role).shape)

    def load(key: str) -> Tensor:
        weight, role = found[key]
        with opened_weights(path, is_checked=True) as file:
            return in_torch_order(values_of(file, weight), role)

    tensors = {key: info_of(weight, role) for key, (weight, role) in found.items() if not weight.fault}
    return Checkpoint(
        str(path),
        path.stem,
        tensors,
        tuple(layers),
        load,
        notes=tuple(notes),
        left_out=tuple(left_out),
        kinds=wanted.kinds,
        ordinary=ordinary,
    )


def _placed(
    stored: Sequence[StoredWeight], described: Sequence[LayerConfig]
) -> list[tuple[StoredWeight, LayerConfig | None]]:
    """Return weights in the order of the configuration, each with what that says of its layer."""
    by_path = {layer.path: layer for layer in described}
    by_name = {layer.name: layer for layer in reversed(described)}

    def around(weight: StoredWeight) -> LayerConfig | None:
        """Return the layer of a weight, or the layer that holds it."""
        if weight.names:
            return next((by_name[name] for name in weight.names if name in by_name), None)
        ends = range(len(weight.layer), 0, -1)
        return next((by_path[weight.layer[:end]] for end in ends if weight.layer[:end] in by_path), None)

    found = [(weight, around(weight)) for weight in stored]
    found.sort(key=lambda pair: pair[1].order if pair[1] else inf)
    return [(weight, layer if weight.names else by_path.get(weight.layer)) for weight, layer in found]
