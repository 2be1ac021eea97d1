"""A network run from one of its depthwise layers to the next, so that what this layer changes can be seen there."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scalekeys.errors import ModelError
from scalekeys.networks.running.batches import evaluating, logits_of, uncompiled
from scalekeys.networks.running.depthwise_layers import Convolution
from scalekeys.networks.running.functional_calls import functional_calls


@dataclass(frozen=True, eq=False)
class Passage:
    """What one batch is at a layer, and where its outputs are next looked at.

    Parameters
    ----------
    inputs : Tensor
        Of the layer.
    outputs : Tensor
        Of the layer; a leaf that takes gradients if these were asked for.
    target : Tensor
        The input of a layer further on, or what the network gives.
    """

    inputs: Tensor
    outputs: Tensor
    target: Tensor


class _Arrived(BaseException):
    """Ends a run at the layer where it is no longer of interest."""


class _Run:
    """One run of a network, watched between two layers."""

    def __init__(self, *, gradients: bool) -> None:
        self.gradients = gradients
        self.inputs: Tensor | None = None
        self.outputs: Tensor | None = None
        self.calls = 0
        self.target: Tensor | None = None
        self.arrived: str | None = None

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:  # noqa: ARG002
        self.inputs = args[0].detach()

    def leave(self, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:  # noqa: ARG002
        self.calls += 1
        self.outputs = output.detach().requires_grad_(self.gradients)
        return self.outputs.clone() if self.gradients else None  # a clone, which may be changed in place

    def stop(self, name: str, *, if_reached: bool) -> Any:
        def arrive(module: nn.Module, args: tuple[Any, ...]) -> None:  # noqa: ARG001
            if self.outputs is not None and (not if_reached or args[0].requires_grad):
                self.target, self.arrived = args[0], name
                raise _Arrived

        return arrive


def run_between(
    network: nn.Module, inputs: Tensor, layer: Convolution, end: Convolution | None, *, gradients: bool
) -> Passage:
    """Run a batch to the input of a layer `end`, or to the outputs of the network, and see what it is at `layer`.

    Parameters
    ----------
    network : nn.Module
        Of which no parameter takes gradients; in evaluation mode.
    inputs : Tensor
    layer, end : Convolution
    gradients : bool
        Whether the target is to be differentiated with respect to the outputs of the layer.
    """
    run = _Run(gradients=gradients)
    stops = {} if end is None else {"end": end}
    _run(network, inputs, layer, run, stops, if_reached=False)
    assert run.inputs is not None
    assert run.outputs is not None
    assert run.target is not None
    return Passage(run.inputs, run.outputs, run.target)


def next_layer(
    network: nn.Module, inputs: Tensor, layer: Convolution, layers: Mapping[str, Convolution]
) -> tuple[int, str | None]:
    """Return how often a layer is called, and the first layer called after it whose input depends on its outputs.

    The name is None if there is no such layer before the end of the network. The count is that up to the next layer.
    """
    run = _Run(gradients=True)
    others = {name: one for name, one in layers.items() if one is not layer}
    _run(network, inputs, layer, run, others, if_reached=True)
    return run.calls, run.arrived


def call_order(network: nn.Module, inputs: Tensor, layers: Mapping[str, Convolution]) -> list[str]:
    """Return the names of the layers that a batch goes through, in order, each as often as it is called."""
    called: list[str] = []

    def noted(name: str) -> Any:
        return lambda *_: called.append(name)

    with ExitStack() as stack, torch.no_grad(), uncompiled(), evaluating(network), functional_calls(layers.values()):
        for name, layer in layers.items():
            stack.callback(layer.register_forward_pre_hook(noted(name)).remove)
        network(inputs)
    return called


def _run(
    network: nn.Module,
    inputs: Tensor,
    layer: Convolution,
    run: _Run,
    stops: Mapping[str, Convolution],
    *,
    if_reached: bool,
) -> None:
    with ExitStack() as stack:
        stack.enter_context(_hooked(layer, run, stops, if_reached=if_reached))
        stack.enter_context(torch.set_grad_enabled(run.gradients))
        stack.enter_context(uncompiled())
        stack.enter_context(functional_calls([layer, *stops.values()]))
        try:
            run.target = _tensor_of(network(inputs))
        except _Arrived:
            return


@contextmanager
def _hooked(layer: Convolution, run: _Run, stops: Mapping[str, Convolution], *, if_reached: bool) -> Iterator[None]:
    with ExitStack() as stack:
        stack.callback(layer.register_forward_pre_hook(run.enter).remove)
        stack.callback(layer.register_forward_hook(run.leave).remove)
        for name, end in stops.items():
            stack.callback(end.register_forward_pre_hook(run.stop(name, if_reached=if_reached)).remove)
        yield


def _tensor_of(output: Any) -> Tensor:
    """Return what a network gives, the logits if there are any."""
    found = logits_of(output)
    if found is None and isinstance(output, Mapping):
        found = next((value for value in output.values() if isinstance(value, Tensor)), None)
    if found is None:
        raise ModelError(f"the network gives a {type(output).__name__} without a tensor; give one that returns tensors")
    return found
