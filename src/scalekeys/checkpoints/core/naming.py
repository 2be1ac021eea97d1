"""What the names of tensors say: which are weights, which belong to a training, and what a layer is called."""

import re
from collections import Counter
from collections.abc import Collection, Iterable

from scalekeys.errors import printable

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that data-parallel, compiled and sharding wrappers put between those of a network."""

_BETWEEN = re.compile(r"[./]")
_WEIGHTS = frozenset({"weight", "weights", "kernel", "kernels", "w"})
_ENDINGS = ("_weight", "_weights", "_kernel", "_kernels", "_w")
_OF_OTHERS = frozenset(
    (
        *("bias", "biases", "mask", "grad", "loss", "class", "attn", "attention", "position", "pos", "rel", "relative"),
        *("mean", "var", "running", "average", "avg", "ema", "momentum", "window", "basis", "buffer"),
    )
)
_MOMENTS = frozenset(
    (
        *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "exp_avg_diff", "momentum_buffer", "square_avg"),
        *("grad_avg", "acc_delta", "prev_grad", "mu_product", "row_var", "col_var", "slow_buffer", "param_groups"),
    )
)
_GRADIENTS = frozenset({"grad", "grads", "gradient", "gradients"})
_FIXED = re.compile(
    r"blur|sobel|gauss|laplac|haar|wavelet|prewitt|scharr|lowpass|highpass|antialias|bilinear|bicubic"
    r"|(?:^|[./_\d])(?:i?dwt|fixed|masks?|window|filt|ssim)(?:$|[./_\d])",
    re.IGNORECASE,
)
_DEPTHWISE = re.compile(
    r"(?:^|[./_])(?:dw|dw_?conv\d*|conv_?dw\d*|depth_?wise\w*|channel_?wise\w*)(?:$|[./_\d])", re.IGNORECASE
)


def parts_of(key: str) -> list[str]:
    """Split a name at its dots, as PyTorch writes them, and at its slashes, as TensorFlow and Haiku do.

    >>> parts_of("stem.dw.weight"), parts_of("stem/dw/w")
    (['stem', 'dw', 'weight'], ['stem', 'dw', 'w'])
    """
    return _BETWEEN.split(key)


def last_name(key: str) -> str:
    """Return what follows the last dot or slash.

    >>> last_name("stem.dw.weight"), last_name("stem/dw/w")
    ('weight', 'w')
    """
    return parts_of(key)[-1]


def names_a_weight(key: str) -> bool:
    """Tell whether the last part of a name is a usual one for the weight of a layer.

    >>> [names_a_weight(key) for key in ("dw.weight", "dw.W", "dw.conv_weight", "dw.bias", "blur.filt", "class_weight")]
    [True, True, True, False, False, False]
    """
    last = last_name(key).lower()
    return last in _WEIGHTS or (last.endswith(_ENDINGS) and _OF_OTHERS.isdisjoint(last.split("_")))


def may_be_fixed(key: str) -> bool:
    """Tell whether a name is one of filters that are usually not learned, as those of a blur.

    >>> may_be_fixed("pool.blur.kernel"), may_be_fixed("blocks.0.dw.kernel")
    (True, False)
    """
    return bool(_FIXED.search(key))


def is_of_training(key: str, keys: Collection[str] = ()) -> bool:
    """Tell whether a tensor, or a dict of tensors, belongs to a training: gradients, or moments of an optimiser.

    Below a name such as ``grad`` stand gradients only where the name without that word is empty or the name of a tensor
    too; else a module of the network is called so.

    `keys`: all names of tensors.

    >>> is_of_training("state.dw.weight.exp_avg"), is_of_training("grads"), is_of_training("dw.weight")
    (True, True, False)
    >>> [is_of_training("grad.dw.weight", {"grad.dw.weight", other}) for other in ("dw.weight", "body.dw.weight")]
    [True, False]
    """
    parts = frozenset(parts_of(key))
    if not parts.isdisjoint(_MOMENTS):
        return True
    without = {_without(word, key) for word in _GRADIENTS & parts}
    return "" in without or any(name in keys for name in without)


def _without(word: str, key: str) -> str:
    """Return a name without the parts that are a word."""
    return re.sub(rf"(?:^|[./]){word}(?=[./]|$)", "", key).lstrip("./")


def names_depthwise(key: str) -> bool:
    """Tell whether a name says that its layer is depthwise.

    >>> names_depthwise("stages.0.dwconv.kernel"), names_depthwise("stages.0.conv.kernel")
    (True, False)
    """
    return bool(_DEPTHWISE.search(key))


def layer_names(keys: Iterable[str]) -> dict[str, str]:
    """Name the layer of each tensor: without ``.weight``, and without what wrappers have put between the names.

    Names that would become those of others stay as they are. Letters that no table or page can hold become escape
    sequences.

    >>> layer_names(["module.stem.weight", "a.module.b.weight", "a.b.weight"])
    {'module.stem.weight': 'stem', 'a.module.b.weight': 'a.module.b', 'a.b.weight': 'a.b'}
    """
    return {key: printable(name.removesuffix(".weight")) for key, name in without_wrappers(keys).items()}


def without_wrappers(keys: Iterable[str]) -> dict[str, str]:
    """Return each name without the parts that wrappers have put into it, but for those that would become equal.

    >>> without_wrappers(["module._orig_mod.a.weight", "b._checkpoint_wrapped_module.weight"])
    {'module._orig_mod.a.weight': 'a.weight', 'b._checkpoint_wrapped_module.weight': 'b.weight'}
    """
    short = {key: _short(key) for key in keys}
    count = Counter(short.values())
    return {key: name if count[name] == 1 else key for key, name in short.items()}


def _short(key: str) -> str:
    *path, last = key.split(".")
    return ".".join([*(part for part in path if part not in WRAPPERS), last])


def in_utf8(name: str) -> str:
    """Return a name that every table and page can hold, with escapes for what is no text in UTF-8.

    >>> in_utf8("net" + chr(0xDCE9)) == "net" + chr(92) + "udce9"
    True
    """
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def unique_name(name: str, counts: dict[str, int]) -> str:
    """Return a name, with a number behind it where it has been given before, and note it.

    >>> counts: dict[str, int] = {}
    >>> [unique_name(name, counts) for name in ("dw", "dw", "dw_2", "dw")]
    ['dw', 'dw_2', 'dw_2_2', 'dw_3']
    """
    unique = name
    while unique in counts:
        counts[name] += 1
        unique = f"{name}_{counts[name]}"
    counts[unique] = 1
    return unique
