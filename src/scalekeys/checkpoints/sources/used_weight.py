"""The weight that a layer will use in its next forward pass, without running one and without changing anything.

What reparametrisations by hooks put into the attribute ``weight`` is as old as the last forward pass, and asking a
parametrisation for it may take a step of a power iteration. Both are computed here from copies of what they work on.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

_NAME = "weight"


@torch.no_grad()
def used_weight(layer: nn.Module) -> Tensor:
    """Return the weight of a layer as its next forward pass in evaluation mode has it.

    `layer`: neither its parameters and buffers nor its mode change, and no random numbers are drawn.

    >>> layer = nn.utils.spectral_norm(nn.Conv2d(4, 4, 3, groups=4))
    >>> used_weight(layer).shape
    torch.Size([4, 1, 3, 3])
    """
    hooks = [hook for hook in layer._forward_pre_hooks.values() if isinstance(hook, _HOOKS)]
    if is_parametrized(layer, _NAME):
        parametrization: Any = layer.get_submodule(f"parametrizations.{_NAME}")
        with torch.random.fork_rng(devices=[]):
            weight: Tensor = copy.deepcopy(parametrization).eval()()
        return weight
    return _after_hooks(layer, hooks) if hooks else getattr(layer, _NAME)


def _after_hooks(layer: nn.Module, hooks: list[Any]) -> Tensor:
    """Compute what the hooks of a layer would set, in their order, each from what the former have set."""
    stand_in = copy.copy(layer)
    for registry in ("_parameters", "_buffers"):
        stand_in.__dict__[registry] = dict(layer.__dict__[registry])
    for hook in hooks:
        if isinstance(hook, BasePruningMethod):
            name, value = hook._tensor_name, hook.apply_mask(stand_in)
        elif isinstance(hook, SpectralNorm):
            name, value = hook.name, hook.compute_weight(stand_in, do_power_iteration=False)
        else:
            name, value = hook.name, hook.compute_weight(stand_in)
        setattr(stand_in, name, value)
    weight: Tensor = getattr(stand_in, _NAME)
    return weight


_HOOKS = (BasePruningMethod, SpectralNorm, WeightNorm)
