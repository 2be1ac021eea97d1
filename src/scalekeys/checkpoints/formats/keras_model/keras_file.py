"""``.keras``, ``.weights.h5``, ``.h5``: what Keras saves, of all its versions."""

from pathlib import Path

from torch import Tensor

from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.kinds import Wanted
from scalekeys.checkpoints.formats.keras_model.keras_archive import config_of_archive, opened_weights
from scalekeys.checkpoints.formats.keras_model.keras_checkpoint import checkpoint_of, placed
from scalekeys.checkpoints.formats.keras_model.keras_config import layers_of
from scalekeys.checkpoints.formats.keras_model.keras_tree import StoredWeight, text, values_of, version_of, weights_in


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

    def load(weight: StoredWeight) -> Tensor:
        with opened_weights(path, is_checked=True) as file:
            return values_of(file, weight)

    return checkpoint_of(path, placed(stored, described, version), load, wanted)
