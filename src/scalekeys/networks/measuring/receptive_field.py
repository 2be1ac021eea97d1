"""The effective receptive field behind each convolution of a network: measured by gradients, beside its prediction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.core.kinds import EVERY, Wanted, kinds_asked
from scalekeys.checkpoints.sources.module import open_module, unwrapped
from scalekeys.errors import FilterError, ModelError
from scalekeys.filters.bank import FilterBank
from scalekeys.filters.choice import matches, no_such_layer
from scalekeys.filters.reach import Reach, Sides, predicted_reach
from scalekeys.networks.running.batches import (
    Batches,
    evaluating,
    inputs_of,
    run_network,
    uncheckpointed,
    uncompiled,
    with_gradients,
)
from scalekeys.networks.running.depthwise_layers import Convolution, not_finite
from scalekeys.networks.running.functional_calls import functional_calls
from scalekeys.networks.running.hooks import hooked

_Moments: TypeAlias = Tensor
"""Sums of the absolute gradient of each input, times powers 0 to 2 of the place; shape (inputs, axes, 3), float64."""


@dataclass(frozen=True)
class ReceptiveField:
    """The effective receptive field behind one layer, in samples (pixels) of the input.

    Every tuple has a number for each axis, in the order of the axes of the input: (cols,), (rows, cols) or (slices,
    rows, cols).

    Parameters
    ----------
    layer : str
    pitch : tuple of float or None
        How far apart the samples lie that the layer is given; None where it is not known.
    predicted : tuple of float or None
        The standard deviation by the rule of :func:`scalekeys.filters.reach.predicted_reach`, for a single path; None
        where the pitch of the layer, or of one called before it, is not known.
    measured : tuple of float
        The standard deviation of the absolute gradient. NaN where the central unit does not depend on the inputs.
    error : tuple of float
        The standard error of `measured` over the inputs; NaN for a single input.
    size : tuple of float or None
        The sides of the theoretical receptive field on a single path; None where `predicted` is.
    """

    layer: str
    pitch: Sides | None
    predicted: Sides | None
    measured: Sides
    error: Sides
    size: Sides | None

    @property
    def width(self) -> Sides:
        """Four measured standard deviations, which hold 95 % of a Gaussian."""
        return tuple(4 * sigma for sigma in self.measured)


@with_gradients()
def receptive_field(
    module: nn.Module, batches: Batches, *, layers: Sequence[str] | None = None, seed: int = 0
) -> tuple[ReceptiveField, ...]:
    r"""Measure the effective receptive field behind each convolution of a network, and predict it from its filters.

    Parameters
    ----------
    module : nn.Module
        The network. It runs in evaluation mode and comes back as it was, without gradients.
    batches : iterable
        Batches of inputs in any form that data loaders give; a tensor is one batch. Noise shows the network alone,
        images what it does with images.
    layers : sequence of str, optional
        Only behind the layers of these names, in which ``*`` stands for anything; by default behind all convolutions
        with kernels of more than one value. Transposed convolutions are not measured.
    seed : int
        Of the random signs.

    Returns
    -------
    tuple of ReceptiveField
        In the order in which the network first calls the layers; layers that it does not call are left out.

    Raises
    ------
    CheckpointError
        If the network cannot be read, or has no convolutions.
    ModelError
        If there are no inputs, these are whole numbers or have too few dimensions, no layer is called, or the network
        cuts its gradients off.
    FilterError
        If no layer has such a name, or gradients are not finite.

    Notes
    -----
    With random signs :math:`s_c`, the central unit u of the output y of a layer and an input x,

    .. math:: m(p) = \sum_{x, i} \left| \frac{\partial}{\partial x_i(p)} \sum_c s_c\, y_c(u) \right| , \qquad
              \sigma^2 = \frac{\sum_p (p - \bar p)^2 m(p)}{\sum_p m(p)}

    along each axis, where i runs over the channels of the input. The signs keep the channels of the layer from
    cancelling or adding up in the same way everywhere. The field ends where the input does: uniform weight over n
    samples has a standard deviation of :math:`n / \sqrt{12}`, and no measured one can be much larger. The standard
    error is that of the linearised ratio of two sums over the inputs. The prediction takes all layers, in the order of
    their calls, for a single path; residual connections make the measured field smaller.

    References
    ----------
    Luo, Li, Urtasun, Zemel, "Understanding the effective receptive field in deep convolutional neural networks",
    NeurIPS 2016: the gradient of a central unit. They look at the channels one by one; random signs take all at once.

    Examples
    --------
    Two layers of discrete Gaussians, of variance 1/2 and 1, the second behind a stride of 2: 1/2 + 4 = 4.5.

    >>> import scalekeys as sk
    >>> network = nn.Sequential(
    ...     nn.Conv2d(4, 4, 13, stride=2, padding=6, groups=4), nn.Conv2d(4, 4, 13, padding=6, groups=4)
    ... )
    >>> with torch.no_grad():
    ...     for layer, t in zip(network, (0.5, 1.0)):
    ...         kernel = sk.scalespace.discrete_gaussian(torch.tensor(t, dtype=torch.float64), radius=6)
    ...         _ = layer.weight.copy_(torch.outer(kernel, kernel))
    >>> first, second = sk.receptive_field(network, torch.randn(2, 4, 64, 64))
    >>> [round(sigma**2, 3) for sigma in (*second.predicted, *second.measured)], second.pitch, second.size
    ([4.5, 4.5, 4.5, 4.5], (2.0, 2.0), (37.0, 37.0))
    """
    opened = open_module(module, Wanted(kinds=kinds_asked(EVERY)))
    bank, network = opened.bank(), unwrapped(module)
    convolutions = {one.name: network.get_submodule(one.key.rpartition(".")[0]) for one in opened.layers}
    chosen = _chosen(convolutions, layers)
    axes = max(len(layer.kernel_size) for layer in chosen.values())
    chosen = {name: layer for name, layer in chosen.items() if len(layer.kernel_size) == axes}
    watcher = _Watcher(chosen, seed)
    sums: dict[str, list[_Moments]] = {}
    with hooked(convolutions, watcher.see), evaluating(network):
        for number, inputs in enumerate(inputs_of(batches, network), start=1):
            for name, moments in watcher.run(network, _leaf(inputs, axes, number), axes).items():
                sums.setdefault(name, []).append(moments)
    if not sums:
        raise ModelError(
            f"{opened.label}: no input reached a convolution; give a network whose forward calls its layers"
        )
    predicted = _predicted(bank, watcher.called, convolutions)
    pitches = {layer.name: layer.pitch for layer in bank.layers}
    return tuple(
        _field(name, pitches[name], predicted[name], torch.cat(sums[name])) for name in watcher.called if name in sums
    )


class _Watcher:
    """Sees the central units of some layers, where a network first calls them."""

    def __init__(self, chosen: Mapping[str, Convolution], seed: int) -> None:
        self.called: list[str] = []
        self._chosen = chosen
        self._signs = {name: torch.Generator().manual_seed(seed) for name in chosen}  # however inputs come in batches
        self._units: dict[str, Tensor] = {}

    def run(self, network: nn.Module, inputs: Tensor, axes: int) -> dict[str, _Moments]:
        """Run a batch, and return the moments of the gradient of each layer."""
        self._units.clear()
        with uncompiled(), uncheckpointed(), functional_calls(self._chosen.values()):
            run_network(network, inputs)
        return {name: _moments(name, unit, inputs, axes, self._signs[name]) for name, unit in self._units.items()}

    def see(self, name: str, _layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        """Note a call of a convolution: the order of the first calls decides the prediction."""
        if name not in self.called:
            self.called.append(name)
        if name in self._chosen and name not in self._units:
            centre = output
            for _ in self._chosen[name].kernel_size:
                centre = centre.select(-1, centre.shape[-1] // 2)
            self._units[name] = centre.clone()  # what comes next may change the output in place


def _chosen(convolutions: Mapping[str, nn.Module], patterns: Sequence[str] | None) -> dict[str, Convolution]:
    able = {name: layer for name, layer in convolutions.items() if isinstance(layer, Convolution)}
    chosen = {name: layer for name, layer in able.items() if matches(name, patterns)}
    if not chosen:
        raise FilterError(no_such_layer(patterns or "*", list(able)))
    return chosen


def _leaf(inputs: Tensor, axes: int, number: int) -> Tensor:
    """Return inputs that take gradients, the given ones left as they are."""
    if not inputs.is_floating_point():
        raise ModelError(f"batch {number}: its inputs are {inputs.dtype}, which have no gradient; give floating point")
    if inputs.ndim <= axes or not len(inputs):
        raise ModelError(
            f"batch {number}: its inputs have shape {tuple(inputs.shape)}; give (inputs, channels, *sides), at least "
            f"one input with {axes} sides"
        )
    return inputs.detach().clone().requires_grad_()


def _moments(name: str, unit: Tensor, inputs: Tensor, axes: int, signs: torch.Generator) -> _Moments:
    """Return moments of the absolute gradient of a unit of each input, its channels with random signs."""
    drawn = torch.randint(0, 2, unit.shape, generator=signs).to(unit) * 2 - 1
    gradient = None
    if unit.requires_grad:
        (gradient,) = torch.autograd.grad((unit * drawn).sum(), inputs, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise ModelError(f"layer {name!r}: does not pass gradients to the inputs; take off what detaches them")
    size = gradient.double().abs().cpu()
    if not bool(size.isfinite().all()):
        raise not_finite(name)
    return torch.stack([_powers(size, axis) for axis in range(-axes, 0)], dim=1)


def _powers(size: Tensor, axis: int) -> Tensor:
    """Return sums over one axis, times powers 0 to 2 of the place from the middle; shape (inputs, 3)."""
    along = size.movedim(axis, -1).flatten(1, -2).sum(1) if size.ndim > 2 else size
    place = torch.arange(along.shape[-1], dtype=along.dtype) - (along.shape[-1] - 1) / 2
    return torch.stack([(along * place**power).sum(-1) for power in range(3)], dim=-1)


def _predicted(
    bank: FilterBank, called: Sequence[str], convolutions: Mapping[str, nn.Module]
) -> dict[str, Reach | None]:
    """Predict what is behind each layer that is called; after a transposed one nothing is known."""
    layers = {layer.name: layer for layer in bank.layers}
    path = [
        layers[name] if isinstance(convolutions[name], Convolution) else replace(layers[name], pitch=None)
        for name in called
    ]
    return dict(zip(called, predicted_reach(FilterBank(tuple(path))), strict=True))


def _field(name: str, pitch: Sides | None, predicted: Reach | None, sums: _Moments) -> ReceptiveField:
    """Return the field of a layer from the moments of all inputs."""
    count = len(sums)
    mass, first, second = sums.sum(0).unbind(-1)
    mean = first / mass
    around = sums[..., 2] - 2 * mean * sums[..., 1] + mean.square() * sums[..., 0]
    variance = (second / mass - mean.square()).clamp_min(0)
    rest = (around - variance * sums[..., 0]).square().sum(0)
    error = (rest * count / (count - 1)).sqrt() / mass if count > 1 else torch.full_like(mass, torch.nan)
    sigma = variance.sqrt()
    return ReceptiveField(
        name,
        pitch,
        None if predicted is None else predicted.sigma,
        tuple(sigma.tolist()),
        tuple((error / (2 * sigma)).tolist()),
        None if predicted is None else predicted.size,
    )
