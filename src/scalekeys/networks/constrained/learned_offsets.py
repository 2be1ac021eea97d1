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

    Parameters
    ----------
    like : Tensor, shape (channels, 1, *sides)
        The weight, of the type and on the device that the constants have.

    Attributes
    ----------
    offset : Parameter, shape (channels,)
        What is added to each tap of a filter; 0 at first.
    """

    def __init__(self, like: Float[Tensor, "channels 1 *sides"]) -> None:
        super().__init__()
        self.offset = nn.Parameter(like.new_zeros(len(like)))

    def forward(self, weight: Float[Tensor, "channels 1 *sides"]) -> Float[Tensor, "channels 1 *sides"]:
        """Return the weight with the constants added."""
        return weight + over_taps(self.offset, weight.ndim - 1)


def learn_offsets(module: nn.Module) -> nn.Module:
    """Return a copy of a network whose depthwise filters are fixed, but for one constant for each that is learned.

    Parameters
    ----------
    module : nn.Module
        The network; it stays as it is. Data-parallel and compiled wrappers around it are left off in the copy.

    Returns
    -------
    nn.Module
        With the same outputs. :func:`scalekeys.bake` makes its weights plain.

    Raises
    ------
    CheckpointError
        If the network cannot be read.
    ModelError
        If a weight is computed in a way that cannot be taken off.

    References
    ----------
    The third experiment that T. Lindeberg, Z. Babaiee and P. M. Kiasari published beside JMIV 68(3):22, 2026.

    Examples
    --------
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
