"""The order of maps in memory in which depthwise convolutions are fastest."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from scalekeys.errors import ModelError
from scalekeys.networks.running.batches import evaluating, run_network
from scalekeys.networks.running.depthwise_layers import copy_of

T = TypeVar("T", Tensor, nn.Module)


def fastest_layout(module: nn.Module, batches: Sequence[Tensor]) -> tuple[nn.Module, list[Tensor]]:
    """Return a copy of a network and its inputs, with channels last where maps have two axes and the network runs so.

    Some networks take views that need the usual order, or have kernels of three axes. They and their inputs keep it.
    """
    changed = [channels_last(batch) for batch in batches]
    try:  # weights of three axes have no such order, and make this fail as well
        network = channels_last(copy_of(module))
        with torch.no_grad(), evaluating(network):
            for batch in changed[:1]:
                run_network(network, batch[:2])
    except (RuntimeError, ModelError):
        return copy_of(module), list(batches)
    return network, changed


def channels_last(one: T) -> T:
    """Lay the channels of each place side by side; a module is changed, a tensor is copied."""
    if isinstance(one, Tensor) and one.ndim != 4:
        return one
    return one.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
