"""From the weights of a Keras model, wherever they are stored, to an opened checkpoint."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from torch import Tensor

from scalekeys.checkpoints.core.arrangement import inputs_first, outputs_first
from scalekeys.checkpoints.core.checkpoint import Checkpoint, ConvolutionLayer, has_sides, layer_of_graph
from scalekeys.checkpoints.core.kinds import ORDINARY, Wanted
from scalekeys.checkpoints.core.naming import unique_name
from scalekeys.checkpoints.formats.keras_model.keras_config import LayerConfig
from scalekeys.checkpoints.formats.keras_model.keras_layers import (
    BIASES,
    Role,
    in_torch_order,
    info_of,
    is_called,
    role_of,
)
from scalekeys.checkpoints.formats.keras_model.keras_neighbours import judged_by_neighbours
from scalekeys.checkpoints.formats.keras_model.keras_tree import StoredWeight
from scalekeys.filters import LeftOut


@dataclass(frozen=True)
class Placed:
    """A weight with what it is, and with the configuration of its layer where that has one."""

    weight: StoredWeight
    role: Role
    config: LayerConfig | None = None


def placed(stored: Sequence[StoredWeight], described: Sequence[LayerConfig], version: int) -> list[Placed]:
    """Return weights in the order of the configuration, each with what that, its name and its neighbours say of it.

    `version`: of the Keras that has written them, 0 where that is not known.
    """
    pairs = _in_order(stored, described)
    biases = {weight.layer: weight.shape for weight in stored if is_called(weight, BIASES)}
    found = judged_by_neighbours(
        {
            weight.key: (weight, role_of(weight, config, version, biases.get(weight.layer, ())))
            for weight, config in pairs
        }
    )
    return [Placed(weight, found[weight.key][1], config) for weight, config in pairs]


def checkpoint_of(
    path: Path, found: Iterable[Placed], values_of: Callable[[StoredWeight], Tensor], wanted: Wanted
) -> Checkpoint:
    """Open the weights of a model, which are given in torch's order of axes.

    `path`: of the model.
    `found`: its weights, from input to output.
    `values_of`: reads the values of a weight without a fault, as they are stored.
    """
    readable: dict[str, Placed] = {}
    layers: list[ConvolutionLayer] = []
    notes: list[str] = []
    left_out: list[LeftOut] = []
    ordinary = 0
    names: dict[str, int] = {}
    for one in found:
        weight, role, config = one.weight, one.role, one.config
        if not weight.fault:
            readable[weight.key] = one
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
        return in_torch_order(values_of(readable[key].weight), readable[key].role)

    return Checkpoint(
        str(path),
        path.stem,
        {key: info_of(one.weight, one.role) for key, one in readable.items()},
        tuple(layers),
        load,
        notes=tuple(notes),
        left_out=tuple(left_out),
        kinds=wanted.kinds,
        ordinary=ordinary,
    )


def _in_order(
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
