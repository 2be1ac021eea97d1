"""Kernels that a file of Keras weights does not call depthwise: the weights around them tell, as in state dicts."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from scalekeys.checkpoints.core.neighbours import Neighbours
from scalekeys.checkpoints.formats.keras_model.keras_layers import BIASES, MAIN_KERNELS, Role, info_of
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
    names = {key: _name(weight) for key, (weight, _) in found.items()}
    around = Neighbours({names[key]: info_of(*one) for key, one in found.items()})
    depthwise = {key for key in unclear if not around.stand_alone and not around.refusal(names[key])}
    decided = {
        key: replace(role, otherwise=None) if key in depthwise else replace(unclear.get(key, role), fault=role.fault)
        for key, (_, role) in found.items()
    }
    return {key: (weight, decided[key]) for key, (weight, _) in found.items()}


def _name(weight: StoredWeight) -> str:
    """Name a weight as in a state dict, where each layer of several that are called alike has a number.

    Keras numbers them from the second on.
    """
    parts = [part if _NUMBERED.search(part) else f"{part}_0" for part in weight.layer]
    last = "weight" if weight.variable.endswith(MAIN_KERNELS) else weight.variable
    return ".".join((*parts, "bias" if weight.variable.endswith(BIASES) else last))
