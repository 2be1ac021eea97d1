"""Nested dicts: which of the state dicts in a checkpoint is the network.

Training code saves more than weights, under names of its own. Exponential moving averages come first, as they are what
their authors evaluate; then the customary names. What has no known name is taken as a part of one network and joined
with dots. The states of optimisers hold tensors of the shapes of weights, and are never taken for them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from scalekeys.checkpoints.core.inventory import TensorInfo, info_of, listed
from scalekeys.checkpoints.core.state_dict import holds_depthwise
from scalekeys.errors import CheckpointError

AVERAGED = (
    *("params_ema", "model_ema", "state_dict_ema", "ema_state_dict", "model_ema_state_dict", "ema_model_state_dict"),
    *("ema_model", "ema_params", "ema_weights", "ema", "g_ema", "averaged_model", "swa_state_dict"),
)
"""Names of averaged weights, best first."""

CUSTOMARY = (
    *("state_dict", "model_state_dict", "model_state", "model", "params", "net", "network", "module", "weights"),
    *("generator", "net_g", "netg", "teacher", "student"),
)
"""Names of weights as they were trained, best first."""

_RANKS = {name: rank for rank, name in enumerate(AVERAGED + CUSTOMARY)}
_UNKNOWN = len(_RANKS)
_DEEPEST = 12

Tree: TypeAlias = Mapping[Any, Any]
Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Entry:
    """One set of weights in a nested dict: where it stands, its tensors by name, and the dicts it was joined from."""

    path: Path
    tensors: Mapping[str, Tensor]
    parts: Path = ()

    @property
    def name(self) -> str:
        """The path with dots; empty at the top."""
        return ".".join(self.path)

    def info(self) -> dict[str, TensorInfo]:
        """Shapes and types of the tensors."""
        return {key: info_of(tensor) for key, tensor in self.tensors.items()}


def pick(tree: Tree, weights: str | None = None, *, label: str, noun: str = "file") -> tuple[Entry, tuple[str, ...]]:
    """Choose one set of weights in a nested dict.

    Parameters
    ----------
    tree : mapping
        State dict, plain or nested.
    weights : str, optional
        The name of the set to take, with dots between levels; the first in the order above that has depthwise weights
        by default.
    label, noun : str
        What errors and notes call the source.

    Returns
    -------
    Entry
        The chosen set.
    notes : tuple of str
        Which it is and what else there is; empty for a plain state dict.

    Raises
    ------
    CheckpointError
        If there are no tensors, or `weights` names none.

    Examples
    --------
    >>> dw = {"dw.weight": torch.zeros(8, 1, 7, 7)}
    >>> entry, notes = pick({"params": dw, "params_ema": dw | {}, "iter": 5}, label="net.pth")
    >>> entry.name, notes
    ('params_ema', ("read 'params_ema'; the file also holds 'params' (choose with --weights)",))
    """
    everything = entries(tree)
    options = everything if weights is None else _named(tree, weights, everything, label, noun)
    if not options:
        raise CheckpointError(f"{label}: holds no tensors by name, only {_kinds(tree)}")
    best = next((option for option in options if holds_depthwise(option.info())), options[0])
    parts = [repr(".".join((*best.path, part))) for part in best.parts]
    joined = (f"joined the parts {listed(parts, limit=4)} (choose one with --weights)",) if parts else ()
    if not best.path:
        return best, joined
    others = [repr(option.name) for option in everything if option.path and option.path != best.path]
    also = f"; the {noun} also holds {listed(others)} (choose with --weights)" if others else ""
    return best, (f"read {best.name!r}{also}", *joined)


def entries(tree: Tree) -> list[Entry]:
    """Return every set of weights in a nested dict, the preferred one first."""
    found = list(_walk(tree, (), set()))
    return sorted(found, key=lambda entry: not any(name.lower() in AVERAGED for name in entry.path))


def _walk(tree: Tree, path: Path, seen: set[int]) -> Iterator[Entry]:
    """Yield the sets below `tree`: those of known names in their order, then the others.

    Nested dicts of unknown names are alternatives beside a known name, and parts of one network without.
    """
    if id(tree) in seen or len(path) > _DEEPEST:
        return
    seen.add(id(tree))
    nested = {name: value for name, value in _items(tree) if isinstance(value, Mapping)}
    known = [
        entry
        for name in sorted(nested, key=_rank)
        if _rank(name) < _UNKNOWN
        for entry in _walk(nested[name], (*path, name), seen)
    ]
    yield from known
    tensors = dict(_tensors(tree))
    parts = {name: dict(_joined(nested[name], set(seen))) for name in nested if _rank(name) == _UNKNOWN}
    filled = [name for name, part in parts.items() if _has_weights(part)]
    if known or (len(filled) == 1 and not _has_weights(tensors)):
        for name in filled:
            yield from _walk(nested[name], (*path, name), seen)
    else:
        tensors |= {f"{name}.{key}": tensor for name in filled for key, tensor in parts[name].items()}
    if _has_weights(tensors):
        yield Entry(path, tensors, () if known else tuple(filled))


def _rank(name: str) -> int:
    return _RANKS.get(name.lower(), _UNKNOWN)


def _joined(tree: Tree, seen: set[int], level: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors below `tree` with dotted names."""
    if id(tree) in seen or level > _DEEPEST:
        return
    seen.add(id(tree))
    yield from _tensors(tree)
    for name, value in _items(tree):
        if isinstance(value, Mapping):
            yield from ((f"{name}.{key}", tensor) for key, tensor in _joined(value, seen, level + 1))


def _items(tree: Tree) -> Iterator[tuple[str, Any]]:
    """Yield what can be a part of a network: named by a string, and nothing of an optimiser."""
    for name, value in tree.items():
        if isinstance(name, str) and not (isinstance(value, Mapping) and _is_of_training(name, value)):
            yield name, value


def _is_of_training(name: str, value: Tree) -> bool:
    return "optim" in name.lower() or "sched" in name.lower() or "param_groups" in value


def _tensors(tree: Tree) -> Iterator[tuple[str, Tensor]]:
    for name, value in _items(tree):
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            yield name, torch.from_numpy(np.ascontiguousarray(value))


def _has_weights(tensors: Mapping[str, Tensor]) -> bool:
    return any(tensor.ndim > 0 for tensor in tensors.values())


def _named(tree: Tree, weights: str, everything: list[Entry], label: str, noun: str) -> list[Entry]:
    """Return the sets that `weights` names: by the path from the top, or by the end of one path."""
    subtree = _descend(tree, weights)
    if subtree is not None and (inside := entries(subtree)):
        start = _path_of(tree, weights)
        return [replace(entry, path=(*start, *entry.path)) for entry in inside]
    if ending := [entry for entry in everything if f".{entry.name}".endswith(f".{weights}")]:
        return ending
    names = [entry.name for entry in everything if entry.path]
    names += [
        name for name, value in _items(tree) if isinstance(value, Mapping) and name not in names and entries(value)
    ]
    if not names:
        raise CheckpointError(f"{label}: holds one set of weights and no {weights!r}; leave --weights out")
    raise CheckpointError(f"{label}: holds no weights {weights!r}; the {noun} has {listed([repr(n) for n in names])}")


def _path_of(tree: Tree, weights: str) -> Path:
    """Split a dotted path, where names may hold dots themselves: the longest name that is there wins."""
    parts = weights.split(".")
    for cut in range(len(parts), 0, -1):
        name = ".".join(parts[:cut])
        value = tree.get(name)
        if isinstance(value, Mapping):
            rest = ".".join(parts[cut:])
            below = _path_of(value, rest) if rest else ()
            if below or not rest:
                return (name, *below)
    return ()


def _descend(tree: Tree, weights: str) -> Tree | None:
    path = _path_of(tree, weights)
    for name in path:
        tree = tree[name]
    return tree if path else None


def _kinds(tree: Tree) -> str:
    kinds = sorted({type(value).__name__ for value in tree.values()})
    return f"values of type {listed(kinds)}" if kinds else "an empty dict"
