"""The dead depthwise filters of a network, and the constants that they give on."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.networks.running.batches import run_network
from scalekeys.networks.running.depthwise_layers import Convolution, depthwise_layers
from scalekeys.networks.running.hooks import watched

_STILL = 1e-7  # of the largest output of the layer: the rounding of float32


@dataclass(frozen=True)
class DeadFilter:
    """A filter from which nothing comes but a constant.

    `kind`: ``"zero"``, ``"negligible"`` (its norm is below 1e-4 of the level of its layer), or ``"unmoved"``: its
    output is the same for all inputs that were given.
    `constant`: what it gives on.
    """

    layer: str
    channel: int
    kind: str
    constant: float


def dead_filters(network: nn.Module, opened: Checkpoint, inputs: Iterable[Tensor] | None = None) -> list[DeadFilter]:
    """Find the dead filters of a network, in the order of its layers.

    `opened`: the same network, opened.
    `inputs`: batches; filters whose outputs are the same for all of them are dead too.

    >>> from scalekeys.checkpoints.sources.module import open_module
    >>> network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4, bias=False))
    >>> network[0].weight.data[2] = 0
    >>> [(one.channel, one.kind) for one in dead_filters(network, open_module(network))]
    [(2, 'zero')]
    """
    layers, bank = depthwise_layers(network, opened), opened.bank()
    negligible = bank.negligible.split([len(layer) for layer in bank])
    still = {} if inputs is None else _unmoved(network, layers, inputs)
    found = []
    for layer, small in zip(bank, negligible, strict=True):
        zero = (layer.kernels == 0).flatten(1).all(-1).cpu()
        bias = layers[layer.name].bias
        constants = torch.zeros(len(layer)) if bias is None else bias.detach().cpu()
        values = still.get(layer.name, torch.full((len(layer),), torch.nan))
        for channel in (zero | small | values.isfinite()).nonzero()[:, 0].tolist():
            kind = "zero" if zero[channel] else "negligible" if small[channel] else "unmoved"
            constant = values[channel] if kind == "unmoved" else constants[channel]
            found.append(DeadFilter(layer.name, channel, kind, float(constant)))
    return found


def _unmoved(network: nn.Module, layers: dict[str, Convolution], inputs: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return for each layer the outputs of the filters that no input moves, NaN for the others."""
    least: dict[str, Tensor] = {}
    most: dict[str, Tensor] = {}

    def see(name: str, _: nn.Module, __: object, output: Tensor) -> None:
        values = output.detach().transpose(0, 1).flatten(1).cpu()
        low, high = values.amin(1), values.amax(1)
        least[name] = torch.minimum(least.get(name, low), low)
        most[name] = torch.maximum(most.get(name, high), high)

    with torch.no_grad(), watched(network, layers, see):
        for batch in inputs:
            run_network(network, batch)
    found = {}
    for name, low in least.items():
        high = most[name]
        scale = torch.maximum(low.abs(), high.abs()).amax()
        found[name] = torch.where(high - low <= _STILL * scale, (low + high) / 2, torch.nan)
    return found
