"""Hooks on some layers of a network, for as long as they are wanted."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import nn

from scalekeys.networks.running.batches import evaluating, uncompiled
from scalekeys.networks.running.depthwise_layers import Convolution
from scalekeys.networks.running.functional_calls import functional_calls


@contextmanager
def hooked(layers: Mapping[str, nn.Module], hook: Callable[..., Any], *, before: bool = False) -> Iterator[None]:
    """Keep a hook on layers, which is called with the name of the layer and what PyTorch gives hooks.

    `before`: whether it is called before the layer runs, without an output. The hook cannot change the input.
    Inputs that a network gives by keyword come as the positional ones do.

    >>> import torch
    >>> with hooked({"dw": (layer := nn.Identity())}, lambda name, _layer, inputs, output: print(name, output)):
    ...     _ = layer(torch.ones(1))
    dw tensor([1.])
    """

    def called(name: str, layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any], *output: Any) -> Any:
        return hook(name, layer, (*given, *named.values()), *output)

    with ExitStack() as stack:
        for name, layer in layers.items():
            register = layer.register_forward_pre_hook if before else layer.register_forward_hook
            stack.callback(register(partial(called, name), with_kwargs=True).remove)
        yield


@contextmanager
def watched(
    network: nn.Module, layers: Mapping[str, Convolution], hook: Callable[..., Any], *, before: bool = False
) -> Iterator[None]:
    """Keep a hook on layers, and the network in evaluation mode, so that the hook sees every call of their weights."""
    with hooked(layers, hook, before=before), uncompiled(), evaluating(network), functional_calls(layers.values()):
        yield
