"""Which parameters are changed how much: groups, the learning rate over time, and averaged weights."""

import re
from collections.abc import Callable, Sequence
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from scalekeys.checkpoints.sources.module import open_module
from scalekeys.training.blocks import HEAD, block_names
from scalekeys.training.recipe import Depthwise, Optimizer

_FUNCTION = re.compile(r"(?<![^.])(parametrizations\.weight\.0|kernel)\..*")
"""Stands behind the name of a layer in the names of what its weight is a function of."""


def optimizer_of(network: nn.Module, wanted: Optimizer, depthwise: Depthwise) -> torch.optim.AdamW:
    """Make the optimiser of the parameters that take gradients.

    `depthwise`: says the weight decay of depthwise weights, and of what these are functions of.
    """
    groups = parameter_groups(network, wanted, depthwise)
    return torch.optim.AdamW(groups, lr=wanted.learning_rate, betas=wanted.betas, fused=True)


def parameter_groups(network: nn.Module, wanted: Optimizer, depthwise: Depthwise) -> list[dict[str, Any]]:
    """Group parameters by weight decay and by block; `rate` is the factor of the learning rate.

    Biases and factors of normalisations have one axis and no weight decay.

    >>> from scalekeys.training.cifar_convnext import CifarConvNeXt
    >>> network, depthwise = CifarConvNeXt(10, (8,), (1,)), Depthwise(weight_decay=1.0)
    >>> groups = parameter_groups(network, Optimizer(layer_decay=0.5), depthwise)
    >>> [(group["rate"], group["weight_decay"], len(group["params"])) for group in groups]
    [(0.25, 0.05, 1), (0.25, 0.0, 3), (0.5, 1.0, 1), (0.5, 0.0, 5), (0.5, 0.05, 2), (1.0, 0.0, 3), (1.0, 0.05, 1)]
    """
    blocks, weights = block_names(network), {layer.key for layer in open_module(network).layers}
    last = max(blocks.values(), default=0) + 1
    free = wanted.weight_decay if depthwise.weight_decay is None else depthwise.weight_decay
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        block = last if blocks[name] == HEAD else blocks[name]
        rate = wanted.layer_decay ** (last - block)
        if name not in weights and _FUNCTION.sub("weight", name) in weights:
            decay = depthwise.parameter_decay
        else:
            decay = 0.0 if parameter.ndim < 2 else free if name in weights else wanted.weight_decay
        groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": found, "weight_decay": decay, "rate": rate} for (rate, decay), found in groups.items()]


def rate_at(progress: float, warmup: float, wanted: Optimizer, batch: int) -> float:
    """Return the learning rate at a share of a training, of which a share `warmup` is a linear rise.

    >>> [rate_at(progress, 0.5, Optimizer(learning_rate=1.0), 256) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    [0.0, 0.5, 1.0, 0.5..., 0.0]
    """
    largest = wanted.learning_rate * batch / wanted.reference_batch
    if progress < warmup:
        return largest * progress / warmup
    share = (1 + cos(pi * (progress - warmup) / max(1 - warmup, 1e-12))) / 2
    return largest * (wanted.final_learning_rate + (1 - wanted.final_learning_rate) * share)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of each group, with its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate"]


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Return a moving average of the weights of a network; early steps count for more, so that it can follow."""
    return AveragedModel(network, multi_avg_fn=_moving(decay))


def _moving(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    @torch.no_grad()
    def update(average: Sequence[Tensor], now: Sequence[Tensor], steps: Tensor | int) -> None:
        kept = min(decay, (1 + float(steps)) / (10 + float(steps)))
        torch._foreach_lerp_(list(average), list(now), 1 - kept)

    return update
