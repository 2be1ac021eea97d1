"""Kernels that are larger than what they hold, cut around their central taps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from numbers import Integral
from typing import Any, TypeAlias

import torch
from torch import nn

from scalekeys.checkpoints.sources.module import open_module
from scalekeys.errors import FilterError
from scalekeys.filters import FilterBank, LayerFilters
from scalekeys.filters.choice import matches, no_such_layer
from scalekeys.filters.extent import OUTER_ENERGY, outer_share, refitted, smallest_window
from scalekeys.fitting import natural_covariance_of
from scalekeys.networks.changing.recalibrate import recalibrate
from scalekeys.networks.changing.shrink import lost, plain_padding, shrink
from scalekeys.networks.constrained.filters_together import release
from scalekeys.networks.running.batches import Batches
from scalekeys.networks.running.depthwise_layers import copied, keeping_ties, make_plain, write
from scalekeys.shapes import FilterStack, Size, size_text

Sides: TypeAlias = Mapping[str, int | Sequence[int]]


@dataclass(frozen=True)
class CroppedLayer:
    """One layer whose kernels became smaller.

    `before`, `kernel_size`: the sides of its kernels before and now, in the order of the array.
    `padding`: what the convolution has to be given now; None where only weights are known.
    `padding_less`: how many taps each axis has lost at its start: by how much the padding shrinks, in units of the
    dilation.
    `energy`: the share of the energy of the layer that was cut off.
    `saved`: how many numbers.
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
    refit: bool = True,
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
    refit : bool
        Whether the taps that stay are fitted to the responses of the whole kernels to natural images; see ``refitted``
        in ``scalekeys.filters.extent``. Otherwise these taps keep their values.

    Returns
    -------
    Cropping
        With the network, and a record of what was cropped and of what could not be.

    Raises
    ------
    CheckpointError
        If the network cannot be read, or has no depthwise layers.
    FilterError
        If the tolerance is no share, no layer has such a name, or a side is no whole number below that of the kernel.
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
    >>> import torch
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
    with keeping_ties(found.values()):
        for layer in bank:
            if window := windows.get(layer.name):
                fault = shrink(network, found[layer.name], layer.name, window)
                if fault:
                    left[layer.name] = fault
                else:
                    if refit:
                        weight = make_plain(found[layer.name], layer.name)
                        write(weight, torch.arange(len(layer)), refitted_layer(layer, window))
                    done.append(cropped_layer(layer, window, plain_padding(found[layer.name].padding)))
    release(network)
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
    if not isinstance(sides, Mapping):
        raise FilterError(
            f"layers gives the new sides by the names of layers, such as {{{names[0]!r}: 5}}, got {sides!r}"
        )
    for pattern in sides:
        if not any(matches(name, pattern) for name in names):
            raise FilterError(no_such_layer([pattern], names))
    asked = {layer: side for pattern, side in sides.items() for layer in bank if matches(layer.name, pattern)}
    return {layer.name: _asked(layer, side) for layer, side in asked.items()}


def cropped_layer(layer: LayerFilters, window: Size, padding: Size | str | None = None) -> CroppedLayer:
    """Return the record of a layer of which only a window is kept."""
    finite = layer.kernels[layer.kernels.flatten(1).isfinite().all(1)]
    energy = outer_share(finite, window) if finite.any() else 0.0
    less = tuple(before for before, _ in lost(layer.size, window))
    saved = len(layer) * (prod(layer.size) - prod(window))
    return CroppedLayer(layer.name, layer.size, window, padding, less, energy, saved)


def refitted_layer(layer: LayerFilters, window: Size) -> FilterStack:
    """Return the kernels of a layer in a smaller window, fitted to the responses to natural images."""
    return refitted(layer.kernels, window, natural_covariance_of(layer))


def _asked(layer: LayerFilters, sides: int | Sequence[int]) -> Size:
    window = tuple(sides) if isinstance(sides, Iterable) else (sides,) * len(layer.size)
    if not all(isinstance(side, Integral) for side in window):
        raise FilterError(f"layer {layer.name!r}: give its new sides as whole numbers, such as 5, got {sides!r}")
    window = tuple(map(int, window))
    if len(window) != len(layer.size):
        raise FilterError(f"layer {layer.name!r} has kernels of {size_text(layer.size)}; give {len(layer.size)} sides")
    if not all(1 <= side <= own for side, own in zip(window, layer.size, strict=True)) or window == layer.size:
        raise FilterError(
            f"layer {layer.name!r}: {size_text(window)} is not smaller than its kernels of {size_text(layer.size)}"
        )
    return window
