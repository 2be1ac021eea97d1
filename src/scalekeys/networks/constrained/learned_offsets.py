"""Depthwise weights that are fixed but for one additive constant for each filter."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from scalekeys.checkpoints.sources.module import open_module
from scalekeys.networks.constrained.filters_together import release
from scalekeys.networks.running.depthwise_layers import copy_of, depthwise_layers, make_plain
from scalekeys.shapes import over_taps


class AddedConstant(nn.Module):
    """A depthwise weight plus a constant for each filter, as a parametrization.

    `like`: the weight, of the type and on the device that the constants have.
    `offset`: shape (channels,); what is added to each tap of a filter; 0 at first.
    """

    def __init__(self, like: Float[Tensor, "channels 1 *sides"]) -> None:
        super().__init__()
        self.offset = nn.Parameter(like.new_zeros(len(like)))

    def forward(self, weight: Float[Tensor, "channels 1 *sides"]) -> Float[Tensor, "channels 1 *sides"]:
        """Return the weight with the constants added."""
        return weight + over_taps(self.offset, weight.ndim - 1)


def learn_offsets(module: nn.Module) -> nn.Module:
    """Return a copy of a network whose depthwise filters are fixed, but for one constant for each that is learned.

    Its outputs are the same at first. Data-parallel and compiled wrappers around the network are left off in the copy,
    and :func:`scalekeys.bake` makes its weights plain. This is the third experiment that T. Lindeberg, Z. Babaiee and
    P. M. Kiasari published beside JMIV 68(3):22, 2026.

    Raises CheckpointError if the network cannot be read; ModelError if a weight is computed in a way that cannot be
    taken off.

    >>> network = learn_offsets(nn.Conv2d(8, 8, 7, groups=8, bias=False))
    >>> [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    ['parametrizations.weight.0.offset']
    """
    network = copy_of(module)
    for name, layer in depthwise_layers(network, open_module(network)).items():
        weight = make_plain(layer, name).requires_grad_(False)
        parametrize.register_parametrization(layer, "weight", AddedConstant(weight.detach()))
    release(network)
    return network
