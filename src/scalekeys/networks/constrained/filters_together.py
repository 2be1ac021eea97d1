"""The filters of all layers of a constrained network computed together, once in each pass through the network."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from scalekeys.networks.constrained.modelled_filters import Numbers, Recipe
from scalekeys.networks.constrained.scale_space_kernel import ScaleSpaceKernel
from scalekeys.networks.constrained.separable_sums import joined

_PREPARED = "_prepared_kernels"  # an attribute of the network during a pass


def compute_together(network: nn.Module) -> None:
    """Let a network compute the filters of its constrained layers together, before each pass.

    What a layer costs hardly depends on its size, so that many at once cost little more than one. A layer that is
    called by itself, or whose numbers changed after the pass began, computes its own filters.

    Parameters
    ----------
    network : nn.Module
        Gets two hooks, if it has none of these.
    """
    if _prepare not in network._forward_pre_hooks.values():
        network.register_forward_pre_hook(_prepare)
        network.register_forward_hook(_forget, always_call=True)


def compute_alone(network: nn.Module) -> None:
    """Take the hooks of :func:`compute_together` from a network, and from all networks inside it."""
    for part in network.modules():
        for hooks in (part._forward_pre_hooks, part._forward_hooks):
            for key in [key for key, hook in hooks.items() if hook is _prepare or hook is _forget]:
                del hooks[key]
                part._forward_hooks_always_called.pop(key, None)


@contextmanager
def computed_together(network: nn.Module) -> Iterator[None]:
    """Within it, filters are those that were computed together at its start, as in a pass through the network."""
    try:
        _prepare(network, ())
        yield
    finally:
        _forget(network)


def _prepare(network: nn.Module, _: Any) -> None:
    if torch.compiler.is_compiling():
        return
    groups: dict[tuple[Any, ...], list[ScaleSpaceKernel]] = {}
    for kernel, dtype in _kernels(network):
        groups.setdefault(_kind(kernel, dtype), []).append(kernel)
    network.__dict__[_PREPARED] = [kernel for kernels in groups.values() for kernel in kernels]
    for (dtype, *_others), kernels in groups.items():
        if len(kernels) > 1:
            numbers = [kernel.numbers() for kernel in kernels]
            filters = _recipe(kernels, numbers).filters(numbers, dtype)
            for kernel, own in zip(kernels, filters, strict=True):
                kernel.prepare(own)


def _forget(network: nn.Module, *_: Any) -> None:
    for kernel in network.__dict__.pop(_PREPARED, ()):
        kernel.prepare(None)


def _kernels(network: nn.Module) -> Iterator[tuple[ScaleSpaceKernel, torch.dtype]]:
    """Return what computes the weights of layers alone, and the types of these."""
    for part in network.modules():
        if isinstance(part, ParametrizationList) and len(part) == 1 and isinstance(part[0], ScaleSpaceKernel):
            yield part[0], part.original.dtype


def _kind(kernel: ScaleSpaceKernel, dtype: torch.dtype) -> tuple[Any, ...]:
    """Return what filters that are computed together have in common."""
    tables, offset = kernel.here(), kernel.offset
    made = tables.constants.operators, tables.constants.window, tables.slot.shape[1], kernel.norm, kernel.scales.kind
    return dtype, offset.dtype, offset.device, *made


def _recipe(kernels: list[ScaleSpaceKernel], numbers: list[Numbers]) -> Recipe:
    """Return how the filters of several layers are made, from the last time or anew."""
    first, tables = kernels[0], [kernel.here() for kernel in kernels]
    last = first.recipe_together
    if last is None or len(last[0]) != len(tables) or any(a is not b for a, b in zip(last[0], tables, strict=True)):
        counts = [[len(own[place]) for own in numbers] for place in range(3)]
        made = Recipe(joined(tables, *counts), first.size, first.scales.kind, first.norm)
        first.recipe_together = last = (tables, made)
    return last[1]
