"""From nested dicts of tensors without values to a checkpoint that reads them when they are asked for."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from scalekeys.checkpoints.core.changes import Copying
from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.inventory import Lazy, info_of, type_name
from scalekeys.checkpoints.core.kinds import Wanted
from scalekeys.checkpoints.core.nesting import Entry, pick
from scalekeys.checkpoints.core.refused import Refused, reasons_in, refused_in
from scalekeys.checkpoints.core.state_dict import from_state_dict
from scalekeys.checkpoints.formats.stored.archive import damaged
from scalekeys.checkpoints.formats.stored.tensors import Quantised
from scalekeys.errors import CheckpointError

_QUANTISED = "it is quantised, and is read as the numbers that its integers stand for"


def open_tree(
    path: Path,
    content: Any,
    wanted: Wanted,
    *,
    copying: Callable[[Entry], Copying] | None = None,
    in_network_order: bool = True,
) -> Checkpoint:
    """Choose the weights in nested dicts and open them.

    `path`: the file that the dicts are from.
    `copying`: gives how the file is copied with changes; by default it cannot be.
    Raises CheckpointError if there are no weights.
    """
    label = str(path)
    if not isinstance(content, Mapping):
        if path.suffix == ".distcp" or path.name == ".metadata":
            raise CheckpointError(f"{path}: is a part of a distributed checkpoint; give the folder that it lies in")
        raise CheckpointError(f"{path}: holds {_kind(content)}, not a dict of weights; save model.state_dict()")
    entry, notes = pick(content, wanted.weights, label=label)
    every = {key: tensor for key, tensor in entry.everything.items() if isinstance(tensor, Lazy)}
    lazy = {key: tensor for key, tensor in every.items() if key in entry.tensors}
    opened = from_state_dict(
        {key: info_of(tensor) for key, tensor in lazy.items() if not isinstance(tensor, Refused)},
        lambda key: load(every[key], f"{label}: tensor {key!r}"),
        Wanted(kinds=wanted.kinds),
        label=label,
        model=path.stem,
        in_network_order=in_network_order,
        notes=notes,
        entry=entry.path,
    )
    return replace(
        opened,
        left_out=(*opened.left_out, *refused_in(lazy)),
        altered=_altered(lazy),
        copying=copying(entry) if copying else None,
        prefix=f"{entry.copy}." if entry.copy else opened.prefix,
    )


def load(tensor: Lazy, label: str) -> Tensor:
    """Read a tensor; raises CheckpointError if it is not to be read, or its numbers are not all there."""
    if isinstance(tensor, Refused):
        raise CheckpointError(f"{label} is not read: {tensor.reason}")
    try:
        return tensor.load()
    except ValueError as error:
        raise damaged(label, error) from None


def loaded(content: Any, label: str) -> Any:
    """Return what a pickle holds with all tensors read, as it was in memory: dicts, lists, tuples and plain values.

    Raises CheckpointError if a tensor cannot be read, or the pickle is nested too deeply.
    """
    try:
        return _filled(content, label)
    except RecursionError:
        raise damaged(label, "it is nested too deeply") from None


def _filled(value: Any, label: str) -> Any:
    if isinstance(value, Lazy):
        return load(value, label)
    if isinstance(value, dict):
        return {key: _filled(one, label) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_filled(one, label) for one in value)
    return value


def _altered(lazy: Mapping[str, Lazy]) -> dict[str, str]:
    """Return the keys of what is not read as it stands in the file, with the reasons."""
    return reasons_in(lazy) | {key: _QUANTISED for key, tensor in lazy.items() if isinstance(tensor, Quantised)}


def _kind(content: Any) -> str:
    name = getattr(getattr(content, "name", None), "dotted", None)
    if name:
        return f"an object of the class {name[:80]!r} without weights"
    kind = type_name(content)
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"
