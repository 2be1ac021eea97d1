"""How far apart the samples lie that the layers of a network work on, told by the sides of what runs through them.

The network runs on the meta device, where tensors have shapes and no values: nothing is computed, and nothing of the
module is changed, as a skeleton of it runs in its place. It is given inputs of two sizes. An input that is longer by a
multiple of a pitch makes what comes to a layer longer by so many samples exactly, whatever is padded on the way.
"""

import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.core.pitch import Pitch, same_everywhere

_SIDE = {1: 6720, 2: 224, 3: 224}
_MORE = {1: 6720, 2: 1344, 3: 1344}  # 64 * 3 * 7, and five times that for sounds, so that usual pitches divide them
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")
_NORMALIZATIONS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)

_Sides: TypeAlias = dict[str, list[tuple[int, ...]]]
"""The sides of each input of layers, in the order in which they come, by the names of the layers."""


def pitches_of(module: nn.Module, layers: Mapping[str, nn.modules.conv._ConvNd]) -> dict[str, Pitch | None]:
    """Return the pitch of convolutions of a network.

    `module`: it is left as it is.
    `layers`: its convolutions that are wanted, by name.
    Returns the pitch of each layer, in samples of the input along the axes of its kernels; None where the network does
    not run on an input of one image, or the sides of what comes to the layer do not tell.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.Conv2d(8, 8, 7, groups=8))
    >>> pitches_of(network, {"1": network[1]})
    {'1': (4.0, 4.0)}
    """
    nothing: dict[str, Pitch | None] = dict.fromkeys(layers)
    first = next((one for one in module.modules() if isinstance(one, nn.modules.conv._ConvNd)), None)
    if first is None or not layers:
        return nothing
    axes = len(first.kernel_size)
    noted, small = _input_of(module, first)
    wanted = [name for name, layer in layers.items() if len(layer.kernel_size) == axes]
    for channels in dict.fromkeys((noted, 3, 1)):  # patches may become channels before the first convolution
        try:
            skeleton = _skeleton(module, {})
            sides = _sides_along(skeleton, wanted, (channels, *small))
            break
        except Exception:  # the network of a user may fail with anything
            continue
    else:
        return nothing
    try:
        longer = _sides_along(skeleton, wanted, (channels, *(side + _MORE[axes] for side in small)))
    except Exception:  # as above, where it takes one size alone
        longer = {}
    return nothing | {
        name: same_everywhere(_pitches(layers[name], sides.get(name, []), longer.get(name), small)) for name in wanted
    }


def _input_of(module: nn.Module, first: nn.modules.conv._ConvNd) -> tuple[int, tuple[int, ...]]:
    """Return the channels and the sides of the input of a network, as timm and transformers note them."""
    noted = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    size = noted.get("input_size") if isinstance(noted, Mapping) else None
    axes = len(first.kernel_size)
    if size and len(size) == axes + 1:
        return int(size[0]), tuple(int(side) for side in size[1:])
    side = getattr(getattr(module, "config", None), "image_size", None)
    return first.in_channels, (side if isinstance(side, int) else _SIDE[axes],) * axes


def _pitches(
    layer: nn.modules.conv._ConvNd,
    sides: Sequence[Sequence[int]],
    longer: Sequence[Sequence[int]] | None,
    whole: Sequence[int],
) -> list[Pitch | None]:
    """Return the pitch of each input of a layer; of its output, where the layer is a transposed convolution."""
    stride = layer.stride if layer.transposed else (1,) * len(whole)
    if longer is None:
        pairs = [list(zip(whole, one, strict=True)) for one in sides]
    else:
        if len(longer) != len(sides):
            return [None]
        grown = ([more - one for more, one in zip(*pair, strict=True)] for pair in zip(longer, sides, strict=True))
        pairs = [[(_MORE[len(whole)], more) for more in one] for one in grown]
    return [_pitch([(of, so_many * step) for (of, so_many), step in zip(pair, stride, strict=True)]) for pair in pairs]


def _pitch(pairs: Sequence[tuple[int, int]]) -> Pitch | None:
    """Return quotients where they are even: whole numbers, or one over them."""
    if any(few < 1 or (whole % few and few % whole) for whole, few in pairs):
        return None
    return tuple(whole / few for whole, few in pairs)


def _sides_along(skeleton: nn.Module, names: Sequence[str], shape: Sequence[int]) -> _Sides:
    """Run a network on an input of some shape, and note the sides of what comes to some layers."""
    found: _Sides = {}

    def note(name: str, given: Sequence[Any]) -> None:
        found.setdefault(name, []).append(tuple(given[0].shape[1 - len(shape) :]))

    handles = [
        skeleton.get_submodule(name).register_forward_pre_hook(lambda _, given, name=name: note(name, given))
        for name in names
    ]
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dtype = next((one.dtype for one in skeleton.parameters() if one.is_floating_point()), torch.float32)
            skeleton(torch.empty(1, *shape, dtype=dtype))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _skeleton(module: nn.Module, made: dict[int, nn.Module]) -> nn.Module:
    """Return a network of the same structure on the meta device, in evaluation mode and without hooks."""
    if id(module) in made:
        return made[id(module)]
    skeleton: nn.Module = object.__new__(type(module))
    made[id(module)] = skeleton
    for name, value in vars(module).items():
        skeleton.__dict__[name] = _without_values(copy(value) if isinstance(value, dict | list | set) else value)
    for name in _HOOKS:
        skeleton.__dict__[name] = OrderedDict()
    skeleton.__dict__["training"] = False
    if isinstance(module, _NORMALIZATIONS):  # which change no shape, and take most of the time on the meta device
        skeleton.__dict__["forward"] = lambda given, *_, **__: given
    skeleton.__dict__["_parameters"] = {name: _without_values(one) for name, one in module._parameters.items()}
    skeleton.__dict__["_buffers"] = {name: _without_values(one) for name, one in module._buffers.items()}
    children = {name: one and _skeleton(one, made) for name, one in module._modules.items()}
    skeleton.__dict__["_modules"] = children
    return skeleton


def _without_values(value: Any) -> Any:
    if isinstance(value, nn.Parameter):
        return nn.Parameter(value.detach().to("meta"), requires_grad=False)
    return value.detach().to("meta") if isinstance(value, Tensor) else value
