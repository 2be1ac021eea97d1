"""Nested dicts: which of the state dicts in a checkpoint is the network.

Training code saves more than weights, under names of its own. Exponential moving averages come first, as they are what
their authors evaluate; then the customary names. What has no known name is taken as a part of one network and joined
with dots, unless the names are those of copies, of which the best epoch is read before the last. The states of
optimisers hold tensors of the shapes of weights, and are never taken for them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from scalekeys.checkpoints.core.checkpoint import refuse_choice
from scalekeys.checkpoints.core.copies import find_copies, is_average, preferred
from scalekeys.checkpoints.core.finding import shapes_of_convolutions, shapes_of_kernels
from scalekeys.checkpoints.core.inventory import Lazy, TensorInfo, info_of, type_name
from scalekeys.checkpoints.core.naming import is_of_training
from scalekeys.checkpoints.core.refused import LAZY, Refused
from scalekeys.checkpoints.core.state_dict import said_of_choice
from scalekeys.errors import CheckpointError, listed
from scalekeys.shapes import from_numpy

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

_OF_TRAINING = r"(?:opt|optim|optimi[sz]er|sched|scheduler)s?"
_TRAINING = re.compile(rf"(?:lr_?)?{_OF_TRAINING}(?:_?(?:states?|dict|[gd]|\d))*", re.IGNORECASE)
_LIKE_TRAINING = re.compile(rf"(?:^|[._]){_OF_TRAINING}(?:$|[._])", re.IGNORECASE)
_AVERAGE_OF_MMENGINE = "which holds the averages in files of mmengine"
_KERNEL_AXES = 3
_MOST_PARTS = 10_000

Tree: TypeAlias = Mapping[Any, Any]
Path: TypeAlias = tuple[str, ...]
Tensors: TypeAlias = Mapping[str, Tensor | Lazy]
Seen: TypeAlias = dict[int, Tree]
"""Dicts by their identity. They are kept, as what is made after a dict is gone can have the identity of that dict."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One set of weights in a nested dict."""

    path: Path
    """Where it stands."""
    tensors: Tensors
    """By name."""
    parts: Path = ()
    """The dicts that it was joined from."""
    copy: str = ""
    """What stands before the names where the dict holds several copies of one network."""
    whole: Tensors | None = None
    """All tensors of that dict, those of the other copies too."""

    @property
    def everything(self) -> Tensors:
        """The tensors, and those of other copies of the network beside them."""
        return self.tensors if self.whole is None else self.whole

    @property
    def name(self) -> str:
        """The path with dots; empty at the top."""
        return ".".join(filter(None, (*self.path, self.copy)))

    def info(self) -> dict[str, TensorInfo]:
        """Shapes and types of the tensors."""
        return {key: info_of(tensor) for key, tensor in self.tensors.items()}

    def load(self, key: str) -> Tensor:
        """Give the values of one of the tensors, or of other copies of the network."""
        tensor = self.everything[key]
        return tensor if isinstance(tensor, Tensor) else tensor.load()

    def kernels(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what may be a depthwise weight."""
        return shapes_of_kernels(self.info())

    def convolutions(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what may be a depthwise weight or, where nothing may be, of what may be a convolution."""
        return self.kernels() or shapes_of_convolutions(self.info())


def pick(tree: Tree, weights: str | None = None, *, label: str, noun: str = "file") -> tuple[Entry, tuple[str, ...]]:
    """Choose one set of weights in a nested dict.

    `tree`: state dict, plain or nested.
    `weights`: the name of the set to take, with dots between levels; the first in the order above that has depthwise
    weights, or else convolutions, by default.
    `label`, `noun`: what errors and notes call the source.
    Returns the chosen set.
    `notes`: which it is and what else there is; empty for a plain state dict.
    Raises CheckpointError if there are no tensors, or `weights` names none.

    >>> import torch
    >>> dw = {"dw.weight": torch.zeros(8, 1, 7, 7)}
    >>> entry, notes = pick({"params": dw, "params_ema": dw | {}, "iter": 5}, label="net.pth")
    >>> entry.name
    'params_ema'
    >>> notes
    ("weights are read from the entry 'params_ema'; the file also holds 'params' (choose with --weights)",)
    """
    everything = entries(tree)
    options = everything if weights is None else _named(tree, weights, everything, label, noun)
    if not options:
        raise CheckpointError(f"{label}: holds no tensors by name{_instead(tree)}")
    best = next((option for option in options if option.kernels()), None)
    best = best or next((option for option in options if option.convolutions()), options[0])
    parts = [repr(".".join((*best.path, part))) for part in best.parts]
    more = [f"joined the parts {listed(parts, limit=4)} (choose one with --weights)"] if parts else []
    if weights is None and (passed_over := _said_of_passed_over(tree)):
        more.append(passed_over)
    if not best.name:
        return best, tuple(more)
    others = [option.name for option in everything if option.name and option.name != best.name]
    said = said_of_choice(best.name, others, noun)
    if _is_average_of_mmengine(tree, best.path):
        said = said.replace(repr(best.name), f"{best.name!r}, {_AVERAGE_OF_MMENGINE}", 1)
    return best, (said, *more)


def entries(tree: Tree) -> list[Entry]:
    """Return every set of weights in a nested dict, the preferred one first."""
    found = list(_walk(tree, (), {}))
    return sorted(found, key=lambda entry: -1 if _is_average_of_mmengine(tree, entry.path) else _later(entry))


def _later(entry: Entry) -> int:
    """Return what orders sets of weights: averages, others, and what is named as the state of a training."""
    if any(_rank(name) < len(AVERAGED) for name in entry.path):
        return 0
    return 2 if any(map(_LIKE_TRAINING.search, entry.path)) else 1


def _is_average_of_mmengine(tree: Tree, path: Path) -> bool:
    """Tell whether a path leads into the ``state_dict`` of mmengine, which changes places with the average of it."""
    for name in path:
        if name == "state_dict" and _is_of_mmengine(tree):
            return True
        below = tree.get(name)
        if not isinstance(below, Mapping):
            break
        tree = below
    return False


def _is_of_mmengine(tree: Tree) -> bool:
    """Tell whether a dict is of mmengine: by what stands beside both sets of weights, or by their names."""
    meta, average = tree.get("meta"), tree.get("ema_state_dict")
    if not (isinstance(tree.get("state_dict"), Mapping) and isinstance(average, Mapping)):
        return False
    if "message_hub" in tree or (isinstance(meta, Mapping) and "mmengine_version" in meta):
        return True
    return "steps" in average and all(name == "steps" or str(name).startswith("module.") for name in average)


def _walk(tree: Tree, path: Path, seen: Seen) -> Iterator[Entry]:
    """Yield the sets below `tree`: those of known names in their order, then the others.

    Nested dicts of unknown names are alternatives beside a known name or where they are copies of one network, and
    parts of one network else.
    """
    if id(tree) in seen or len(path) > _DEEPEST:
        return
    seen[id(tree)] = tree
    nested = {name: value for name, value in _items(tree) if isinstance(value, Mapping)}
    known = [
        entry
        for name in sorted(nested, key=_rank)
        if _rank(name) < _UNKNOWN
        for entry in _walk(nested[name], (*path, name), seen)
    ]
    yield from known
    tensors = dict(_tensors(tree))
    late = [name for name in nested if _rank(name) == _UNKNOWN and _LIKE_TRAINING.search(name)]
    parts = {name: dict(_joined(nested[name], dict(seen))) for name in nested if _rank(name) == _UNKNOWN}
    filled = [name for name, part in parts.items() if _has_weights(part) and name not in late]
    if known or (len(filled) == 1 and not _has_weights(tensors)):
        apart = filled
    else:
        apart = [] if _has_weights(tensors) else _copies(nested, parts, filled)
        tensors |= {f"{name}.{key}": tensor for name in filled if not apart for key, tensor in parts[name].items()}
    for name in apart:
        yield from _walk(nested[name], (*path, name), seen)
    if _has_weights(tensors):
        yield from _each_copy(Entry(path, tensors, () if known or apart else tuple(filled)))
    for name in late:
        if Entry(path, parts[name]).kernels():
            yield from _walk(nested[name], (*path, name), seen)


def _copies(nested: Mapping[str, Tree], parts: Mapping[str, Tensors], filled: Sequence[str]) -> list[str]:
    """Return names of dicts, the preferred first, where all of them are copies of one network.

    Numbers count layers where a network is saved as a tree, and networks where each of these is a flat dict, which may
    stand under its customary name.
    """
    kernels = [Entry((), parts[name]).convolutions() for name in filled]
    if len(filled) < 2 or not kernels[0] or any(one != kernels[0] for one in kernels):
        return []
    if all(name.isdecimal() for name in filled):
        flat = all(map(_is_flat, (nested[name] for name in filled)))
        return sorted(filled, key=int, reverse=True) if flat else []
    ordered = preferred(filled)
    return ordered if len(ordered) == len(filled) else []


def _is_flat(tree: Tree, level: int = 0) -> bool:
    """Tell whether a dict, or what it holds under a customary name, has the dotted names of a state dict."""
    below = [value for name, value in _items(tree) if _rank(name) < _UNKNOWN and isinstance(value, Mapping)]
    deeper = level < _DEEPEST and any(_is_flat(value, level + 1) for value in below)
    return deeper or any("." in key for key, _ in _tensors(tree))


def _each_copy(entry: Entry) -> Iterator[Entry]:
    """Yield a set of weights, or each of the copies of one network in it."""
    copies = find_copies(entry.convolutions())
    for copy in copies:
        others = tuple(f"{other}." for other in copies if other != copy)
        tensors = {key: tensor for key, tensor in entry.tensors.items() if not key.startswith(others)}
        beside = {key: info_of(tensor) for key, tensor in tensors.items() if not key.startswith(f"{copy}.")}
        if not shapes_of_kernels(beside):
            tensors = {key: tensor for key, tensor in tensors.items() if key not in beside}
        yield replace(entry, tensors=tensors, copy=copy, parts=(), whole=entry.tensors)
    if not copies:
        yield entry


def _rank(name: str) -> float:
    unlisted = len(AVERAGED) - 0.5 if is_average(name) else _UNKNOWN
    return _RANKS.get(name.lower(), unlisted)


def _joined(tree: Tree, seen: Seen, level: int = 0) -> Iterator[tuple[str, Tensor | Lazy]]:
    """Yield all tensors below `tree` with dotted names."""
    if id(tree) in seen or level > _DEEPEST:
        return
    seen[id(tree)] = tree
    yield from _tensors(tree)
    for name, value in _items(tree):
        if isinstance(value, Mapping):
            yield from ((f"{name}.{key}", tensor) for key, tensor in _joined(value, seen, level + 1))


def _items(tree: Tree) -> Iterator[tuple[str, Any]]:
    """Yield what can be a part of a network, by name: nothing of an optimiser, lists as dicts of numbers."""
    for name, value in tree.items():
        name = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
        if not isinstance(name, str | int) or is_of_training(str(name)):
            continue
        value = as_tree(value)
        if not isinstance(value, Mapping) or not ("param_groups" in value or _TRAINING.fullmatch(str(name))):
            yield str(name), value


def _passed_over(tree: Tree, path: Path, seen: Seen) -> Iterator[str]:
    """Yield the names of dicts that are called as a state of training is, and hold what may be depthwise weights."""
    if id(tree) in seen or len(path) > _DEEPEST:
        return
    seen[id(tree)] = tree
    for name, value in tree.items():
        if not isinstance(value, Mapping):
            continue
        here = (*path, str(name))
        if not _TRAINING.fullmatch(str(name)):
            yield from _passed_over(value, here, seen)
        elif "param_groups" not in value and Entry(here, dict(_joined(value, {}))).kernels():
            yield ".".join(here)


def _said_of_passed_over(tree: Tree) -> str:
    names = [repr(name) for name in _passed_over(tree, (), {})]
    return f"left {listed(names, limit=4)} alone, as a state of training by name (--weights takes it)" if names else ""


def lists_as_dicts(tree: Tree) -> Tree:
    """Turn all lists in nested dicts that hold tensors or dicts into dicts, those in lists too.

    >>> pair = [torch.ones(8, 1, 3, 3), torch.ones(8)]
    >>> {name: list(value) for name, value in lists_as_dicts({"blocks": [pair, [*pair]]})["blocks"].items()}
    {'0': ['0', '1'], '1': ['0', '1']}
    """
    made: dict[int, Any] = {}

    def turned(value: Any, level: int = 0) -> Any:
        if not isinstance(value, Mapping | list | tuple) or level > _DEEPEST:
            return value
        if isinstance(value, list | tuple) and len(value) > _MOST_PARTS:
            return value
        if id(value) not in made:
            made[id(value)] = {} if isinstance(value, Mapping) else None  # for what holds itself
            if isinstance(value, Mapping):
                made[id(value)].update((name, turned(one, level + 1)) for name, one in value.items())
            else:
                below = [turned(one, level + 1) for one in value]
                turned_list = as_tree(below)
                made[id(value)] = value if turned_list is below else turned_list
        return made[id(value)]

    result: Tree = turned(tree)
    return result


def as_tree(value: Any) -> Any:
    """Turn a list of tensors or of dicts into a dict: of the names in its pairs, or else of numbers."""
    if not isinstance(value, list | tuple) or len(value) > _MOST_PARTS:
        return value
    pairs = [_pair(one) for one in value]
    named = dict(pair for pair in pairs if pair)
    if len(named) == len(value) and any(map(_may_hold_kernels, named.values())):
        return named
    if any(map(_may_hold_kernels, value)):
        return {str(position): one for position, one in enumerate(value)}
    return value


def _pair(value: Any) -> tuple[str, Any] | None:
    """Return a name and what it names, also where a list of both has become a dict; None for all else."""
    parts = [*value.values()] if isinstance(value, Mapping) and list(value) == ["0", "1"] else value
    is_pair = isinstance(parts, list | tuple) and len(parts) == 2 and isinstance(parts[0], str)
    return (parts[0], parts[1]) if is_pair else None


def _may_hold_kernels(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    if isinstance(value, Tensor) and is_lazy(value):
        return False
    return isinstance(value, Tensor | Lazy | np.ndarray) and value.ndim >= _KERNEL_AXES


def _tensors(tree: Tree) -> Iterator[tuple[str, Tensor | Lazy]]:
    for name, value in _items(tree):
        if is_lazy(value):
            yield name, Refused((), LAZY)
        elif isinstance(value, Tensor | Lazy):
            yield name, value
        elif isinstance(value, np.ndarray) and (tensor := _of_numbers(value)) is not None:
            yield name, tensor


def _of_numbers(array: np.ndarray) -> Tensor | None:
    """Return an array as a tensor, also where ml_dtypes has its type; None where it holds no numbers."""
    name = array.dtype.name
    if name.startswith(("bfloat16", "float8")):
        dtype = getattr(torch, name, None)
        return None if dtype is None else from_numpy(array.view(f"u{array.itemsize}")).view(dtype)
    return from_numpy(array) if array.dtype.kind in "fiubc" else None


def _has_weights(tensors: Tensors) -> bool:
    return any(tensor.ndim > 0 for tensor in tensors.values())


def _named(tree: Tree, weights: str, everything: list[Entry], label: str, noun: str) -> list[Entry]:
    """Return the sets that `weights` names: by the path from the top, or by the end of one path."""
    start, below = _followed(tree, weights)
    if start and (inside := entries(below)):
        return [replace(entry, path=(*start, *entry.path)) for entry in inside]
    if ending := [entry for entry in everything if f".{entry.name}".endswith(f".{weights}")]:
        return ending
    if inside := [entry for whole in everything for entry in _part_of(whole, f"{weights}.")]:
        return inside
    names = [entry.name for entry in everything if entry.name]
    names += [
        name for name, value in _items(tree) if isinstance(value, Mapping) and name not in names and entries(value)
    ]
    if not names:
        refuse_choice(label, weights)
    raise CheckpointError(f"{label}: holds no weights {weights!r}; the {noun} has {listed([repr(n) for n in names])}")


def _part_of(entry: Entry, prefix: str) -> Iterator[Entry]:
    """Yield what has names that start so, if anything has."""
    tensors = {key: tensor for key, tensor in entry.tensors.items() if key.startswith(prefix)}
    if tensors and len(prefix) > 1:
        yield replace(entry, tensors=tensors, copy=prefix.removesuffix("."), parts=())


def _followed(tree: Tree, weights: str) -> tuple[Path, Tree]:
    """Follow a dotted path, where names may hold dots themselves: the longest name that is there wins.

    Returns the names along it, none where it leads nowhere, and the dict at its end.
    """
    parts = weights.split(".")
    for cut in range(len(parts), 0, -1):
        name, rest = ".".join(parts[:cut]), ".".join(parts[cut:])
        value = tree.get(name)
        if isinstance(value, Mapping):
            below, end = _followed(value, rest) if rest else ((), value)
            if below or not rest:
                return (name, *below), end
    return (), tree


def _instead(tree: Tree) -> str:
    """Say what a dict holds instead of weights, as the end of a sentence."""
    kinds = sorted({_kind(value) for value in tree.values() if not _reason(value)})
    refused = {name: reason for name, tensor in _joined(tree, {}) if (reason := _reason(tensor))}
    names = [f"{name!r} ({reason})" for name, reason in refused.items()]
    holds = f", only values of type {listed(kinds)}" if kinds else ", only an empty dict"
    left_out = f"; left out: {listed(names, limit=3)}" if names else ""
    passed_over = _said_of_passed_over(tree)
    return (
        (" that can be read" if names and not kinds else holds) + left_out + (f"; {passed_over}" if passed_over else "")
    )


def _reason(value: Any) -> str:
    """Return why a tensor of a file cannot be read; empty for everything else."""
    if is_lazy(value):
        return LAZY
    return getattr(value, "reason", "") if isinstance(value, Lazy) else ""


def _kind(value: Any) -> str:
    is_number = isinstance(value, Tensor | Lazy) and value.ndim == 0
    return "Tensor of one number" if is_number else type_name(value)
