"""The effective receptive field of a network as predicted by its filters alone: variances that add along the layers."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

from torch import Tensor

from scalekeys.filters.bank import FilterBank, LayerFilters
from scalekeys.filters.spread import spread
from scalekeys.shapes import kernel_dims, over_taps

Sides: TypeAlias = tuple[float, ...]
"""A number for each axis, in the order of the sides of a kernel: (cols,), (rows, cols) or (slices, rows, cols)."""


@dataclass(frozen=True)
class Reach:
    """The effective receptive field behind a layer, on a single path from the input.

    `added`: the variance that the filters of the layer add, for each side, in samples of the input squared.
    `flat`: the variance that flat kernels of this size would add; white noise has it on average.
    `sigma`: the standard deviation of the receptive field behind the layer, in samples of the input.
    `size`: the sides of the largest window of the input that can matter behind the layer, its theoretical receptive
    field.
    """

    added: Sides
    flat: Sides
    sigma: Sides
    size: Sides


def predicted_reach(bank: FilterBank) -> tuple[Reach | None, ...]:
    r"""Predict the receptive field behind each layer of a bank from its filters.

    `bank`: its layers in the order in which a network calls them.
    Returns one for each layer; None from the first layer on whose pitch is not known, or whose kernels have fewer axes
    than those of others.

    The layers are treated as one path, each behind the one before. With :math:`m_l` the mean of the filters of layer l,
    each in absolute value and divided by its sum, :math:`v_l` its variance along an axis, :math:`d_l` the dilation and
    :math:`p_l` the pitch,

    .. math:: \sigma_L^2 = \sum_{l \le L} (d_l p_l)^2 v_l .

    Variances of convolved non-negative kernels add exactly; for signed kernels this is an approximation. A residual
    connection bypasses a layer, which then adds less: there the rule overestimates. Dead filters are not counted. The
    theoretical receptive field is :math:`1 + \sum_l d_l p_l (k_l - 1)` for sides :math:`k_l`.

    Luo, Li, Urtasun, Zemel, "Understanding the effective receptive field in deep convolutional neural networks",
    NeurIPS 2016, section 2.

    >>> import torch
    >>> filters = torch.ones(4, 3, 3)
    >>> layers = (LayerFilters("a", filters, pitch=(1.0, 1.0)), LayerFilters("b", filters, pitch=(2.0, 2.0)))
    >>> [(round(reach.sigma[0] ** 2, 4), reach.size[0]) for reach in predicted_reach(FilterBank(layers))]
    [(0.6667, 3.0), (3.3333, 7.0)]
    """
    return tuple(_accumulated(bank))


def _accumulated(bank: FilterBank) -> Iterator[Reach | None]:
    total, size, known = (0.0,) * bank.axes, (1.0,) * bank.axes, True
    for layer, rows in bank.parts():
        known = known and layer.pitch is not None and layer.axes == len(total)
        if not known or layer.pitch is None:
            yield None
            continue
        steps = [pitch * (layer.dilation or 1) for pitch in layer.pitch]
        added = _times_squares(_variances(layer, ~bank.negligible[rows]), steps)
        flat = _times_squares([(side**2 - 1) / 12 for side in layer.size], steps)
        total = tuple(sum(pair) for pair in zip(total, added, strict=True))
        size = tuple(whole + step * (side - 1) for whole, step, side in zip(size, steps, layer.size, strict=True))
        yield Reach(added, flat, tuple(map(sqrt, total)), size)


def _variances(layer: LayerFilters, live: Tensor) -> list[float]:
    """Return the variance of the mean absolute filter for each side; zero where all filters are dead."""
    kernels = layer.kernels[live.to(layer.kernels.device)].detach().double().abs()
    peaks = kernels.flatten(1).amax(1)
    told = (peaks > 0) & kernels.flatten(1).isfinite().all(1)
    if not bool(told.any()):
        return [0.0] * layer.axes
    kernels = kernels[told] / over_taps(peaks[told], layer.axes)  # of a size whose sums are finite
    mean = (kernels / over_taps(kernels.sum(kernel_dims(layer.axes)), layer.axes)).mean(0)
    variances: list[float] = spread(mean, axes=layer.axes).covariance.diagonal().flip(0).clamp_min(0).tolist()
    return variances


def _times_squares(values: list[float], steps: list[float]) -> Sides:
    return tuple(value * step**2 for value, step in zip(values, steps, strict=True))
