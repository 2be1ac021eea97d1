"""Copies of one network beside each other: an average, the best epoch, the encoder of a momentum.

What holds kernels of the same names and shapes under two names may be two copies of one network, of which one is to be
read, or two branches, which are both. The names decide: a table says what copies are called, and all others are parts.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from scalekeys.checkpoints.core.naming import WRAPPERS

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

_ROLES = (
    *("ema", "swa", "averaged", "average", "avg", "polyak", "shadow", "teacher"),
    *("best", "optimal"),
    *("", "online", "student", "query", "q", "current", "final", "last", "latest", "raw", "policy"),
    *("target", "momentum", "slow", "key", "k", "m", "old", "previous", "prev", "init", "initial"),
)
"""What tells copies apart, the preferred first; "" is a name that says nothing."""

_AVERAGED = _ROLES[: _ROLES.index("teacher")]  # a teacher may be another network
_BEST = ("best", "optimal")
_MEASURES = frozenset(
    (
        *("acc", "acc1", "accuracy", "top1", "loss", "val", "valid", "validation", "test", "eval", "score", "metric"),
        *("iou", "miou", "map", "ap", "psnr", "ssim", "dice", "f1", "auc", "wer", "cer", "eer", "mae", "rmse", "epoch"),
    )
)
"""What the best is best in."""

_LETTERS = frozenset({"q", "k", "m", "query", "key"})  # which name parts of an attention where no network is named
_NETWORKS = frozenset({"model", "net", "network", "module", "encoder", "backbone", "trunk", "base", "generator", "g"})
_NOTHING = frozenset({"model", "net", "network", "module", "weights", "wts", "params", "state", "dict", "base"})
_TIMES = re.compile(
    r"(.*?)[._-]?(?:(?:epochs?|(?<![a-z])ep|ckpt|checkpoint|snapshot)[._-]?(?=\d)|(?:iter(?:ation)?s?|steps?)[._-]?(?=\d{3}))(\d+)(.*)",
    re.IGNORECASE,
)
_AVERAGES = ("model_ema.", "ema.", "model_ema_", "ema_")
_DEEPEST = 4


def preferred(names: Sequence[str]) -> list[str]:
    """Return names of copies of one network, the preferred first; nothing where they are names of its parts.

    >>> preferred(["online_model", "ema_model"]), preferred(["encoder_q", "encoder_k"]), preferred(["left", "right"])
    (['ema_model', 'online_model'], ['encoder_q', 'encoder_k'], [])
    >>> preferred(["epoch_9", "epoch_10"]), preferred(["conv_proj_q", "conv_proj_k"])
    (['epoch_10', 'epoch_9'], [])
    """
    roles = {name: role for name in names if (role := _role(name)) is not None}
    groups: dict[str, list[str]] = {}
    for name, (stem, *_) in roles.items():
        groups.setdefault(stem, []).append(name)
    largest = max(groups.values(), key=len, default=[])
    if len(largest) < 2 or len({roles[name][1:] for name in largest}) < 2:
        return []
    return sorted(largest, key=lambda name: roles[name][1:])


def is_average(name: str) -> bool:
    """Tell whether a set of weights is called as an average of those of the whole network is.

    >>> [is_average(name) for name in ("swa_model", "shadow_params", "net_ema", "encoder_ema", "teacher", "model")]
    [True, True, True, False, False, False]
    """
    role = _role(name)
    return role is not None and role[0] in ("", "generator") and role[1] < len(_AVERAGED)


def find_copies(kernels: Shapes) -> list[str]:
    """Return what stands before the names of copies of one network in a flat dict, the preferred copy first.

    `kernels`: shapes of what can be a depthwise weight, by name.

    >>> find_copies({"net.ema_model.dw.weight": (8, 1, 3, 3), "net.online_model.dw.weight": (8, 1, 3, 3)})
    ['net.ema_model', 'net.online_model']
    >>> find_copies({"rgb.dw.weight": (8, 1, 3, 3), "flow.dw.weight": (8, 1, 3, 3)})
    []
    """
    above, below = "", dict(kernels)
    for _ in range(_DEEPEST):
        children = _children(below)
        same = _alike(children)
        for names in same:
            if ordered := preferred(names):
                return [above + name for name in ordered]
        if len(children) != 1:
            break
        ((name, below),) = children.items()
        above += f"{name}."
    return []


def look_alike(kernels: Shapes) -> list[str]:
    """Return the first parts of names, where each of them has the same kernels and their names say no more.

    >>> look_alike({"one.dw.weight": (8, 1, 3, 3), "two.dw.weight": (8, 1, 3, 3)})
    ['one', 'two']
    """
    children = _children(kernels)
    same = _alike(children)
    return same[0] if len(same) == 1 and len(same[0]) == len(children) else []


def flattened(shapes: Shapes) -> list[str]:
    """Return the keys of averages that are called as other tensors are, without their dots or with `_` for each.

    >>> flattened({"model.a.dw.weight": (8, 1, 3, 3), "model_ema.adwweight": (8, 1, 3, 3), "ema_bias": (8,)})
    ['model_ema.adwweight']
    """
    averages = {key: key.removeprefix(prefix) for key in shapes for prefix in _AVERAGES[::-1] if key.startswith(prefix)}
    known: dict[str, tuple[int, ...]] = {}
    for key in shapes.keys() - averages.keys() if averages else ():
        parts = key.split(".")
        for start in range(min(len(parts), _DEEPEST)):
            known["".join(parts[start:])] = known["_".join(parts[start:])] = shapes[key]
    return [key for key, rest in averages.items() if known.get(rest) == shapes[key]]


def _children(kernels: Shapes) -> dict[str, dict[str, tuple[int, ...]]]:
    children: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in kernels.items():
        first, dot, rest = key.partition(".")
        if dot:
            children.setdefault(first, {})[rest] = shape
    return children


def _alike(children: Mapping[str, Shapes]) -> list[list[str]]:
    """Return the groups of names that have the same kernels below them."""
    groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[str]] = {}
    for name, kernels in children.items():
        groups.setdefault(tuple(sorted(kernels.items())), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _role(name: str) -> tuple[str, int, float] | None:
    """Return what a name is of, and how much it is preferred: by what it is called, then the latest first."""
    if (time := _TIMES.fullmatch(name)) and not re.search(r"\d", time.group(1) + time.group(3)):
        return f"{time.group(1)}#{time.group(3)}".lower(), len(_ROLES), -float(time.group(2))
    tokens = [token for token in re.split(r"[._-]|(?<=[a-z])(?=[A-Z])", name) if token]
    lower = [token.lower() for token in tokens]
    roles = sorted((token for token in lower if token in _ROLES), key=_ROLES.index)
    of_best = _MEASURES if not set(roles).isdisjoint(_BEST) else frozenset()
    stem = [token for token in lower if token not in _ROLES and token not in of_best]
    if len(roles) > 1 and (len(roles) > 2 or roles[0] not in _AVERAGED or roles[1] not in _BEST):
        return None
    if not (_NETWORKS.union(_NOTHING).issuperset(stem) or not _NETWORKS.isdisjoint(stem[-1:])):
        return None
    if (roles and roles[0] in _LETTERS and _NETWORKS.isdisjoint(stem)) or not (roles or stem):
        return None
    rest = [token for token in stem if token not in _NOTHING and token not in WRAPPERS]
    return "_".join(rest), _ROLES.index(roles[0] if roles else ""), -float(len(roles))
