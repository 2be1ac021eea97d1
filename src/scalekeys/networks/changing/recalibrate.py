"""Statistics of a network made to fit its changed weights again, from inputs without labels."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from scalekeys.checkpoints.sources.module import open_module, unwrapped
from scalekeys.errors import ModelError
from scalekeys.networks.changing.match_statistics import (
    BatchNorm,
    Channels,
    batch_norms,
    match_outputs,
    normalised,
    set_statistics,
)
from scalekeys.networks.running.batches import Batches, inputs_of
from scalekeys.networks.running.depthwise_layers import Convolution, copy_of, depthwise_layers, not_finite
from scalekeys.networks.running.lockstep import Change, run_together
from scalekeys.networks.running.running_moments import ChannelMoments


def recalibrate(module: nn.Module, batches: Batches, reference: nn.Module | None = None) -> nn.Module:
    r"""Return a copy of a network whose statistics fit its weights again, after some of these were changed.

    Parameters
    ----------
    module : nn.Module
        The network; it stays as it is. Data-parallel and compiled wrappers around it are left off in the copy.
    batches : iterable
        Batches of inputs as the network takes them, preprocessed, in any form that data loaders give; labels are not
        looked at. A few hundred images are enough. They are kept in memory.
    reference : nn.Module, optional
        The network before it was changed. Networks without batch norm need it.

    Returns
    -------
    nn.Module
        In the mode, the dtypes and on the devices of `module`.

    Raises
    ------
    CheckpointError
        If the network cannot be read.
    ModelError
        If there are no inputs, there is nothing to recalibrate, or the reference has other layers.
    FilterError
        If what comes to a layer is not finite.

    Notes
    -----
    All inputs go through the network together, in evaluation mode, layer by layer: when they have come to a layer, it
    gets its new statistics, and only then they go on. So every layer sees what it will see when the network is used,
    and it does not matter how the inputs come in batches. (Running averages of networks in training mode, as
    ``torch.optim.swa_utils.update_bn`` takes them, depend on the size of a batch, miss the variance between batches,
    and let each layer see a network that is never used.) A layer that is called several times is given, at each call,
    the statistics of all calls so far.

    Without a reference the mean and the unbiased variance of each batch norm become those of its input.

    With a reference they become those with which the *outputs* of the batch norm have the mean and the variance that
    they have in the reference for the same inputs, as far as its epsilon lets them, so that what is peculiar about
    these inputs cancels. Depthwise layers that are not followed directly by a batch norm get a weight :math:`s w` and a
    bias :math:`s (b - m) + m_0` instead, :math:`s = \sigma_0 / \sigma`, channel by channel: that gives their outputs of
    mean m and deviation :math:`\sigma` the mean and the deviation of the reference; where an output does not vary, only
    the mean. A layer without a bias is given one. Constrained layers stay constrained: their amplitudes and offsets are
    multiplied. Other computed weights become plain parameters, and a weight that layers shared one parameter for each.

    Examples
    --------
    >>> import torch
    >>> generator = torch.Generator().manual_seed(0)
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    >>> found = recalibrate(network, [torch.randn(8, 3, 16, 16, generator=generator) for _ in range(4)])
    >>> outputs = found.eval()(torch.randn(8, 3, 16, 16, generator=generator))
    >>> bool(outputs.std((0, 2, 3)).sub(1).abs().max() < 0.05)
    True
    """
    opened = open_module(module)
    network = copy_of(module)
    inputs = [one for one in inputs_of(batches, network) if len(one)]
    if not inputs:
        raise ModelError("the batches hold no inputs; give a few hundred")
    norms, layers = batch_norms(network), dict[str, Convolution]()
    wanted, normalised_next = dict[str, Channels](), set[str]()
    if reference is not None:
        layers = depthwise_layers(network, opened)
        wanted, normalised_next = _wanted_of(reference, inputs, norms, layers)
    if not norms and not layers:
        raise ModelError(f"{opened.label}: {_NOTHING if reference is None else _NOTHING_AT_ALL}")
    seen: dict[str, ChannelMoments] = {}

    def meeting(name: str, values: Sequence[Tensor]) -> Change | None:
        if name in norms:
            set_statistics(norms[name], name, _added(seen, name, values), wanted.get(name))
            return None
        if name in seen:
            return None
        return match_outputs(layers[name], name, _added(seen, name, values), wanted[name])

    matched = {name: layer for name, layer in layers.items() if name in wanted and name not in normalised_next}
    run_together(network, inputs, meeting, inputs=norms, outputs=matched)
    if not seen:
        raise ModelError(f"{opened.label}: no input reached a layer to recalibrate; give one whose forward calls them")
    return network


_NOTHING = (
    "has no batch norm whose statistics could be taken anew; give the network before its filters were changed as the "
    "reference, and its depthwise layers are matched"
)
_NOTHING_AT_ALL = "has neither batch norms nor depthwise layers to recalibrate"


def _wanted_of(
    module: nn.Module, inputs: Sequence[Tensor], norms: Mapping[str, BatchNorm], layers: Mapping[str, Convolution]
) -> tuple[dict[str, Channels], set[str]]:
    """Return the normalised values in the batch norms of a reference, and the outputs of its depthwise layers, by name.

    Second, the names of the depthwise layers whose outputs go right into a batch norm.
    """
    reference = unwrapped(module)
    its_norms, its_layers = batch_norms(reference), depthwise_layers(reference, open_module(reference))
    _check_reference(_channels(its_norms, its_layers), _channels(norms, layers))
    seen: dict[str, ChannelMoments] = {}
    wanted, normalised_next, outputs = dict[str, Channels](), set[str](), dict[str, Tensor]()

    def meeting(name: str, values: Sequence[Tensor]) -> None:
        if name in its_norms:
            wanted[name] = normalised(its_norms[name], _added(seen, name, values))
            normalised_next.update(layer for layer, output in outputs.items() if output is values[0])
        elif name not in seen:
            wanted[name] = Channels.of(_added(seen, name, values))
        outputs.clear()
        outputs[name] = values[0]

    run_together(reference, list(inputs_of(inputs, reference)), meeting, inputs=its_norms, outputs=its_layers)
    return wanted, normalised_next


def _channels(norms: Mapping[str, BatchNorm], layers: Mapping[str, Convolution]) -> dict[str, int]:
    return {name: norm.num_features for name, norm in norms.items()} | {
        name: layer.out_channels for name, layer in layers.items()
    }


def _check_reference(there: Mapping[str, int], here: Mapping[str, int]) -> None:
    """Refuse a reference with other layers."""
    for name, channels in here.items():
        if there.get(name) != channels:
            fault = (
                f"layer {name!r} has {there[name]} channels in the reference and {channels} in the network"
                if name in there
                else f"the reference does not have layer {name!r}"
            )
            raise ModelError(f"{fault}; give the network before its filters were changed")


def _added(seen: dict[str, ChannelMoments], name: str, values: Sequence[Tensor]) -> ChannelMoments:
    """Add the values of all batches to what has been seen at a layer."""
    if name not in seen:
        seen[name] = ChannelMoments(values[0].shape[1], values[0].device)
    for value in values:
        seen[name].add(value)
    if not bool(seen[name].squares.isfinite().all()):
        raise not_finite(name)
    return seen[name]
