"""What the depthwise layers of a network see: moments of their input patches, gathered while it runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from scalekeys.checkpoints.sources.module import open_module, unwrapped
from scalekeys.errors import ModelError
from scalekeys.fitting.patch_covariance import PatchCovariance, shrunk
from scalekeys.networks.running.batches import Batches, evaluating, inputs_of, uncompiled
from scalekeys.networks.running.depthwise_layers import Convolution, depthwise_layers, not_finite
from scalekeys.networks.running.functional_calls import CONVOLVE, functional_calls
from scalekeys.networks.running.running_moments import PatchGeometry, PatchMoments


def patch_covariance(module: nn.Module, batches: Batches, *, shrink: bool = True) -> PatchCovariance:
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
        If the input of a depthwise layer is not finite.

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
    opened.bank()  # refuses what has no depthwise layers, or none with values
    network = unwrapped(module)
    layers = depthwise_layers(module, opened)
    watcher = _Watcher(layers)
    with watcher.hooked(), evaluating(network):
        for inputs in inputs_of(batches, network):
            with torch.no_grad(), uncompiled(), watcher, functional_calls(layers.values()):
                network(inputs)
    if not watcher.moments:
        raise ModelError(
            f"{opened.label}: no input reached a depthwise layer; give batches that are not empty, and a network whose "
            "forward calls its layers"
        )
    return _collected(layers, watcher.moments, shrink=shrink)


class _Watcher(TorchFunctionMode):
    """Sees the convolutions that layers call, with the maps and the paddings that these really get.

    Layers that pad by themselves, as those named after "same" padding do, are seen as they are.
    """

    def __init__(self, layers: Mapping[str, Convolution]) -> None:
        super().__init__()
        self.moments: dict[str, PatchMoments] = {}
        self._layers = layers
        self._inside: list[str] = []

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """Keep hooks on the layers that tell which of them is at work."""
        with ExitStack() as stack:
            for name, layer in self._layers.items():
                stack.callback(layer.register_forward_pre_hook(self._entering(name)).remove)
                stack.callback(layer.register_forward_hook(self._leaving).remove)
            yield

    def _entering(self, name: str) -> Callable[..., None]:
        def enter(*_: object) -> None:
            self._inside.append(name)

        return enter

    def _leaving(self, *_: object) -> None:
        self._inside.pop()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))  # which refuses what is smaller than a kernel
        if func in CONVOLVE and self._inside:
            self._see(self._inside[-1], *args, **(kwargs or {}))
        return output

    def _see(
        self,
        name: str,
        input: Tensor,  # noqa: A002
        weight: Tensor,
        bias: Tensor | None = None,  # noqa: ARG002
        stride: int | Sequence[int] = 1,
        padding: int | str | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> None:
        """Add what one call of a convolution, whose signature this is, multiplies."""
        layer = self._layers[name]
        kernel = tuple(layer.kernel_size)
        if groups != layer.in_channels or tuple(weight.shape[2:]) != kernel or not input.numel():
            return
        if not bool(input.isfinite().all()):
            raise not_finite(name)
        if name not in self.moments:
            self.moments[name] = PatchMoments(groups, prod(kernel), input.device)
        axes = len(kernel)
        steps = _for_each_axis(dilation, axes)
        geometry = PatchGeometry(kernel, _for_each_axis(stride, axes), steps, _zeros_around(padding, kernel, steps))
        self.moments[name].add(input if input.ndim == axes + 2 else input[None], geometry)


def _zeros_around(
    padding: int | str | Sequence[int], kernel: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the padding of a convolution as ``F.pad`` takes it: left, right, above, below, and so on."""
    if padding == "same":
        both = [reach * (taps - 1) for reach, taps in zip(dilation, kernel, strict=True)]
        ends = [(whole // 2, whole - whole // 2) for whole in both]
    else:
        ends = [(side, side) for side in _for_each_axis(0 if isinstance(padding, str) else padding, len(kernel))]
    return tuple(side for pair in reversed(ends) for side in pair)


def _for_each_axis(values: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (values,) * axes if isinstance(values, int) else tuple(values) * (axes // len(values))


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
