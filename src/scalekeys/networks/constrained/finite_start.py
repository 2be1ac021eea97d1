"""Finite scales for filters whose scales are infinite, or too large to be learned."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.networks.constrained.differentiable_profiles import ceiling, constants_of, largest_variance, profiles
from scalekeys.networks.constrained.fitted_filters import FittedFilters, has_two_scales
from scalekeys.scalespace import GAP, Discretization, Family, smallest_variance

_ROUNDING = 1e-9


def with_finite_scales(filters: FittedFilters) -> FittedFilters:
    r"""Bring scales down to the largest that a window has, and solve for the weights of components again.

    Filters whose scales are small enough stay the same; the weights of the others are those of least squares.

    Along an axis of large scale a model is a polynomial, in which the ratio of the scales of several such axes counts.
    So all variances of a filter above the square of the longest side are divided by the same number, which brings the
    largest one to the end of the range, and none below that square.

    The largest scale is eight times the longest side. There a kernel differs from that of an infinite scale by less
    than 1 % of the norm of the deviations from the mean, if the other scales are at most a third of the longest side.
    For a ratio of scales above eight, which the range cannot hold, the difference may reach 10 %. Of the filters of
    MCUNet, fitted by the idealized families, 99 % start within 0.1 % of their models, and all of them within 2 %.
    """
    largest, flat = ceiling(filters.size), float(max(filters.size)) ** 2
    most = torch.tensor([largest_variance(filters.size), largest], dtype=torch.float64)[filters.has_gap.long()]
    top = filters.variances.amax(1)
    beyond = (top > most * (1 + _ROUNDING)) | (filters.gaps > largest * (1 + _ROUNDING))
    if not bool(beyond.any()):
        return filters
    ratio = torch.where(top.isinf()[:, None], filters.variances.isinf().double(), filters.variances / top[:, None])
    scaled = (most[:, None] * ratio).clamp(min=flat)
    finite = replace(
        filters,
        variances=torch.where((top > most)[:, None] & (filters.variances > flat), scaled, filters.variances),
        gaps=filters.gaps.clamp(max=largest),
    )
    return _solved(finite, beyond.nonzero()[:, 0])


def discretized(filters: FittedFilters, discretization: Discretization) -> FittedFilters:
    """Let filters be made in another discretization, at the same scales, and solve for the weights of components again.

    Scales below the smallest of the discretization become that.
    """
    if discretization == filters.discretization:
        return filters
    variances = filters.variances.clamp(min=smallest_variance(discretization))
    other = replace(filters, discretization=discretization, variances=variances)
    return _solved(other, torch.arange(len(filters)))


def _solved(filters: FittedFilters, rows: Tensor) -> FittedFilters:
    """Solve for the weights of some filters by least squares; the mean of each filter stays."""
    parts = torch.where(filters.used[rows, :, None], _components(filters, rows), 0.0)
    parts = parts - parts.mean(-1, keepdim=True)
    wanted = filters.models[rows].flatten(1)
    wanted = wanted - wanted.mean(-1, keepdim=True)
    norm = torch.linalg.vector_norm(parts, dim=-1, keepdim=True)
    scale = torch.where(norm > 0, norm, 1.0)
    found = torch.linalg.lstsq((parts / scale).mT, wanted[..., None], driver="gelsd").solution / scale
    return replace(filters, weights=filters.weights.index_copy(0, rows, found[..., 0]))


def _components(filters: FittedFilters, rows: Tensor) -> Float[Tensor, "filters components taps"]:
    """Return the components of some filters, zero beyond the last."""
    taps = torch.Size(filters.size).numel()
    out = filters.weights.new_zeros(len(rows), filters.weights.shape[1], taps)
    for family, members in filters.members():
        mine = torch.isin(rows, members).nonzero()[:, 0]
        if not len(mine):
            continue
        t = filters.variances[rows[mine]]
        kernels = torch.stack([t, t + GAP + filters.gaps[rows[mine], None]]) if has_two_scales(family) else t[None]
        for number, component in enumerate(_fields(family, kernels, filters)):
            out[mine, number] = component
    return out


def _fields(family: Family, kernels: Float[Tensor, "kernels filters axes"], filters: FittedFilters) -> list[Tensor]:
    """Return each component of a family, shape (filters, taps)."""
    operators = tuple({name: 0 for term in family.terms for name in term.operators})
    constants = constants_of(operators, filters.size, filters.window, filters.discretization)
    known = [profiles(t.T.contiguous(), constants).movedim(-1, 1) for t in kernels]  # axes, filters, operators, taps
    fields = []
    for number, component in enumerate(family.components):
        total = kernels.new_zeros(kernels.shape[1], 1)
        for term in component:
            field = total.new_full((len(total), 1), term.weight)
            for axis, name in enumerate(term.operators):
                taps = filters.size[-1 - axis]
                profile = known[min(number, len(known) - 1)][axis, :, operators.index(name), :taps]
                field = (profile[:, :, None] * field[:, None]).flatten(1)
            total = total + field
        fields.append(total)
    return fields
