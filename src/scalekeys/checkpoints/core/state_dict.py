"""State dicts: which tensors are depthwise weights, and what their layers are called."""

from collections.abc import Callable, Iterable, Mapping
from math import prod

from torch import Tensor

from scalekeys.checkpoints.core.checkpoint import Checkpoint, DepthwiseLayer, is_depthwise_shape
from scalekeys.checkpoints.core.inventory import TensorInfo
from scalekeys.checkpoints.core.ordering import network_order
from scalekeys.filters import LeftOut

_WRAPPERS = ("module.", "_orig_mod.")
OTHER_AXES = {
    3: "its kernels have one axis, and kernels of two axes are read",
    5: "its kernels have three axes, and kernels of two axes are read",
}
"""Why a weight with that many axes is left out."""
_REPARAMETRISED = (
    ".weight_v",
    ".weight_orig",
    ".parametrizations.weight.original",
    ".parametrizations.weight.original1",
)


def from_state_dict(
    tensors: Mapping[str, TensorInfo],
    load: Callable[[str], Tensor],
    *,
    label: str,
    model: str,
    in_network_order: bool = True,
    notes: tuple[str, ...] = (),
    entry: tuple[str, ...] = (),
) -> Checkpoint:
    """Find the depthwise layers of a flat dict of tensors by their shapes.

    Without a graph a depthwise weight is a 4-D one of shape (C, 1, rows, cols) with C > 1 and more than one pixel. A
    dense convolution of a one-channel image and a transposed convolution can have that shape too and are read as well.
    Where any key is called a weight, tensors that are not (fixed blur kernels, masks) are left alone.

    Parameters
    ----------
    in_network_order : bool
        Whether the keys stand in the order of the network; if not they are sorted by :func:`network_order`.
    """
    names = layer_names(tensors)
    keys = [key for key in weight_keys(tensors) if is_depthwise_shape(tensors[key].shape)]
    if not in_network_order:
        keys.sort(key=lambda key: network_order(names[key]))
    layers = tuple(DepthwiseLayer(names[key], key) for key in keys)
    left_out = tuple(_left_out(names, tensors))
    return Checkpoint(label, model, tensors, layers, load, notes=notes, entry=entry, left_out=left_out)


def weight_keys(keys: Iterable[str]) -> list[str]:
    """Return the keys that name a weight, or all keys where none does; never a part of a computed weight.

    Examples
    --------
    >>> weight_keys(["dw.weight", "dw.bias", "blur.filt"]), weight_keys(["mine"])
    (['dw.weight'], ['mine'])
    """
    plain = [key for key in keys if not key.endswith(_REPARAMETRISED)]
    return [key for key in plain if key == "weight" or key.endswith(".weight")] or plain


def holds_depthwise(tensors: Mapping[str, TensorInfo]) -> bool:
    """Tell whether any weight has the shape of a depthwise one."""
    return any(is_depthwise_shape(tensors[key].shape) for key in weight_keys(tensors))


def layer_names(tensors: Mapping[str, TensorInfo]) -> dict[str, str]:
    """Name the layer of each tensor: without ``.weight``, and without the prefixes that wrappers put before all.

    Examples
    --------
    >>> layer_names({"module.stem.weight": TensorInfo((8, 1, 3, 3), "float32")})
    {'module.stem.weight': 'stem'}
    """
    prefix = wrapper_prefix(key for key, info in tensors.items() if info.shape)
    return {key: key.removeprefix(prefix).removesuffix(".weight") for key in tensors}


def wrapper_prefix(keys: Iterable[str]) -> str:
    """Return the prefix that data-parallel and compiled wrappers have put before every key.

    Examples
    --------
    >>> wrapper_prefix(["module._orig_mod.a.weight", "module._orig_mod.b.weight"]), wrapper_prefix(["module.a", "b"])
    ('module._orig_mod.', '')
    """
    rest, prefix = list(keys), ""
    while rest and (wrapper := next((w for w in _WRAPPERS if all(key.startswith(w) for key in rest)), None)):
        rest = [key.removeprefix(wrapper) for key in rest]
        prefix += wrapper
    return prefix


def _left_out(names: Mapping[str, str], tensors: Mapping[str, TensorInfo]) -> Iterable[LeftOut]:
    for key, info in tensors.items():
        if key.endswith(_REPARAMETRISED) and is_depthwise_shape(info.shape):
            yield LeftOut(key, info.shape, "it is a part of a computed weight; give the module itself")
        reason = OTHER_AXES.get(len(info.shape))
        if reason and key.endswith(".weight") and info.shape[0] > 1 == info.shape[1] and prod(info.shape[2:]) > 1:
            yield LeftOut(names[key], info.shape, reason)
