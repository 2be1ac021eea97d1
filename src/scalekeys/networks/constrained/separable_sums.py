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
    within,
)
from scalekeys.networks.constrained.parameter_layout import ParameterLayout
from scalekeys.scalespace import GAP


class Tables(NamedTuple):
    """What is looked up where, to compute the filters of a layer from its parameters.

    A *cell* is an outer product of one operator for each axis, at the scales of one kernel.

    Parameters
    ----------
    constants : Constants
    scale : Tensor of int64, shape (axes, filters)
        The scale parameter of each filter along x, then along y, and so on, or beyond these which fixed variance.
    fixed : Tensor, shape (fixed,)
    two_scales, gap : Tensor of int64, shape (pairs,)
        See :class:`ParameterLayout`.
    coefficient : Tensor of int64, shape (cells,)
        What multiplies each cell. Cells are those of all operators along the first axis of the array, then along the
        next, and so on, and of all kernels.
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
    coefficient: Int[Tensor, "cells"]
    weight: Float[Tensor, "cells"]
    order: Int[Tensor, "channels"]


def tables_of(layout: ParameterLayout, channels: int) -> Tables:
    """Look up, for the filters of a layer with so many channels, what they are computed by."""
    terms, axes, operators = layout.terms, len(layout.size), len(layout.operators)
    kernels = len(layout.rows) + len(layout.two_scales)
    cell = terms.kernel
    for axis, own in enumerate(terms.operators):
        cell = cell + own * kernels * operators**axis
    coefficient = torch.zeros(operators**axes * kernels, dtype=torch.long).index_copy(0, cell, terms.coefficient)
    return Tables(
        constants=constants_of(layout.operators, layout.size, layout.window, layout.discretization),
        scale=layout.scale,
        fixed=layout.fixed,
        two_scales=layout.two_scales,
        gap=layout.gap,
        coefficient=coefficient,
        weight=torch.zeros(len(coefficient), dtype=torch.float64).index_add(0, cell, terms.weight),
        order=_order(layout.rows, channels),
    )


def joined(tables: Sequence[Tables], scales: Sequence[int], gaps: Sequence[int], coefficients: Sequence[int]) -> Tables:
    """Return the tables of all filters of several layers, whose parameters stand one after another.

    Parameters
    ----------
    tables : sequence of Tables
        With the same constants.
    scales, gaps, coefficients : sequence of int
        How many parameters each layer has.
    """
    filters = [own.scale.shape[1] for own in tables]
    parts = [_kernels_last(own, count) for own, count in zip(tables, filters, strict=True)]
    starts = list(zip(*map(_starts, (scales, gaps, coefficients, filters)), strict=True))
    fixed = _starts([len(own.fixed) for own in tables])
    scale = [
        torch.where(own.scale < count, own.scale + start[0], own.scale - count + sum(scales) + beyond)
        for own, count, start, beyond in zip(tables, scales, starts, fixed, strict=True)
    ]
    coefficient = [own[0] + start[2] for own, start in zip(parts, starts, strict=True)]
    cells = [
        torch.cat([part[:, :n] for part, n in both] + [part[:, n:] for part, n in both], dim=1).flatten()
        for both in (
            list(zip(coefficient, filters, strict=True)),
            list(zip([weight for _, weight in parts], filters, strict=True)),
        )
    ]
    return Tables(
        constants=tables[0].constants,
        scale=torch.cat(scale, dim=1),
        fixed=torch.cat([own.fixed for own in tables]),
        two_scales=torch.cat([own.two_scales + start[3] for own, start in zip(tables, starts, strict=True)]),
        gap=torch.cat([own.gap + start[1] for own, start in zip(tables, starts, strict=True)]),
        coefficient=cells[0],
        weight=cells[1],
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


def sums_without_x(
    tables: Tables, size: Size, along: Float[Tensor, "axes operators taps kernels"], strengths: Tensor
) -> Float[Tensor, "operators *others kernels"]:
    """Return what each profile along x is multiplied by along the other axes, in the order of the array.

    Parameters
    ----------
    tables : Tables
    size : tuple of int
    along : Tensor, shape (axes, operators, taps, kernels)
        The profiles along x, y and z, as long as the longest side.
    strengths : Tensor, shape (coefficients,)
        What each coefficient multiplies its cells by.
    """
    cells = strengths.index_select(0, tables.coefficient) * tables.weight
    sums = cells.view(*(along.shape[1],) * len(size), -1)
    for profile, taps in zip(reversed(along[1:].unbind()), size, strict=False):
        sums = _contracted(sums, profile[:, :taps])
    return sums


def fields_of(
    tables: Tables, size: Size, along: Float[Tensor, "axes operators taps kernels"], strengths: Tensor
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


def _kernels_last(tables: Tables, filters: int) -> tuple[Tensor, Tensor]:
    """Return coefficients and weights, shape (cells of a kernel, kernels)."""
    kernels = filters + len(tables.two_scales)
    return tables.coefficient.view(-1, kernels), tables.weight.view(-1, kernels)


def _starts(counts: Sequence[int]) -> list[int]:
    return [sum(counts[:place]) for place in range(len(counts))]


def _order(rows: Tensor, channels: int) -> Tensor:
    """Return where each filter of a layer stands among the modelled ones followed by the others."""
    kept = torch.ones(channels, dtype=torch.bool)
    kept[rows] = False
    return torch.argsort(torch.cat([rows, kept.nonzero()[:, 0]]))
