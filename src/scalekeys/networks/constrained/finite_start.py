"""Finite scales for filters whose scales are infinite, or too large to be learned."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.networks.constrained.differentiable_profiles import (
    ceiling,
    constants_of,
    largest_variance,
    profiles,
)
from scalekeys.networks.constrained.fitted_filters import FittedFilters, ModelForm
from scalekeys.scalespace import GAP, Discretization, smallest_variance

_ROUNDING = 1e-9


def with_finite_scales(filters: FittedFilters) -> FittedFilters:
    r"""Bring scales down to the largest that a window has, and solve for the weights of components again.

    Parameters
    ----------
    filters : FittedFilters

    Returns
    -------
    FittedFilters
        The same where all scales are small enough. Elsewhere the weights are those of least squares.

    Notes
    -----
    Along an axis of large scale a model is a polynomial, in which the ratio of the scales of several such axes counts.
    So all variances of a filter above the square of the longest side are divided by the same number, which brings the
    largest one to the end of the range, and none below that square.

    The largest scale is eight times the longest side. There a kernel differs from that of an infinite scale by less
    than 1 % of the norm of the deviations from the mean, if the other scales are at most a third of the longest side.
    For a ratio of scales above eight, which the range cannot hold, the difference may reach 10 %. Of the filters of
    MCUNet, fitted by the idealized families, 99 % start within 0.1 % of their models, and all of them within 2 %.
    """
    largest, flat = ceiling(filters.size), float(max(filters.size)) ** 2
    ends = [largest if form.has_gap else largest_variance(filters.size) for form in filters.forms]
    most = torch.tensor(ends, dtype=torch.float64)[filters.form]
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
    for form, members in filters.members():
        mine = torch.isin(rows, members).nonzero()[:, 0]
        if not len(mine):
            continue
        t = filters.variances[rows[mine]]
        kernels = torch.stack([t, t + GAP + filters.gaps[rows[mine], None]]) if form.has_gap else t[None]
        for number, component in enumerate(_fields(form, kernels, filters)):
            out[mine, number] = component
    return out


def _fields(form: ModelForm, kernels: Float[Tensor, "kernels filters axes"], filters: FittedFilters) -> list[Tensor]:
    """Return each component of a form, shape (filters, taps)."""
    operators = tuple({name: 0 for part in form.components for one in part.products for name in one.operators})
    constants = constants_of(operators, filters.size, filters.window, filters.discretization)
    known = [profiles(t.T.contiguous(), constants).movedim(-1, 1) for t in kernels]  # axes, filters, operators, taps
    fields = []
    for component in form.components:
        total = kernels.new_zeros(kernels.shape[1], 1)
        for one in component.products:
            field = total.new_full((len(total), 1), one.weight)
            for axis, name in enumerate(one.operators):
                taps = filters.size[-1 - axis]
                profile = known[component.kernel][axis, :, operators.index(name), :taps]
                field = (profile[:, :, None] * field[:, None]).flatten(1)
            total = total + field
        fields.append(total)
    return fields
