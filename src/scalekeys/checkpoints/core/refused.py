"""Tensors that cannot be read, and what is listed of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from scalekeys.checkpoints.core.inventory import NESTED, Lazy
from scalekeys.checkpoints.core.naming import names_a_weight
from scalekeys.errors import printable
from scalekeys.filters import LeftOut

LAZY = "it is lazy and has no values yet; run the network once"
NO_SHAPE = "its shape is damaged"
OF_UNKNOWN_CLASS = "it is a tensor of a class that is not known; save its values as a plain tensor"
_UNTOLD = (NO_SHAPE, NESTED, OF_UNKNOWN_CLASS)
"""Why a tensor is refused whose shape cannot be told."""


@dataclass(frozen=True, eq=False)
class Refused(Lazy):
    """A tensor that cannot be read, and why."""

    shape: tuple[int, ...]
    reason: str
    dtype: torch.dtype = torch.float32


def reasons_in(tensors: Mapping[str, Any]) -> dict[str, str]:
    """Return why tensors are refused, by their keys.

    >>> reasons_in({"dw.bias": Refused((8,), NO_SHAPE), "dw.weight": torch.ones(8, 1, 3, 3)})
    {'dw.bias': 'its shape is damaged'}
    """
    return {key: tensor.reason for key, tensor in tensors.items() if isinstance(tensor, Refused)}


def refused_in(tensors: Mapping[str, Any]) -> list[LeftOut]:
    """List the tensors that are refused and have the shape of a kernel, or none and the name of a weight.

    >>> refused_in({"dw.weight": Refused((), LAZY), "dw.bias": Refused((8,), LAZY)})[0].name
    'dw'
    """
    refused = {key: tensor for key, tensor in tensors.items() if isinstance(tensor, Refused)}
    return [
        LeftOut(printable(key.removesuffix(".weight")), tensor.shape, tensor.reason)
        for key, tensor in refused.items()
        if tensor.reason in _UNTOLD
        or (not tensor.shape and names_a_weight(key))
        or (len(tensor.shape) > 2 and prod(tensor.shape[2:]) > 1)
    ]
