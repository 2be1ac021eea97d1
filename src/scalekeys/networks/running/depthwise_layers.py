"""The depthwise layers of a network: where they are, and their weights as plain parameters."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TypeAlias

import torch
from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm

from scalekeys.checkpoints import check_same_layers
from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.sources.module import open_module, unwrapped
from scalekeys.checkpoints.sources.used_weight import used_weight
from scalekeys.errors import FilterError, ModelError
from scalekeys.filters import FilterBank
from scalekeys.networks.running.computed_weight import ComputedWeight

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d
"""The layers of torch whose kernels have one to three axes."""


def depthwise_layers(module: nn.Module, opened: Checkpoint) -> dict[str, Convolution]:
    """Return the depthwise layers of a network, or of a copy of it, by the names that :func:`scalekeys.extract` gives.

    `opened`: the same network, opened.
    """
    network = unwrapped(module)
    layers = {}
    for found in opened.layers:
        layer = network.get_submodule(found.key.rpartition(".")[0])
        assert isinstance(layer, Convolution)
        layers[found.name] = layer
    return layers


def copied(module: nn.Module, bank: FilterBank) -> tuple[nn.Module, dict[str, Convolution]]:
    """Copy a network, and return its depthwise layers by name, which must be those of a bank.

    `module`: data-parallel and compiled wrappers around it are left off.
    `bank`: filters of the same network.
    Raises CheckpointError if the network cannot be read; ModelError if the bank has other layers or filters of other
    shapes.
    """
    opened = open_module(module)
    layers = depthwise_layers(module, opened).items()
    here = {name: (layer.out_channels, *layer.kernel_size) for name, layer in layers}
    check_same_layers(here, bank, label=opened.label)
    network = copy_of(module)
    return network, depthwise_layers(network, opened)


def copy_of(module: nn.Module) -> nn.Module:
    """Copy a network without data-parallel and compiled wrappers around it.

    Pruning and weight normalisation leave behind what they computed last, and such tensors with a history cannot be
    copied as they are; the copy has their values.
    """
    network = unwrapped(module)
    computed = [
        value
        for layer in network.modules()
        for value in vars(layer).values()
        if isinstance(value, torch.Tensor) and value.grad_fn is not None
    ]
    return deepcopy(network, {id(value): value.detach().clone() for value in computed})


def make_plain(layer: Convolution, name: str) -> nn.Parameter:
    """Make the weight of a layer a parameter of its own, with the values of evaluation mode, and return it.

    Parametrizations, pruning, weight and spectral normalisation of the weight are taken off. It takes gradients if the
    parameter before did, or one of those from which the weight was computed.

    Raises ModelError if the weight is computed in some other way.
    """
    before = layer._parameters.get("weight")
    present = used_weight(layer).detach().clone()
    computing = [one for key, one in layer.named_parameters() if "bias" not in key] if before is None else [before]
    learned = any(one.requires_grad for one in computing)
    if parametrize.is_parametrized(layer, "weight"):
        kind = type(layer)  # made for this layer, but its copies have the same, and what is taken off goes off from it
        layer.__class__ = type(kind.__name__, kind.__bases__, dict(vars(kind)))
        parametrize.remove_parametrizations(layer, "weight")
    elif isinstance(layer, ComputedWeight):
        layer.stop_computing()
    elif before is None:
        _stop_computing(layer, name)
    others = {key: layer._parameters.pop(key) for key in list(layer._parameters) if key != "weight"}
    layer.weight = nn.Parameter(present, requires_grad=learned)
    layer._parameters.update(others)  # so that the weight comes first, as it did
    return layer.weight


@contextmanager
def keeping_ties(layers: Iterable[Convolution]) -> Iterator[None]:
    """Let layers that share a weight share the new one too, where they are given the same."""
    sharing: dict[int, list[Convolution]] = defaultdict(list)
    for layer in layers:
        if "weight" in layer._parameters:
            sharing[id(layer.weight)].append(layer)
    yield
    for tied in sharing.values():
        for count, layer in enumerate(tied):
            same = (one.weight for one in tied[:count] if torch.equal(one.weight, layer.weight))
            layer.weight = next(same, layer.weight)


def _stop_computing(layer: Convolution, name: str) -> None:
    """Take off what computes a weight before each pass, in the ways that came before parametrizations."""
    if hasattr(layer, "weight_g"):
        remove_weight_norm(layer)
    elif hasattr(layer, "weight_u"):
        remove_spectral_norm(layer)
    elif prune.is_pruned(layer) and hasattr(layer, "weight_orig"):
        prune.remove(layer, "weight")
    else:
        raise ModelError(f"layer {name!r}: its weight is not a parameter but computed; make it one first")


@torch.no_grad()
def write(weight: nn.Parameter, rows: torch.Tensor, filters: torch.Tensor) -> None:
    """Put filters of shape (rows, *sides) into some rows of a depthwise weight."""
    weight[rows.to(weight.device), 0] = filters.to(weight)


def not_finite(name: str) -> FilterError:
    """Say that a layer sees numbers that are not finite."""
    return FilterError(
        f"layer {name!r}: its input is not finite; look at the inputs of the network and at the layers before it, and "
        "run a network of half precision in float32"
    )
