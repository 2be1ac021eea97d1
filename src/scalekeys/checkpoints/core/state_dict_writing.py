"""State dicts of what is no file, with other filters: networks in memory, and models of a hub."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save, save_file
from torch import Tensor

from scalekeys.checkpoints.core.changes import Change, Copying
from scalekeys.errors import CheckpointError, OutputError

SUFFIXES = (".safetensors", ".pth", ".pt")
"""What a state dict can be written to, by the name of the file."""


def state_dict_copying(label: str, state: Callable[[], Mapping[str, Any]]) -> Copying:
    """Return how the state dict of a source is written, in the format that the name of the file asks for.

    `label`: what errors call the source.
    `state`: gives the state dict when it is asked for.
    """
    return Copying(partial(_write, label, state), suffixes=SUFFIXES)


def _write(
    label: str, state: Callable[[], Mapping[str, Any]], changes: Sequence[Change], target: Path
) -> tuple[str, ...]:
    """Tensors that share their memory go on sharing it, so that all of them change."""
    copied = deepcopy({key: value.detach() if isinstance(value, Tensor) else value for key, value in state().items()})
    for change in changes:
        if change.key not in copied:
            raise CheckpointError(
                f"{label}: the weight of layer {change.layer!r} is computed, and not in the state dict; "
                "make it a parameter first, for example with sk.bake"
            )
        weight = copied[change.key]
        if 0 in weight.stride():  # it is expanded: its filters are one place in memory, and are to differ
            weight = copied[change.key] = weight.clone(memory_format=torch.contiguous_format)
        change.apply_to(weight)
    if target.suffix == SUFFIXES[0]:
        save_file({key: _apart(label, key, value) for key, value in copied.items()}, target, {"format": "pt"})
    else:
        torch.save({key: value.cpu() if isinstance(value, Tensor) else value for key, value in copied.items()}, target)
    return ()


def _apart(label: str, key: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise OutputError(f"{label}: its entry {key!r} is no tensor, which .safetensors cannot hold; write a .pth file")
    if not _can_hold(value):
        what = (
            f"has the type {str(value.dtype).removeprefix('torch.')}" if value.layout == torch.strided else "is sparse"
        )
        raise OutputError(f"{label}: its tensor {key!r} {what}, which .safetensors cannot hold; write a .pth file")
    return value.cpu().contiguous().clone()


def _can_hold(tensor: Tensor) -> bool:
    """Tell whether a file of safetensors can hold tensors like this one."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        return False
    try:
        save({"": torch.empty(0, dtype=tensor.dtype)})
    except (KeyError, ValueError):  # of a type that the library has no name for
        return False
    return True
