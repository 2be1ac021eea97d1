"""Weights of a network with separable layers, loaded into the network as it was built."""

import re
from collections import defaultdict

from torch import nn

from scalekeys.checkpoints.loading import keys_by_name
from scalekeys.checkpoints.sources.module import open_module
from scalekeys.checkpoints.sources.source import Source, open_source
from scalekeys.networks.changing.separate.separable_conv import SeparableConv, long_axes
from scalekeys.networks.changing.separate.separate import put
from scalekeys.networks.pruning.resized import load_pruned
from scalekeys.networks.running.depthwise_layers import copy_of, depthwise_layers

_TERM = re.compile(r"(.+\.)?terms\.(\d+)\.0\.weight")


def load_separated(module: nn.Module, source: Source, *, weights: str | None = None) -> nn.Module:
    """Return a copy of a network with the weights, and the separable layers, of a separated one.

    Parameters
    ----------
    module : nn.Module
        The network as it was before; it stays as it is.
    source, weights
        As for :func:`scalekeys.extract`: what ``scalekeys separate`` wrote, or the state dict of the separated network.

    Returns
    -------
    nn.Module

    Raises
    ------
    CheckpointError
        If the source cannot be read, or its weights are not those of the network with separable layers.

    Examples
    --------
    >>> import torch, scalekeys as sk
    >>> def build():
    ...     return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 5, padding=2, groups=4))
    >>> found = sk.separate(build(), rank=1, runtime=None)
    >>> sk.load_separated(build(), found.module.state_dict())[1]
    SeparableConv(5x5 as 1 term)
    """
    names = keys_by_name(open_source(source, weights=weights), copy_of(module).state_dict())
    ranks: dict[str, int] = defaultdict(int)
    for name in names:
        if found := _TERM.fullmatch(name):
            owner = (found[1] or "").removesuffix(".")
            ranks[owner] = max(ranks[owner], int(found[2]) + 1)
    network = copy_of(module)
    for layer in depthwise_layers(network, open_module(network)).values():
        name = next(name for name, one in network.named_modules() if one is layer)
        sides = [layer.kernel_size[axis] for axis in long_axes(tuple(layer.kernel_size))]
        if name in ranks:
            factors = [layer.weight.new_zeros(layer.out_channels, side, ranks[name]) for side in sides]
            network = put(network, layer, SeparableConv(layer, factors))
    return load_pruned(network, source, weights=weights)
