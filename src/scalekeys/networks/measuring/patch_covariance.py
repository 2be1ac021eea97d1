"""What the depthwise layers of a network see: moments of their input patches, gathered while it runs."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import ceil, prod

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.sources.module import open_module, unwrapped
from scalekeys.errors import ModelError
from scalekeys.filters.choice import matching_layers
from scalekeys.fitting.patch_covariance import PatchCovariance, shrunk
from scalekeys.networks.running.batches import Batches, evaluating, inputs_of, run_network, uncompiled
from scalekeys.networks.running.convolution_calls import convolution_calls
from scalekeys.networks.running.depthwise_layers import Convolution, depthwise_layers, not_finite
from scalekeys.networks.running.functional_calls import functional_calls
from scalekeys.networks.running.patches import Patches
from scalekeys.networks.running.running_moments import PatchGeometry, PatchMoments

_VALUES = 2**23  # in the patches that are worked on at a time


def patch_covariance(
    module: nn.Module,
    batches: Batches,
    *,
    shrink: bool = True,
    patches: int | None = None,
    layers: Sequence[str] | None = None,
) -> PatchCovariance:
    """Measure the covariance of the input patches of every depthwise layer, in one pass over some inputs.

    Parameters
    ----------
    module : nn.Module
        The network. It runs in evaluation mode, without gradients, and comes back as it was.
    batches : iterable
        Batches of images, volumes or sequences as the network takes them, preprocessed: tensors, or what data loaders
        give, which is a tuple or list whose first element is taken, or a dict with the inputs under ``pixel_values``,
        ``image``, ``input_values``, ``input_features`` or ``input_ids``. A single tensor, array or dict is one batch.
        They are brought to the device and the floating-point type of the network.
    shrink : bool
        Whether to pull the covariance of each channel towards what the channels of its layer have in common, as far as
        the number of patches demands; see :func:`scalekeys.fitting.patch_covariance.shrunk`. Without it the sample
        covariances are given, which may be singular.
    patches : int, optional
        About so many patches of each channel of an input at most, on a lattice with the same step along all axes, in
        the precision of the network; a fraction of the time. By default all, in float64.
    layers : sequence of str, optional
        Only of the layers of these names, in which ``*`` stands for anything; by default of all.

    Returns
    -------
    PatchCovariance
        On the CPU, by the names that :func:`scalekeys.extract` gives the layers.

    Raises
    ------
    CheckpointError
        If the network has no depthwise layers, or they cannot be read.
    ModelError
        If there are no batches, or a batch holds no inputs, or no input reaches a depthwise layer.
    FilterError
        If the input of a depthwise layer is not finite, or no layer has such a name.

    Notes
    -----
    Patches are exactly those that the convolutions multiply: with their stride and dilation, and with what their
    padding puts around a map, zeros included. For every filter e the mean square of its centred responses is
    ``e^T S e`` with the S of ``shrink=False``. A layer that is called several times sees the patches of all calls; one
    that is never called is listed as unseen. A convolution that the network computes with the weight of a layer,
    without calling the layer, counts as a call. Responses that a network cuts off afterwards are counted too, as those
    behind the end of a sequence that a causal convolution pads at both ends.

    A few dozen images are enough. Memory grows with the size of a batch as it does in the network itself; the sums are
    kept in float64.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 5, padding=2, groups=8))
    >>> patch_covariance(network, [torch.randn(4, 3, 32, 32, generator=generator).cumsum(-1)])
    PatchCovariance(8 channels in 1 layer, 4096 patches each, mean shrinkage 0...)
    """
    opened = open_module(module)
    bank = opened.bank()  # refuses what has no depthwise layers, or none with values
    network = unwrapped(module)
    chosen = zip(depthwise_layers(module, opened).items(), matching_layers(bank, layers), strict=True)
    watched = {name: layer for (name, layer), wanted in chosen if wanted}
    moments: dict[str, PatchMoments] = {}

    def see(name: str, maps: Tensor, geometry: PatchGeometry, _output: Tensor) -> None:
        if not bool(maps.isfinite().all()):
            raise not_finite(name)
        if name not in moments:
            moments[name] = PatchMoments(maps.shape[1], prod(geometry.kernel), maps.device)
        if patches is None:
            moments[name].add(maps, geometry)
        else:
            for seen in _on_lattice(maps, geometry, patches, moments[name].count):
                moments[name].add_patches(seen)

    with evaluating(network):
        for inputs in inputs_of(batches, network):
            with torch.no_grad(), uncompiled(), convolution_calls(watched, see), functional_calls(watched.values()):
                run_network(network, inputs)
    if not moments:
        raise ModelError(
            f"{opened.label}: no input reached a depthwise layer; give batches that are not empty, and a network whose "
            "forward calls its layers"
        )
    return _collected(watched, moments, shrink=shrink)


def _on_lattice(maps: Tensor, geometry: PatchGeometry, most: int, turn: int) -> Iterator[Tensor]:
    """Give the patches at every few places along each axis, (channels, taps, patches), of a few inputs at a time.

    The lattice begins elsewhere in each input, so that no place, such as those at the border, counts more than another.
    """
    patches = Patches(maps, geometry)
    axes = len(patches.sides)
    step = max(1, ceil((prod(patches.sides) / most) ** (1 / axes)))
    whole = torch.arange(prod(patches.sides)).view(patches.sides)
    for number, starts in enumerate(product(range(step), repeat=axes)):
        places = whole[tuple(slice(start, None, step) for start in starts)].flatten()
        inputs = torch.arange((number + turn) % step**axes, len(maps), step**axes)
        at_a_time = max(1, _VALUES // max(1, len(places) * patches.taps * maps.shape[1]))
        for some in inputs.split(at_a_time) if len(inputs) and len(places) else ():
            each, place = torch.meshgrid(some, places, indexing="ij")
            yield patches.at(each.flatten(), place.flatten())


def _collected(
    layers: Mapping[str, Convolution], moments: Mapping[str, PatchMoments], *, shrink: bool
) -> PatchCovariance:
    """Make covariances of sums, one for each output channel."""
    covariances, means, samples, shrinkage = {}, {}, {}, {}
    for name in filter(moments.__contains__, layers):
        layer, found = layers[name], moments[name]
        covariance, mean = (found.products / found.count).cpu(), found.mean.cpu()
        intensity = covariance.new_zeros(len(covariance))
        if shrink:
            covariance, intensity = shrunk(covariance, found.count)
        times = layer.out_channels // layer.in_channels
        covariances[name], means[name], shrinkage[name] = (
            values.repeat_interleave(times, dim=0) for values in (covariance, mean, intensity)
        )
        samples[name] = found.count
    unseen = tuple(name for name in layers if name not in moments)
    return PatchCovariance(covariances, means, samples, shrinkage, unseen)
