"""Replacing the depthwise filters of a network by their models."""

from collections.abc import Sequence

from torch import nn

from scalekeys.errors import ModelError
from scalekeys.filters.replacement import Modelled, replacement
from scalekeys.networks.constrained.filters_together import release
from scalekeys.networks.running.depthwise_layers import copied, keeping_ties, make_plain, write


def replace(
    module: nn.Module,
    modelled: Modelled,
    *,
    layers: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    min_r2: float | None = None,
) -> nn.Module:
    """Return a copy of a network whose depthwise filters are replaced by their models.

    Parameters
    ----------
    module : nn.Module
        The network; it stays as it is. Data-parallel and compiled wrappers around it are left off in the copy.
    modelled : Fit, KeyAssignment, NoiseModel or Replacement
        Models of the filters that :func:`scalekeys.extract` gives for this network.
    layers : sequence of str, optional
        Only in the layers of these names, in which ``*`` stands for anything; by default in all.
    keep : sequence of str, optional
        Not in the layers of these names.
    min_r2 : float, optional
        Only filters of whose energy the model explains at least this share; by default all that have a model.

    Returns
    -------
    nn.Module
        Of the same dtypes and devices. Weights of the layers in question that were computed (pruned, normalised,
        constrained) are plain parameters in it. Layers that share a weight share the new one where both are given the
        same filters.

    Raises
    ------
    CheckpointError
        If the network cannot be read.
    FilterError
        If no layer has such a name, or all that have are kept, or the threshold is no number up to 1.
    ModelError
        If there are no models, or these are of another network: layers of other names, or filters of other shapes.

    References
    ----------
    Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026, replace the filters of ConvNeXt by idealized ones in this way.

    Examples
    --------
    >>> import torch, scalekeys as sk
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 7, padding=3, groups=8))
    >>> with torch.no_grad():
    ...     _ = network[1].weight.copy_(sk.master_keys()[:, None])
    >>> fit = sk.fit(sk.extract(network))
    >>> replaced = sk.replace(network, fit)
    >>> bool((replaced[1].weight[:, 0] - fit.kernels().layers[0].kernels).abs().max() < 1e-7)
    True
    """
    if not isinstance(modelled, Modelled):
        raise ModelError(
            f"replace needs models of the filters, such as sk.fit(sk.extract(module)), got {type(modelled).__name__}"
        )
    network, found = copied(module, modelled.bank)
    chosen = replacement(modelled, layers=layers, keep=keep, min_r2=min_r2)
    with keeping_ties(found.values()):
        for layer, part in chosen.filters.parts():
            rows = chosen.replaced[part].nonzero()[:, 0]
            if len(rows):
                write(make_plain(found[layer.name], layer.name), rows, layer.kernels[rows])
    release(network)
    return network
