"""Sums of outer products of profiles at given scales, and what is looked up where to compute them."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.networks.constrained.differentiable_profiles import (
    Constants,
    Size,
    ceiling,
    constants_of,
    profiles,
    within,
)
from scalekeys.networks.constrained.parameter_layout import ParameterLayout
from scalekeys.scalespace import GAP


class Tables(NamedTuple):
    """What is looked up where, to compute the filters of a layer from its parameters.

    A kernel takes few of the operators along an axis: these have numbers of their own in each kernel and along each
    axis, the *slots*. A *cell* is an outer product of one slot for each axis.

    Parameters
    ----------
    constants : Constants
    scale : Tensor of int64, shape (axes, filters)
        The scale parameter of each filter along x, then along y, and so on, or beyond these which fixed variance.
    fixed : Tensor, shape (fixed,)
    two_scales, gap : Tensor of int64, shape (pairs,)
        See :class:`ParameterLayout`.
    slot : Tensor of int64, shape (axes, slots, kernels)
        The operator of each; any where a kernel has fewer. Without slots, where some kernel takes all operators that
        there are along some axis, these stand in their place.
    coefficient : Tensor of int64, shape (cells,)
        What multiplies each cell. Cells are those of all slots along the first axis of the array, then along the next,
        and so on, and of all kernels.
    weight : Tensor, shape (cells,)
        A constant factor; 0 where a filter does not have the cell.
    order : Tensor of int64, shape (channels,)
        Where each filter of the layer stands among the modelled ones followed by the others.
    """

    constants: Constants
    scale: Int[Tensor, "axes filters"]
    fixed: Float[Tensor, "fixed"]
    two_scales: Int[Tensor, "pairs"]
    gap: Int[Tensor, "pairs"]
    slot: Int[Tensor, "axes slots kernels"]
    coefficient: Int[Tensor, "cells"]
    weight: Float[Tensor, "cells"]
    order: Int[Tensor, "channels"]


def tables_of(layout: ParameterLayout, channels: int) -> Tables:
    """Look up, for the filters of a layer with so many channels, what they are computed by."""
    terms, kernels = layout.terms, len(layout.rows) + len(layout.two_scales)
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
    slot = torch.zeros(len(known), slots, len(layout.rows) + len(layout.two_scales), dtype=torch.long)
    if slots == len(layout.operators):
        return slot[:, :0], terms.operators, slots
    for own, (rank, owner, operators, _) in zip(slot, known, strict=True):
        own[rank, owner] = operators
    return slot, torch.stack([place for *_, place in known]), slots


def joined(tables: Sequence[Tables], scales: Sequence[int], gaps: Sequence[int], coefficients: Sequence[int]) -> Tables:
    """Return the tables of all filters of several layers, whose parameters stand one after another.

    Parameters
    ----------
    tables : sequence of Tables
        With the same constants, and as many slots.
    scales, gaps, coefficients : sequence of int
        How many parameters each layer has.
    """
    filters = [own.scale.shape[1] for own in tables]
    starts = list(zip(*map(_starts, (scales, gaps, coefficients, filters)), strict=True))
    fixed = _starts([len(own.fixed) for own in tables])
    scale = [
        torch.where(own.scale < count, own.scale + start[0], own.scale - count + sum(scales) + beyond)
        for own, count, start, beyond in zip(tables, scales, starts, fixed, strict=True)
    ]
    coefficient = [own.coefficient + start[2] for own, start in zip(tables, starts, strict=True)]
    return Tables(
        constants=tables[0].constants,
        scale=torch.cat(scale, dim=1),
        fixed=torch.cat([own.fixed for own in tables]),
        two_scales=torch.cat([own.two_scales + start[3] for own, start in zip(tables, starts, strict=True)]),
        gap=torch.cat([own.gap + start[1] for own, start in zip(tables, starts, strict=True)]),
        slot=_by_kernel([own.slot for own in tables], tables).unflatten(0, tables[0].slot.shape[:2]),
        coefficient=_by_kernel(coefficient, tables).flatten(),
        weight=_by_kernel([own.weight for own in tables], tables).flatten(),
        order=tables[0].order[:0],
    )


def variances_of(tables: Tables, size: Size, known: Tensor, gaps: Tensor) -> Float[Tensor, "axes kernels"]:
    """Return the variances of all kernels, below 0 where they are 0.

    Parameters
    ----------
    tables : Tables
    size : tuple of int
        Sides in the order of the array.
    known : Tensor, shape (scales,)
    gaps : Tensor, shape (gaps,)
        By how much the variances of second kernels are larger.
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
    along = profiles(t, tables.constants)
    if not tables.slot.shape[1]:
        return along
    return along.gather(1, tables.slot[:, :, None].expand(-1, -1, along.shape[2], -1))


def sums_without_x(
    tables: Tables, size: Size, along: Float[Tensor, "axes slots taps kernels"], strengths: Tensor
) -> Float[Tensor, "slots *others kernels"]:
    """Return what the profile of each slot along x is multiplied by along the other axes, in the order of the array.

    Parameters
    ----------
    tables : Tables
    size : tuple of int
    along : Tensor, shape (axes, slots, taps, kernels)
        See :func:`profiles_of`.
    strengths : Tensor, shape (coefficients,)
        What each coefficient multiplies its cells by.
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
    if not len(tables.two_scales):
        return kernels
    filters = tables.scale.shape[1]
    return kernels[..., :filters].index_add(-1, tables.two_scales, kernels[..., filters:])


def _contracted(sums: Float[Tensor, "operators *rest kernels"], profile: Tensor) -> Float[Tensor, "*rest taps kernels"]:
    """Sum over the operators of an axis, each times its profile: shape (operators, taps, kernels)."""
    spread = profile.view(len(profile), *(1,) * (sums.ndim - 2), *profile.shape[1:])
    return (sums.unsqueeze(-2) * spread).sum(0)


def _by_kernel(parts: Sequence[Tensor], tables: Sequence[Tables]) -> Tensor:
    """Join what several layers have for each of their kernels: first kernels of filters first, then second ones."""
    filters, seconds = [own.scale.shape[1] for own in tables], [len(own.two_scales) for own in tables]
    counts = list(zip(filters, seconds, strict=True))
    both = [
        part.view(part.numel() // sum(own), sum(own)).split(own, 1) for part, own in zip(parts, counts, strict=True)
    ]
    return torch.cat([first for first, _ in both] + [second for _, second in both], dim=1)


def _starts(counts: Sequence[int]) -> list[int]:
    return [sum(counts[:place]) for place in range(len(counts))]


def _order(rows: Tensor, channels: int) -> Tensor:
    """Return where each filter of a layer stands among the modelled ones followed by the others."""
    kept = torch.ones(channels, dtype=torch.bool)
    kept[rows] = False
    return torch.argsort(torch.cat([rows, kept.nonzero()[:, 0]]))
