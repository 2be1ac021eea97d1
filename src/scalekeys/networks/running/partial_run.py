"""A network run from one of its depthwise layers to the next, so that what this layer changes can be seen there."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scalekeys.errors import ModelError
from scalekeys.networks.running.batches import logits_of, run_network, uncheckpointed, uncompiled
from scalekeys.networks.running.convolution_calls import convolution_calls
from scalekeys.networks.running.depthwise_layers import Convolution
from scalekeys.networks.running.functional_calls import functional_calls
from scalekeys.networks.running.hooks import hooked, watched
from scalekeys.networks.running.running_moments import PatchGeometry
from scalekeys.networks.running.suspended_run import SuspendedRun


@dataclass(frozen=True, eq=False)
class Passage:
    """What one batch is at a layer, and where its outputs are next looked at."""

    inputs: Tensor
    """Of the convolution of the layer."""
    geometry: PatchGeometry
    """Where the patches lie that it multiplies."""
    outputs: Tensor
    """Of the convolution; a leaf that takes gradients if these were asked for."""
    target: Tensor
    """The input of a layer further on, or what the network gives."""


class _Arrived(BaseException):
    """Ends a run at the layer where it is no longer of interest."""


class _Watch:
    """What is seen of one run of a network between two layers."""

    def __init__(self, *, gradients: bool, if_reached: bool) -> None:
        self.gradients, self.if_reached = gradients, if_reached
        self.inputs: Tensor | None = None
        self.geometry: PatchGeometry | None = None
        self.outputs: Tensor | None = None
        self.calls = 0
        self.target: Tensor | None = None
        self.arrived: str | None = None

    def see(self, name: str, inputs: Tensor, geometry: PatchGeometry, output: Tensor) -> Tensor | None:  # noqa: ARG002
        self.calls += 1
        self.inputs, self.geometry = inputs.detach(), geometry
        self.outputs = output.detach().requires_grad_(self.gradients)
        return self.outputs.clone() if self.gradients else None  # a clone, which may be changed in place

    def arrive(self, name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if self.outputs is not None and (not self.if_reached or inputs[0].requires_grad):
            self.target, self.arrived = inputs[0], name
            raise _Arrived


def run_between(run: SuspendedRun, layer: Convolution, end: Convolution | None, *, gradients: bool) -> Passage:
    """Run a batch to the input of a layer `end`, or to the outputs of the network, and see what it is at `layer`.

    `run`: suspended nowhere behind the layer, of a network of which no parameter takes gradients.
    `gradients`: whether the target is to be differentiated with respect to the outputs of the layer.
    """
    watch = _Watch(gradients=gradients, if_reached=False)
    _go(run, layer, watch, {} if end is None else {"end": end})
    assert watch.inputs is not None
    assert watch.geometry is not None
    assert watch.outputs is not None
    assert watch.target is not None
    return Passage(watch.inputs, watch.geometry, watch.outputs, watch.target)


def next_layer(run: SuspendedRun, layer: Convolution, layers: Mapping[str, Convolution]) -> tuple[int, str | None]:
    """Return how often a layer convolves, and the first layer called after it whose input depends on its outputs.

    The name is None if there is no such layer before the end of the network. The count is that up to the next layer.
    """
    watch = _Watch(gradients=True, if_reached=True)
    _go(run, layer, watch, {name: one for name, one in layers.items() if one is not layer})
    return watch.calls, watch.arrived


def call_order(network: nn.Module, inputs: Tensor, layers: Mapping[str, Convolution]) -> list[str]:
    """Return the names of the layers that a batch goes through, in order, each as often as it is called."""
    called: list[str] = []

    with torch.no_grad(), watched(network, layers, lambda name, *_: called.append(name), before=True):
        run_network(network, inputs)
    return called


def _go(run: SuspendedRun, layer: Convolution, watch: _Watch, stops: Mapping[str, Convolution]) -> None:
    batch = run.batch.clone()
    with (
        hooked(stops, watch.arrive, before=True),
        torch.set_grad_enabled(watch.gradients),
        uncompiled(),
        uncheckpointed(),
        convolution_calls({"": layer}, watch.see),
        functional_calls([layer, *stops.values()]),
        run.resumed(),
        suppress(_Arrived),
    ):
        watch.target = _tensor_of(run.network(batch))


def _tensor_of(output: Any) -> Tensor:
    """Return what a network gives, the logits if there are any."""
    found = logits_of(output)
    if found is None and isinstance(output, Mapping):
        found = next((value for value in output.values() if isinstance(value, Tensor)), None)
    if found is None:
        raise ModelError(f"the network gives a {type(output).__name__} without a tensor; give one that returns tensors")
    return found
