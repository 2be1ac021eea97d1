"""Sums of outer products of profiles at given scales, and what is looked up where to compute them."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.networks.constrained.differentiable_profiles import (
    Constants,
    ceiling,
    constants_of,
    inside,
    profiles,
    profiles_inside,
    with_slopes,
    within,
)
from scalekeys.networks.constrained.parameter_layout import ParameterLayout
from scalekeys.scalespace import GAP
from scalekeys.shapes import Size


class Tables(NamedTuple):
    """What is looked up where, to compute the filters of a layer from its parameters.

    A kernel takes few of the operators along an axis: these have numbers of their own in each kernel and along each
    axis, the *slots*. A *cell* is an outer product of one slot for each axis.
    """

    constants: Constants
    scale: Int[Tensor, "axes parts"]
    fixed: Float[Tensor, "fixed"]
    two_scales: Int[Tensor, "pairs"]
    gap: Int[Tensor, "pairs"]
    """`scale`, `fixed`, `two_scales` and `gap`: see :class:`ParameterLayout`."""
    slot: Int[Tensor, "axes slots kernels"]
    """The operator of each; any where a kernel has fewer. Without slots, where some kernel takes all operators that
    there are along some axis, these stand in their place."""
    coefficient: Int[Tensor, "cells"]
    """What multiplies each cell. Cells are those of all slots along the first axis of the array, then along the next,
    and so on, and of all kernels."""
    weight: Float[Tensor, "cells"]
    """A constant factor; 0 where a filter does not have the cell."""
    owner: Int[Tensor, "coefficients"]
    """The filter of each coefficient."""
    added: Int[Tensor, "more"]
    """Which filter the kernels are added to that follow the first one of each filter."""
    order: Int[Tensor, "channels"]
    """Where each filter of the layer stands among the modelled ones followed by the others."""


def tables_of(layout: ParameterLayout, channels: int) -> Tables:
    """Look up, for the filters of a layer with so many channels, what they are computed by."""
    terms, kernels = layout.terms, layout.kernels
    slot, places, slots = slots_of(layout)
    cell = terms.kernel
    for axis, own in enumerate(places):
        cell = cell + own * kernels * slots**axis
    count = slots ** len(places) * kernels
    coefficient = torch.zeros(count, dtype=torch.long).index_copy(0, cell, terms.coefficient)
    return Tables(
        constants=constants_of(layout.operators, layout.size, layout.window, layout.discretization),
        scale=layout.scale,
        fixed=layout.fixed,
        two_scales=layout.two_scales,
        gap=layout.gap,
        slot=slot,
        coefficient=coefficient,
        weight=torch.zeros(count, dtype=torch.float64).index_add(0, cell, terms.weight),
        owner=layout.owner,
        added=torch.cat([layout.further, layout.two_scales]),
        order=_order(layout.rows, channels),
    )


def slots_of(layout: ParameterLayout) -> tuple[Int[Tensor, "axes slots kernels"], Int[Tensor, "axes terms"], int]:
    """Return :attr:`Tables.slot`, the slot of each term along each axis, and how many slots there are."""
    terms, known = layout.terms, []
    for operator in terms.operators:
        pairs, index = torch.unique(torch.stack([terms.kernel, operator]), dim=1, return_inverse=True)
        owner = pairs[0].contiguous()
        rank = torch.arange(len(owner)) - torch.searchsorted(owner, owner)
        known.append((rank, owner, pairs[1], rank[index]))
    slots = max(int(rank.max()) + 1 for rank, *_ in known)
    slot = torch.zeros(len(known), slots, layout.kernels, dtype=torch.long)
    if slots == len(layout.operators):
        return slot[:, :0], terms.operators, slots
    for own, (rank, owner, operators, _) in zip(slot, known, strict=True):
        own[rank, owner] = operators
    return slot, torch.stack([place for *_, place in known]), slots


def variances_of(tables: Tables, size: Size, known: Tensor, gaps: Tensor) -> Float[Tensor, "axes kernels"]:
    """Return the variances of all kernels, below 0 where they are 0.

    `known`: shape (scales,); variances.
    `gaps`: shape (gaps,); by how much the variances of second kernels are larger.
    """
    if len(tables.fixed):
        known = torch.cat([known, tables.fixed])
    t = known.index_select(0, tables.scale.view(-1)).view_as(tables.scale)
    if not len(tables.gap):
        return t
    largest = ceiling(size)
    smaller = within(t.index_select(1, tables.two_scales), largest)
    return torch.cat([t, smaller + within(gaps.index_select(0, tables.gap), largest) + GAP], dim=1)


def profiles_of(tables: Tables, t: Float[Tensor, "axes kernels"]) -> Float[Tensor, "axes slots taps kernels"]:
    """Return the profiles of all slots along x, y and z at given variances, as long as the longest side."""
    if torch.compiler.is_compiling() or not (t.requires_grad and torch.is_grad_enabled()):
        return _slotted(tables, profiles(t, tables.constants))
    found: Tensor = _Profiles.apply(inside(t, tables.constants), tables)  # type: ignore[no-untyped-call]
    return found


def sums_without_x(
    tables: Tables, size: Size, along: Float[Tensor, "axes slots taps kernels"], strengths: Tensor
) -> Float[Tensor, "slots *others kernels"]:
    """Return what the profile of each slot along x is multiplied by along the other axes, in the order of the array.

    `along`: see :func:`profiles_of`.
    `strengths`: shape (coefficients,); what each coefficient multiplies its cells by.
    """
    cells = strengths.index_select(0, tables.coefficient) * tables.weight
    sums = cells.view(*(along.shape[1],) * len(size), -1)
    for profile, taps in zip(reversed(along[1:].unbind()), size, strict=False):
        sums = _contracted(sums, profile[:, :taps])
    return sums


def fields_of(
    tables: Tables, size: Size, along: Float[Tensor, "axes slots taps kernels"], strengths: Tensor
) -> Float[Tensor, "*sides filters"]:
    """Return sums of outer products, whose parameters are those of :func:`sums_without_x`."""
    kernels = _contracted(sums_without_x(tables, size, along, strengths), along[0, :, : size[-1]])
    if not len(tables.added):
        return kernels
    first, more = kernels.tensor_split([-len(tables.added)], dim=-1)
    return first.index_add(-1, tables.added, more)


class _Profiles(torch.autograd.Function):
    """See :func:`profiles_of`: the slopes of profiles are computed along with them, which leaves little to go back."""

    @staticmethod
    def forward(ctx: Any, excess: Tensor, tables: Tables) -> Tensor:
        """Return the profiles of all slots."""
        found, slopes = _slotted(tables, with_slopes(excess, tables.constants)).unbind(-2)
        ctx.save_for_backward(excess, slopes)
        ctx.tables = tables
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Multiply by the slopes, or where gradients are differentiated again go back through tensor operations."""
        excess, slopes = ctx.saved_tensors
        if torch.is_grad_enabled():
            found = _slotted(ctx.tables, profiles_inside(excess, ctx.tables.constants))
            return *torch.autograd.grad(found, excess, gradients, create_graph=True), None
        return (gradients[0] * slopes).sum((1, 2)), None


def _slotted(tables: Tables, along: Float[Tensor, "axes operators *rest kernels"]) -> Tensor:
    """Return what belongs to slots."""
    slot, rest = tables.slot, along.shape[2:-1]
    if not slot.shape[1]:
        return along
    slot = slot.view(*slot.shape[:2], *(1,) * len(rest), -1)
    return along.gather(1, slot.expand(-1, -1, *rest, -1))


def _contracted(sums: Float[Tensor, "operators *rest kernels"], profile: Tensor) -> Float[Tensor, "*rest taps kernels"]:
    """Sum over the operators of an axis, each times its profile: shape (operators, taps, kernels)."""
    first, *others = zip(sums.unsqueeze(-2).unbind(), profile.unbind(), strict=True)
    total = first[0] * first[1]
    for one, along in others:
        total.addcmul_(one, along)
    return total


def _order(rows: Tensor, channels: int) -> Tensor:
    """Return where each filter of a layer stands among the modelled ones followed by the others."""
    kept = torch.ones(channels, dtype=torch.bool)
    kept[rows] = False
    return torch.argsort(torch.cat([rows, kept.nonzero()[:, 0]]))
