"""The filters of all layers of a constrained network computed together, once in each pass through the network."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from scalekeys.networks.constrained.joined_layouts import joined, split
from scalekeys.networks.constrained.modelled_filters import Numbers, Recipe
from scalekeys.networks.constrained.scale_space_kernel import ScaleSpaceKernel
from scalekeys.networks.constrained.separable_kernels import kept
from scalekeys.networks.constrained.separable_sums import tables_of

_PREPARED = "_prepared_kernels"  # an attribute of the network during a pass


def compute_together(network: nn.Module) -> None:
    """Let a network compute the filters of its constrained layers together, before each pass.

    What a layer costs hardly depends on its size, so that many at once cost little more than one. A layer that is
    called by itself, or whose numbers changed after the pass began, computes its own filters.
    """
    if _prepare not in network._forward_pre_hooks.values():
        network.register_forward_pre_hook(_prepare)
        network.register_forward_hook(_forget, always_call=True)


def release(network: nn.Module) -> None:
    """Take the hooks of :func:`compute_together` from a network, and from those inside it, without constrained layers.

    What makes weights of constrained layers plain calls this function afterwards.
    """
    for part in network.modules():
        for hooks in (part._forward_pre_hooks, part._forward_hooks):
            own = [key for key, hook in hooks.items() if hook is _prepare or hook is _forget]
            if own and next(_kernels(part), None) is None:
                for key in own:
                    del hooks[key]
                    part._forward_hooks_always_called.pop(key, None)


def _prepare(network: nn.Module, _: Any) -> None:
    if torch.compiler.is_compiling():
        return
    known = list(_kernels(network))
    network.__dict__[_PREPARED] = [kernel for kernel, _ in known]
    groups: dict[tuple[Any, ...], list[tuple[ScaleSpaceKernel, Numbers]]] = {}
    for kernel, dtype in known:
        numbers = kernel.numbers()
        if not kernel.has_whole(numbers):  # fully sharded, and gathered when the layer is called
            continue
        groups.setdefault(_kind(kernel, numbers, dtype), []).append((kernel, numbers))
    for (dtype, *_others), members in groups.items():
        if len(members) > 1:
            filters = _recipe(members).filters([numbers for _, numbers in members], dtype)
            for (kernel, numbers), own in zip(members, filters, strict=True):
                kernel.prepare(own, numbers)


def _forget(network: nn.Module, *_: Any) -> None:
    for kernel in network.__dict__.pop(_PREPARED, ()):
        kernel.prepare(None)


def _kernels(network: nn.Module) -> Iterator[tuple[ScaleSpaceKernel, torch.dtype]]:
    """Return what computes the weights of layers alone, and the types of these."""
    waiting, seen = [network], {network}
    while waiting:  # which takes a fifth of the time of Module.modules()
        part = waiting.pop()
        if isinstance(part, ParametrizationList) and len(part) == 1 and isinstance(part[0], ScaleSpaceKernel):
            yield part[0], part.original.dtype
            continue
        for own in part._modules.values():
            if own is not None and own not in seen:
                seen.add(own)
                waiting.append(own)


def _kind(kernel: ScaleSpaceKernel, numbers: Numbers, dtype: torch.dtype) -> tuple[Any, ...]:
    """Return what filters that are computed together have in common."""
    tables, offset = kernel.here(), numbers.offset
    slots = tables.slot.shape[1] or len(tables.constants.operators)
    return dtype, offset.dtype, offset.device, tables.constants.window, slots, kernel.norm, kernel.scales.kind


def _recipe(members: Sequence[tuple[ScaleSpaceKernel, Numbers]]) -> Recipe:
    """Return how the filters of several layers are made, from the last time or anew."""
    first, tables = members[0][0], [kernel.here() for kernel, _ in members]
    last = first.recipe_together
    if last is None or len(last[0]) != len(tables) or any(a is not b for a, b in zip(last[0], tables, strict=True)):
        scales = [len(numbers.theta) for _, numbers in members]
        gaps = [0 if numbers.gap is None else len(numbers.gap) for _, numbers in members]
        layout = split(joined([kernel.layout for kernel, _ in members], scales, gaps))
        together = kept(tables_of(layout, len(layout.rows)), first.offset.device)
        first.recipe_together = last = (tables, Recipe(together, first.size, first.scales.kind, first.norm))
    return last[1]
