"""One convolution given smaller kernels in place, if it then computes what it did without its outer taps."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scalekeys.errors import ModelError
from scalekeys.filters.extent import outside
from scalekeys.filters.window import cropped
from scalekeys.networks.running.convolution_calls import zeros_around
from scalekeys.networks.running.depthwise_layers import Convolution, make_plain
from scalekeys.shapes import Size

_ROUNDING = 1e-9
"""By how much of the largest output two layers may differ that compute the same in float64."""

_FORWARD = tuple(kind.forward for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d))
_PADS = (
    nn.modules.padding._ConstantPadNd,
    nn.modules.padding._ReflectionPadNd,
    nn.modules.padding._ReplicationPadNd,
    nn.modules.padding._CircularPadNd,
)


@dataclass(frozen=True)
class _Step:
    """A convolution, and the module that pads what comes to it, if any."""

    pads: nn.Module | None
    layer: Convolution

    def __call__(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs if self.pads is None else self.pads(inputs))
        return outputs

    def modules(self) -> list[nn.Module]:
        return [self.layer] if self.pads is None else [self.pads, self.layer]


def shrink(network: nn.Module, layer: Convolution, name: str, window: Size) -> str | None:
    """Crop the kernels of a layer of a network in place, or leave it as it is.

    `window`: the new sides of its kernels, none larger than before.
    Returns why the layer was left as it is, as a clause on it; None if it was cropped.
    """
    before = _Step(_padding_before(network, layer), layer)
    try:
        now = _smaller(before, name, window)
    except ModelError as error:
        return str(error).removeprefix(f"layer {name!r}: ")
    if now is None:
        return "its padding is less than what its kernels lose"
    if not _same_outputs(before, now, window):
        return "it pads its input in a way that is not known"
    for mine, new in zip(before.modules(), now.modules(), strict=True):
        mine.__class__ = type(new)
        mine.__dict__ = new.__dict__
    return None


def lost(size: Sequence[int], window: Sequence[int]) -> list[tuple[int, int]]:
    """Return how many taps each axis loses at its start and at its end.

    >>> lost((7, 8), (3, 5))
    [(2, 2), (1, 2)]
    """
    first = [(own - 1) // 2 - (new - 1) // 2 for own, new in zip(size, window, strict=True)]
    return [(start, own - new - start) for own, new, start in zip(size, window, first, strict=True)]


def plain_padding(padding: str | Sequence[int]) -> Size | str:
    """Return the padding of a convolution as a word or plain numbers."""
    return padding if isinstance(padding, str) else tuple(int(side) for side in padding)


def _padding_before(network: nn.Module, layer: Convolution) -> nn.Module | None:
    """Return the module of torch that pads what comes to a layer alone, where both stand in an ``nn.Sequential``."""
    everything = list(network.named_modules(remove_duplicate=False))
    parent, _, own = next(name for name, one in everything if one is layer).rpartition(".")
    above = dict(everything).get(parent)
    if not isinstance(above, nn.Sequential) or own not in above._modules:
        return None
    keys = list(above._modules)
    before = above._modules[keys[keys.index(own) - 1]] if keys.index(own) else None
    used_once = sum(one is before for _, one in everything) == 1
    return before if isinstance(before, _PADS) and used_once else None


def _smaller(before: _Step, name: str, window: Size) -> _Step | None:
    """Return a copy with smaller kernels and less padding; None where there is too little of it."""
    pads, layer = deepcopy(before.pads), deepcopy(before.layer)
    less = [
        (first * step, last * step)
        for (first, last), step in zip(lost(layer.kernel_size, window), layer.dilation, strict=True)
    ]
    weight = make_plain(layer, name)
    layer.weight = nn.Parameter(cropped(weight.detach(), window).clone(), requires_grad=weight.requires_grad)
    layer.kernel_size = window
    if isinstance(pads, _PADS) and not isinstance(layer.padding, str) and not any(layer.padding):
        pairs = [side for pair in reversed(less) for side in pair]
        padding = tuple(own - cut for own, cut in zip(pads.padding, pairs, strict=True))
        pads.padding = padding
        return _Step(pads, layer) if min(padding) >= 0 else None
    if not isinstance(layer.padding, str):
        padding = tuple(int(own) - first for own, (first, _) in zip(layer.padding, less, strict=True))
        if min(padding) < 0 and type(layer).forward in _FORWARD:
            return None
        layer.padding = tuple(max(side, 0) for side in padding)  # of a class that pads by itself, zero stays zero
    layer._reversed_padding_repeated_twice = by_side(layer)
    return _Step(pads, layer)


def by_side(layer: Convolution) -> list[int]:
    """Return what the padding modes of torch need: pairs from the last axis to the first."""
    return list(zeros_around(layer.padding, layer.kernel_size, layer.dilation))


@torch.no_grad()
def _same_outputs(before: _Step, now: _Step, window: Size) -> bool:
    """Tell whether a layer computes what it computed before with its outer taps set to zero, for several sizes."""
    before, now = deepcopy(before), deepcopy(now)
    whole, small = before.layer, now.layer
    make_plain(whole, "")  # which rounds as the layer does
    for module in (*before.modules(), *now.modules()):
        module.to("cpu", torch.float64).eval()
    whole.weight[:, 0] -= outside(whole.weight[:, 0], window)
    for layer in (whole, small):
        layer.weight.nan_to_num_(0.0, 0.0, 0.0)
    return agree(before, now, whole)


@torch.no_grad()
def agree(one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor], layer: Convolution) -> bool:
    """Tell whether two ways to compute a layer in float64 give the same for random inputs of several sizes.

    `layer`: the layer, whose kernel, stride and dilation say which sizes matter.
    """
    draw = torch.Generator().manual_seed(0)
    largest = [step * (side - 1) + 1 for step, side in zip(layer.dilation, layer.kernel_size, strict=True)]
    for more in range(1, 2 + max(layer.stride)):
        shape = (1, layer.in_channels, *(side + more + axis for axis, side in enumerate(largest)))
        inputs = torch.randn(shape, generator=draw, dtype=torch.float64)
        try:
            first, second = one(inputs), other(inputs)
        except (RuntimeError, TypeError, ValueError, AttributeError):  # a class of its own that needs more than inputs
            return False
        most = _ROUNDING * float(first.abs().max().clamp_min(1e-300))
        if first.shape != second.shape or not float((first - second).abs().max()) <= most:
            return False
    return True
