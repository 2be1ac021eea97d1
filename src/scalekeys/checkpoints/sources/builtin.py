"""What comes with the package: ``builtin:NAME``."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from scalekeys.checkpoints.core.checkpoint import Checkpoint, refuse_choice
from scalekeys.checkpoints.core.inventory import info_of
from scalekeys.checkpoints.core.kinds import Wanted
from scalekeys.checkpoints.core.state_dict import from_state_dict
from scalekeys.checkpoints.core.state_dict_writing import state_dict_copying
from scalekeys.errors import CheckpointError, listed
from scalekeys.filters import master_keys

_DATA = Path(__file__).parents[1] / "data"

DENOISER = _DATA / "denoiser.safetensors"
"""Weights of a small network that was trained here to remove noise from pictures, see docs/training.md."""

CIFAR_CONVNEXT = _DATA / "cifar_convnext.safetensors"
"""Weights of a small ConvNeXt that was trained here on CIFAR-10, see docs/training.md."""


def open_builtin(name: str, wanted: Wanted) -> Checkpoint:
    """Open filters that come with the package.

    Raises CheckpointError if there are none of this name, or one of several sets of weights is wanted.
    """
    label = f"builtin:{name}"
    if name not in BUILTINS:
        known = listed([f"builtin:{known}" for known in BUILTINS])
        raise CheckpointError(f"{label}: there is no such thing; what comes with the package is {known}")
    refuse_choice(label, wanted.weights)
    tensors = BUILTINS[name]()
    infos = {key: info_of(tensor) for key, tensor in tensors.items()}
    opened = from_state_dict(infos, tensors.__getitem__, wanted, label=label, model=label)
    return replace(opened, copying=state_dict_copying(label, lambda: tensors))


BUILTINS: dict[str, Callable[[], dict[str, Tensor]]] = {
    "denoiser": partial(load_file, DENOISER),
    "master-keys": lambda: {"master_keys.weight": master_keys()[:, None]},
    "cifar-convnext": partial(load_file, CIFAR_CONVNEXT),
}
"""What gives the weights of each name."""
