"""Kernels that a file of Keras weights does not call depthwise: the weights around them tell, as in state dicts."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from scalekeys.checkpoints.core.naming import unique_name
from scalekeys.checkpoints.core.neighbours import Neighbours
from scalekeys.checkpoints.formats.keras_model.keras_layers import BIASES, MAIN_KERNELS, Role, info_of, is_called
from scalekeys.checkpoints.formats.keras_model.keras_tree import StoredWeight

Judged: TypeAlias = Mapping[str, tuple[StoredWeight, Role]]

_NUMBERED = re.compile(r"_\d+\Z")


def judged_by_neighbours(found: Judged) -> Judged:
    """Return weights with their roles, where those that may be depthwise are, if the weights around them say so.

    `found`: all weights of a file by key, in the order of the network.
    """
    unclear = {key: role.otherwise for key, (_, role) in found.items() if role.otherwise}
    if not unclear:
        return found
    names = _names({key: weight for key, (weight, _) in found.items()})
    around = Neighbours({names[key]: info_of(*one) for key, one in found.items()})
    depthwise = {key for key in unclear if not around.stand_alone and not around.refusal(names[key])}
    decided = {
        key: replace(role, otherwise=None) if key in depthwise else replace(unclear.get(key, role), fault=role.fault)
        for key, (_, role) in found.items()
    }
    return {key: (weight, decided[key]) for key, (weight, _) in found.items()}


def _names(weights: Mapping[str, StoredWeight]) -> dict[str, str]:
    """Name weights as in a state dict, where each layer of several that are called alike has a number.

    Keras numbers them from the second on. A variable whose name is taken keeps its own.
    """
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for key, weight in weights.items():
        layer = [part if _NUMBERED.search(part) else f"{part}_0" for part in weight.layer]
        usual, own = (".".join((*layer, last)) for last in (_usual(weight), weight.variable))
        names[key] = unique_name(own if usual in counts else usual, counts)
    return names


def _usual(weight: StoredWeight) -> str:
    """Return what PyTorch would call a variable in its layer."""
    return "weight" if is_called(weight, MAIN_KERNELS) else "bias" if is_called(weight, BIASES) else weight.variable
