"""A network with layers of the sizes that its weights have."""

from collections.abc import Mapping

from torch import Tensor, nn

from scalekeys.checkpoints.loading import keys_by_name
from scalekeys.checkpoints.sources.source import Source, open_source
from scalekeys.errors import CheckpointError, listed
from scalekeys.networks.pruning.exported import SIZED
from scalekeys.networks.running.depthwise_layers import copy_of

_COUNTER = ".num_batches_tracked"


def load_pruned(module: nn.Module, source: Source, *, weights: str | None = None) -> nn.Module:
    """Return a copy of a network with the weights, and the numbers of channels, of a pruned one.

    Parameters
    ----------
    module : nn.Module
        The network as it was before it was pruned; it stays as it is.
    source, weights
        As for :func:`scalekeys.extract`: what ``scalekeys prune`` wrote, or the state dict of the pruned network.

    Returns
    -------
    nn.Module

    Raises
    ------
    CheckpointError
        If the source cannot be read, or its weights are not those of the network with fewer channels.

    Examples
    --------
    >>> import torch, scalekeys as sk
    >>> def build():
    ...     return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 2, 1))
    >>> network = build()
    >>> network[1].weight.data[2] = 0
    >>> small = sk.prune_dead(network, torch.zeros(1, 3, 9, 9), multiple_of=1).module
    >>> sk.load_pruned(build(), small.state_dict())[1]
    Conv2d(3, 3, kernel_size=(3, 3), stride=(1, 1), groups=3)
    """
    opened = open_source(source, weights=weights)
    own = copy_of(module).state_dict()
    keys = keys_by_name(opened, own)
    state = {name: opened.load(key) for name, key in keys.items()}
    layers = {name for name, layer in module.named_modules() if isinstance(layer, SIZED)}
    new = {name for name in state if name.endswith(".bias") and name.removesuffix(".bias") in layers}
    faults = [name for name in own if name not in state and not name.endswith(_COUNTER)]
    faults += [name for name in state if name not in own and name not in new]
    faults += [name for name in own if name in state and not _smaller(state[name], own[name])]
    if faults:
        raise CheckpointError(
            f"{opened.label}: its weights are not those of the network {type(module).__name__} with fewer channels "
            f"({listed(list(map(repr, faults)), limit=3)}); give what was made from this network"
        )
    return resized(module, {name: tensor.to(own.get(name, tensor)) for name, tensor in state.items()})


def resized(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Return a copy of a network whose parameters and buffers are those given, of whatever sizes.

    `state`: by name; a bias may be one that the network lacks.
    """
    network = copy_of(module)
    for name, tensor in state.items():
        owner, _, own = name.rpartition(".")
        layer = network.get_submodule(owner)
        before = layer._buffers[own] if own in layer._buffers else layer._parameters[own]
        if before is not None and before.shape == tensor.shape:
            before.detach().copy_(tensor)  # in place, because others may share it
        elif own in layer._buffers:
            layer._buffers[own] = tensor.detach().clone()
        else:
            like = layer._parameters["weight"] if before is None else before
            layer._parameters[own] = nn.Parameter(tensor.detach().clone(), like is None or like.requires_grad)
        if before is not None and before.shape != tensor.shape:
            _resize(layer)
    return network


def _resize(layer: nn.Module) -> None:
    """Let a layer say the numbers of channels that its parameters have."""
    if isinstance(layer, nn.modules.conv._ConvNd):
        if layer.groups == layer.in_channels > 1:
            layer.groups = layer.in_channels = len(layer.weight)
        else:
            layer.in_channels = layer.weight.shape[1] * layer.groups
        layer.out_channels = len(layer.weight)
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)
    elif isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None:
        layer.num_features = len(layer.running_mean)


def _smaller(tensor: Tensor, before: Tensor) -> bool:
    sizes = zip(tensor.shape, before.shape, strict=False)
    return tensor.ndim == before.ndim and all(size <= most for size, most in sizes)
