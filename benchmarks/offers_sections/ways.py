"""How each offer of the check-up is followed: the command that a user types, and what it does."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

import scalekeys as sk
from scalekeys.filters import assign_keys, copies, replacement
from scalekeys.filters.replacement import taps_of

Images = Sequence[Tensor]
KEYS = 8
LARGER_EPSILON = 1e-3
"""Of batch norms in Keras."""
STEPS = 127
"""Of an integer of eight bits, from zero to the largest weight."""


@dataclass(frozen=True)
class Changed:
    """A network after an offer was followed.

    Parameters
    ----------
    module : nn.Module
    numbers : tuple of int
        Depthwise numbers that have to be stored, before and after.
    told : str
        What was done, in a few words.
    """

    module: nn.Module
    numbers: tuple[int, int]
    told: str


Follow: TypeAlias = Callable[[nn.Module, Sequence[str], Images], Changed]


@dataclass(frozen=True)
class Way:
    """One way to follow an offer, or to do what is not offered.

    Parameters
    ----------
    command : str
    follow : callable
        Of the network, the layers that the finding names, and images without labels.
    """

    command: str
    follow: Follow


def _pruned(network: nn.Module, layers: Sequence[str], images: Images) -> Changed:  # noqa: ARG001
    found = sk.prune_dead(network, images[0][:2])
    told = f"{found.removed} of {len(found.dead)} dead filters removed"
    return Changed(found.module, (depthwise_numbers(network), depthwise_numbers(found.module)), told)


def _cropped(network: nn.Module, layers: Sequence[str], images: Images) -> Changed:  # noqa: ARG001
    found = sk.crop(network)
    return Changed(found.module, found.numbers, f"{len(found.layers)} layers cropped")


def _cropped_and_matched(network: nn.Module, layers: Sequence[str], images: Images) -> Changed:  # noqa: ARG001
    found = sk.crop(network, images)
    return Changed(found.module, found.numbers, f"{len(found.layers)} layers cropped")


def _cropped_by_two(network: nn.Module, layers: Sequence[str], images: Images) -> Changed:  # noqa: ARG001
    found = sk.crop(network, images, layers={layer.name: layer.size[0] - 2 for layer in sk.extract(network)})
    return Changed(found.module, found.numbers, f"{len(found.layers)} layers cropped")


def _by_keys(network: nn.Module, layers: Sequence[str], images: Images) -> Changed:  # noqa: ARG001
    bank = sk.extract(network)
    keys = sk.cluster(bank, KEYS).filters
    chosen = replacement(assign_keys(bank, keys), layers=layers)
    stored = int(chosen.numbers.sum()) + keys.numel()
    return Changed(sk.replace(network, chosen), (int(taps_of(bank).sum()), stored), f"{len(keys)} keys")


def _of_copies(network: nn.Module, layers: Sequence[str], images: Images) -> Changed:  # noqa: ARG001
    chosen = replacement(copies(sk.extract(network)))
    numbers = int(taps_of(chosen.bank).sum()), int(chosen.numbers.sum())
    return Changed(sk.replace(network, chosen), numbers, f"{int(chosen.replaced.sum())} copies")


def _of_copies_and_matched(network: nn.Module, layers: Sequence[str], images: Images) -> Changed:
    made = _of_copies(network, layers, images)
    return replace(made, module=sk.recalibrate(made.module, images, network))


def _in_eight_bits(*, each_channel: bool) -> Follow:
    def follow(network: nn.Module, layers: Sequence[str], images: Images) -> Changed:  # noqa: ARG001
        rounded, numbers = deepcopy(network), depthwise_numbers(network)
        with torch.no_grad():
            for layer in depthwise_convolutions(rounded):
                weight = layer.weight
                largest = weight.abs().amax((1, 2, 3), keepdim=True) if each_channel else weight.abs().amax()
                step = (largest / STEPS).clamp_min(torch.finfo(torch.float32).tiny)
                weight.copy_((weight / step).round() * step)
        return Changed(rounded, (numbers, numbers), "a quarter of the bytes of the depthwise weights")

    return follow


def _other_epsilon(network: nn.Module, layers: Sequence[str], images: Images) -> Changed:  # noqa: ARG001
    changed, numbers = deepcopy(network), depthwise_numbers(network)
    for layer in changed.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = LARGER_EPSILON
    return Changed(changed, (numbers, numbers), f"an epsilon of {LARGER_EPSILON:g}")


def depthwise_convolutions(network: nn.Module) -> list[nn.Conv2d]:
    """Return the depthwise layers of a network."""
    convolutions = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    return [layer for layer in convolutions if layer.groups == layer.in_channels > 1]


def depthwise_numbers(network: nn.Module) -> int:
    """Count the taps of the depthwise layers."""
    return sum(layer.weight.numel() for layer in depthwise_convolutions(network))


WAYS: Mapping[str, Sequence[Way]] = {
    "dead-filters": [Way("scalekeys prune NETWORK -o FILE", _pruned)],
    "too-large": [
        Way("scalekeys crop NETWORK --images FOLDER -o FILE", _cropped_and_matched),
        Way("scalekeys crop NETWORK -o FILE", _cropped),
    ],
    "redundant": [
        Way("scalekeys replace NETWORK -o FILE --model copies", _of_copies),
        Way("the same, then sk.recalibrate(module, images, network)", _of_copies_and_matched),
        Way("not offered: eight keys, scalekeys replace NETWORK -o FILE --model keys/keys.npy", _by_keys),
    ],
    "eight-bits": [
        Way("none: rounded with one scale for each layer, against the advice", _in_eight_bits(each_channel=False)),
        Way("none: rounded with one scale for each channel", _in_eight_bits(each_channel=True)),
    ],
    "small-variances": [Way("none: the epsilon of Keras in each batch norm, against the advice", _other_epsilon)],
}
"""By the name of a finding. A new way is one row here; findings without a row are hints."""

UNOFFERED = [
    Way("sk.crop(network, images, layers=...), all kernels smaller by two", _cropped_by_two),
]
"""What is done to a network of which the check-up says that nothing can be saved, as a test of that."""
