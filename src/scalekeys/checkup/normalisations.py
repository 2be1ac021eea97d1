"""The batch norms of a network: what they divide by, and what they multiply by."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.core.checkpoint import Checkpoint

_VARIANCE = re.compile(r"(?P<name>.*?)(?P<dot>[./]?)(?P<last>running_var|moving_variance)(?P<end>(?::0)?)")
_FACTORS = {"running_var": "weight", "moving_variance": "gamma"}
"""What PyTorch and Keras call the factor beside a running variance."""


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """One batch norm."""

    name: str
    variance: Tensor
    """Shape (channels,), float64. The running variance of its inputs, in squared units of the activations."""
    factor: Tensor
    """Shape (channels,), float64. What the normalised inputs are multiplied by; ones where the batch norm has no such
    parameter."""


def batch_norms_of(source: Checkpoint | nn.Module) -> tuple[BatchNorm, ...]:
    """Read the batch norms of an opened source or a network, in the order in which it holds them.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4))
    >>> [(norm.name, norm.variance.tolist()) for norm in batch_norms_of(network)]
    [('1', [1.0, 1.0, 1.0, 1.0])]
    """
    return tuple(_of_module(source) if isinstance(source, nn.Module) else _of_tensors(source))


def _of_module(network: nn.Module) -> Iterator[BatchNorm]:
    for name, layer in network.named_modules():
        variance, factor = getattr(layer, "running_var", None), getattr(layer, "weight", None)
        if isinstance(variance, Tensor) and variance.ndim == 1:
            if not isinstance(factor, Tensor) or factor.shape != variance.shape:
                factor = torch.ones_like(variance)
            yield BatchNorm(name, *(one.detach().cpu().double() for one in (variance, factor)))


def _of_tensors(opened: Checkpoint) -> Iterator[BatchNorm]:
    for key, info in opened.tensors.items():
        found = _VARIANCE.fullmatch(key)
        if found is None or len(info.shape) != 1 or not key.startswith(opened.prefix):
            continue
        name, dot, last, end = found.groups()
        variance, beside = opened.load(key).double(), f"{name}{dot}{_FACTORS[last]}{end}"
        same = beside in opened.tensors and opened.tensors[beside].shape == info.shape
        factor = opened.load(beside).double() if same else torch.ones_like(variance)
        yield BatchNorm(name.removeprefix(opened.prefix), variance, factor)
