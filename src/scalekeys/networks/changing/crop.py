"""Kernels that are larger than what they hold, cut around their central taps."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.sources.module import open_module
from scalekeys.errors import FilterError, ModelError
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.filters.choice import matches, no_such_layer
from scalekeys.filters.extent import OUTER_ENERGY, outer_share, outside, smallest_window
from scalekeys.filters.window import cropped
from scalekeys.networks.changing.recalibrate import recalibrate
from scalekeys.networks.running.batches import Batches
from scalekeys.networks.running.depthwise_layers import Convolution, copied, make_plain
from scalekeys.shapes import Size, size_text

Sides: TypeAlias = Mapping[str, int | Sequence[int]]

_ROUNDING = 1e-9
"""By how much of the largest output two layers may differ that compute the same in float64."""


@dataclass(frozen=True)
class CroppedLayer:
    """One layer whose kernels became smaller.

    Parameters
    ----------
    layer : str
    before, kernel_size : tuple of int
        The sides of its kernels before and now, in the order of the array.
    padding : tuple of int, str or None
        What the convolution has to be given now; None where only weights are known.
    padding_less : tuple of int
        How many taps each axis has lost at its start: by how much the padding shrinks, in units of the dilation.
    energy : float
        The share of the energy of the layer that was cut off.
    saved : int
        How many numbers.
    """

    layer: str
    before: Size
    kernel_size: Size
    padding: Size | str | None
    padding_less: Size
    energy: float
    saved: int


@dataclass(frozen=True, eq=False)
class Cropping:
    """A network with smaller kernels.

    Parameters
    ----------
    module : nn.Module
        Of the same class.
    layers : tuple of CroppedLayer
        In the order of the network.
    left : dict of str to str
        Layers that would be cropped but were left as they are, and why, as a clause on the layer.
    numbers : tuple of (int, int)
        Depthwise weights before and now.
    """

    module: nn.Module
    layers: tuple[CroppedLayer, ...]
    left: Mapping[str, str]
    numbers: tuple[int, int]

    def __repr__(self) -> str:
        told = ", ".join(f"{one.layer} {size_text(one.before)} to {size_text(one.kernel_size)}" for one in self.layers)
        return f"Cropping({told or 'no layer'}: {self.numbers[0]} depthwise weights to {self.numbers[1]})"

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the network as plain values, for JSON."""
        return {
            "layers": [asdict(one) for one in self.layers],
            "left": dict(self.left),
            "numbers_before": self.numbers[0],
            "numbers": self.numbers[1],
        }


def crop(
    module: nn.Module,
    batches: Batches | None = None,
    *,
    tolerance: float = OUTER_ENERGY,
    layers: Sides | None = None,
) -> Cropping:
    """Cut depthwise kernels that are larger than what they hold around their central taps.

    Parameters
    ----------
    module : nn.Module
        The network; it stays as it is. Data-parallel and compiled wrappers around it are left off in the copy.
    batches : iterable, optional
        A few hundred preprocessed inputs, in any form that data loaders give. With them the statistics of batch norms
        and of depthwise layers without a batch norm are matched to those of `module`: :func:`scalekeys.recalibrate`.
    tolerance : float
        The share of the energy of a layer that may be cut off. Each axis loses taps at both ends alike, down to a side
        of 3 or 4.
    layers : mapping of str to int or sequence of int, optional
        Instead: the new side of each axis, or of all, of the layers of these names, in which ``*`` stands for anything.

    Returns
    -------
    Cropping
        With the network, and a record of what was cropped and of what could not be.

    Raises
    ------
    CheckpointError
        If the network cannot be read, or has no depthwise layers.
    FilterError
        If the tolerance is no share, no layer has such a name, or a side is not smaller than the kernel.
    ModelError
        If the batches cannot be used to recalibrate the network.

    Notes
    -----
    The padding shrinks with the kernel, dilation counted, so that sizes of outputs stay the same. A layer is cropped
    only if on random inputs of several sizes it then computes what it computes with its outer taps set to zero; so
    any padding that does this is understood: numbers, ``"same"``, padding modes, and classes that pad by themselves.
    Padding by a module of torch that stands before the layer in an ``nn.Sequential`` shrinks as well. Other layers are
    left as they are, with the reason.

    To load the weights of a cropped network, crop the sides of a new one first, by `layers`.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 7, padding=3, groups=8))
    >>> with torch.no_grad():
    ...     _ = network[1].weight.copy_(torch.nn.functional.pad(torch.randn(8, 1, 3, 3, generator=generator), [2] * 4))
    >>> found = crop(network)
    >>> found
    Cropping(1 7x7 to 3x3: 392 depthwise weights to 72)
    >>> found.module[1]
    Conv2d(8, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=8)
    >>> found.module(torch.ones(1, 3, 9, 9)).shape
    torch.Size([1, 8, 9, 9])
    """
    bank = open_module(module).bank()
    windows = windows_of(bank, tolerance, layers)
    network, found = copied(module, bank)
    done, left = [], {}
    for layer in bank:
        if window := windows.get(layer.name):
            fault = _crop(network, found[layer.name], layer.name, window)
            if fault:
                left[layer.name] = fault
            else:
                done.append(cropped_layer(layer, window, _plain(found[layer.name].padding)))
    if done and batches is not None:
        network = recalibrate(network, batches, module)
    before = sum(layer.kernels.numel() for layer in bank)
    return Cropping(network, tuple(done), left, (before, before - sum(one.saved for one in done)))


def windows_of(bank: FilterBank, tolerance: float, sides: Sides | None) -> dict[str, Size]:
    """Return the new sides of the kernels of those layers that become smaller, by name; see :func:`crop`."""
    if sides is None:
        smallest = {layer.name: smallest_window(layer.kernels, tolerance) for layer in bank}
        return {name: found[0] for name, found in smallest.items() if found}
    names = [layer.name for layer in bank]
    for pattern in sides:
        if not any(matches(name, pattern) for name in names):
            raise FilterError(no_such_layer([pattern], names))
    asked = {layer: side for pattern, side in sides.items() for layer in bank if matches(layer.name, pattern)}
    return {layer.name: _asked(layer, side) for layer, side in asked.items()}


def cropped_layer(layer: LayerFilters, window: Size, padding: Size | str | None = None) -> CroppedLayer:
    """Return the record of a layer of which only a window is kept."""
    finite = layer.kernels[layer.kernels.flatten(1).isfinite().all(1)]
    energy = outer_share(finite, window) if finite.any() else 0.0
    less = tuple(before for before, _ in _lost(layer.size, window))
    return CroppedLayer(layer.name, layer.size, window, padding, less, energy, _saved(layer, window))


def _saved(layer: LayerFilters, window: Size) -> int:
    return len(layer) * (prod(layer.size) - prod(window))


def _asked(layer: LayerFilters, sides: int | Sequence[int]) -> Size:
    window = (sides,) * len(layer.size) if isinstance(sides, int) else tuple(sides)
    if len(window) != len(layer.size):
        raise FilterError(f"layer {layer.name!r} has kernels of {size_text(layer.size)}; give {len(layer.size)} sides")
    if not all(1 <= side <= own for side, own in zip(window, layer.size, strict=True)) or window == layer.size:
        raise FilterError(
            f"layer {layer.name!r}: {size_text(window)} is not smaller than its kernels of {size_text(layer.size)}"
        )
    return window


def _crop(network: nn.Module, layer: Convolution, name: str, window: Size) -> str | None:
    """Crop a layer of a network in place, or leave it as it is and return why, as a clause on the layer."""
    before = _padding_before(network, name)
    try:
        small, pads = _smaller(layer, name, window, before)
    except ModelError as error:
        return str(error).removeprefix(f"layer {name!r}: ")
    if small is None:
        return "its padding is less than what its kernels lose"
    steps = (before, layer), (pads, small)
    if not _same_outputs(*(nn.Sequential(*(one for one in step if one is not None)) for step in steps), window):
        return "it pads its input in a way that is not known"
    for mine, new in ((before, pads), (layer, small)):
        if mine is not None and new is not None:
            mine.__class__ = type(new)
            mine.__dict__.update(new.__dict__)
    return None


def _padding_before(network: nn.Module, name: str) -> nn.Module | None:
    """Return the module of torch that pads what comes to a layer, where both stand in an ``nn.Sequential``."""
    everything = list(network.named_modules(remove_duplicate=False))
    parent, _, own = name.rpartition(".")
    above = dict(everything).get(parent)
    if not isinstance(above, nn.Sequential) or own not in above._modules:
        return None
    keys = list(above._modules)
    before = above._modules[keys[keys.index(own) - 1]] if keys.index(own) else None
    used_once = sum(one is before for _, one in everything) == 1
    return before if isinstance(before, _PADS) and used_once else None


_PADS = (
    nn.modules.padding._ConstantPadNd,
    nn.modules.padding._ReflectionPadNd,
    nn.modules.padding._ReplicationPadNd,
    nn.modules.padding._CircularPadNd,
)


def _smaller(
    layer: Convolution, name: str, window: Size, before: nn.Module | None
) -> tuple[Convolution | None, nn.Module | None]:
    """Return a layer with smaller kernels, and what pads before it; no layer where there is too little padding."""
    small, pads = deepcopy(layer), deepcopy(before)
    weight = make_plain(small, name)
    small.weight = nn.Parameter(cropped(weight.detach(), window).clone(), requires_grad=weight.requires_grad)
    dilated = [
        (first * step, last * step)
        for (first, last), step in zip(_lost(layer.kernel_size, window), layer.dilation, strict=True)
    ]
    small.kernel_size = window
    small.padding = _plain(layer.padding)
    if not isinstance(layer.padding, str):
        if pads is not None and not any(layer.padding):
            pads.padding = _less(pads.padding, dilated)  # type: ignore[arg-type,assignment]
            return (small if min(pads.padding) >= 0 else None), pads  # type: ignore[type-var,operator]
        small.padding = tuple(own - first for own, (first, _) in zip(layer.padding, dilated, strict=True))
        dynamic = type(layer).forward not in _FORWARD
        if min(small.padding) < 0 and not dynamic:
            return None, pads
        small.padding = tuple(max(own, 0) for own in small.padding)
    small._reversed_padding_repeated_twice = _by_side(small)
    return small, pads


_FORWARD = tuple(kind.forward for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d))


def _lost(size: Sequence[int], window: Sequence[int]) -> list[tuple[int, int]]:
    """Return how many taps each axis loses at its start and at its end."""
    first = [(own - 1) // 2 - (new - 1) // 2 for own, new in zip(size, window, strict=True)]
    return [(start, own - new - start) for own, new, start in zip(size, window, first, strict=True)]


def _less(padding: Sequence[int], lost: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Shrink the padding of a module: pairs from the last axis to the first."""
    pairs = [side for pair in reversed(lost) for side in pair]
    return tuple(own - less for own, less in zip(padding, pairs, strict=True))


def _by_side(layer: Convolution) -> list[int]:
    """Return what the padding modes of torch need: pairs from the last axis to the first."""
    pairs = []
    for axis, side in enumerate(layer.kernel_size):
        if isinstance(layer.padding, str):
            whole = layer.dilation[axis] * (side - 1) if layer.padding == "same" else 0
            pairs.append((whole // 2, whole - whole // 2))
        else:
            pairs.append((layer.padding[axis],) * 2)
    return [side for pair in reversed(pairs) for side in pair]


def _plain(padding: str | Sequence[int]) -> Size | str:
    return padding if isinstance(padding, str) else tuple(int(side) for side in padding)


@torch.no_grad()
def _same_outputs(before: nn.Sequential, now: nn.Sequential, window: Size) -> bool:
    """Tell whether a layer computes what it computed before with its outer taps set to zero, for several sizes."""
    before, now = deepcopy(before), deepcopy(now)
    whole, small = before[-1], now[-1]
    make_plain(whole, "")  # which rounds as the layer does
    for one in (before, now):
        one.to("cpu", torch.float64).eval()
    kernels = whole.weight
    kernels[:, 0] -= outside(kernels[:, 0], window)
    kernels.nan_to_num_(0.0, 0.0, 0.0)
    small.weight.nan_to_num_(0.0, 0.0, 0.0)
    draw = torch.Generator().manual_seed(0)
    largest = [step * (side - 1) + 1 for step, side in zip(whole.dilation, whole.kernel_size, strict=True)]
    for more in range(1, 2 + max(whole.stride)):
        shape = (1, whole.in_channels, *(side + more + axis for axis, side in enumerate(largest)))
        inputs = torch.randn(shape, generator=draw, dtype=torch.float64)
        try:
            first, second = _run(before, inputs), _run(now, inputs)
        except (RuntimeError, TypeError, ValueError, AttributeError):  # a class of its own that needs more than inputs
            return False
        if first.shape != second.shape or not _close(first, second):
            return False
    return True


def _run(layers: nn.Sequential, inputs: Tensor) -> Tensor:
    result: Tensor = layers(inputs)
    return result


def _close(first: Tensor, second: Tensor) -> bool:
    return bool((first - second).abs().max() <= _ROUNDING * first.abs().max().clamp_min(1e-300))
