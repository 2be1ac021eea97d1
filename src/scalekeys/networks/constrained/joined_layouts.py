"""Parameter layouts whose filters take less time to compute: those of several layers joined, and kernels split."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from scalekeys.networks.constrained.parameter_layout import LayerTerms, ParameterLayout
from scalekeys.networks.constrained.separable_sums import slots_of


def joined(layouts: Sequence[ParameterLayout], scales: Sequence[int], gaps: Sequence[int]) -> ParameterLayout:
    """Return the layout of all filters of several layers, whose parameters stand one after another.

    `layouts`: of the same window and discretization, and not split.
    `scales`, `gaps`: how many parameters each layer has.
    """
    filters, pairs = [len(own.rows) for own in layouts], [len(own.two_scales) for own in layouts]
    fixed, coefficients = [len(own.fixed) for own in layouts], [len(own.coefficients) for own in layouts]
    counts = filters, pairs, scales, fixed, gaps, coefficients
    starts = list(zip(*([sum(own[:place]) for place in range(len(own))] for own in counts), strict=True))
    operators = tuple(dict.fromkeys(name for own in layouts for name in own.operators))
    scale, terms = [], []
    for own, start, count in zip(layouts, starts, scales, strict=True):
        beyond = own.scale - count + sum(scales) + start[3]
        scale.append(torch.where(own.scale < count, own.scale + start[2], beyond))
        here = torch.tensor([operators.index(name) for name in own.operators])
        seconds = own.terms.kernel - len(own.rows) + sum(filters) + start[1]
        kernel = torch.where(own.terms.kernel < len(own.rows), own.terms.kernel + start[0], seconds)
        terms.append(LayerTerms(kernel, here[own.terms.operators], own.terms.coefficient + start[5], own.terms.weight))

    def shifted(name: str, place: int) -> Tensor:
        return torch.cat([getattr(own, name) + start[place] for own, start in zip(layouts, starts, strict=True)])

    def together(name: str) -> Tensor:
        return torch.cat([getattr(own, name) for own in layouts])

    return replace(
        layouts[0],
        rows=torch.arange(sum(filters)),
        scale=torch.cat(scale, dim=1),
        variances=together("variances"),
        fixed=together("fixed"),
        two_scales=shifted("two_scales", 0),
        gap=shifted("gap", 4),
        gaps=together("gaps"),
        operators=operators,
        terms=LayerTerms.joined(terms),
        coefficients=together("coefficients"),
        owner=shifted("owner", 0),
        offset=together("offset"),
    )


def split(layout: ParameterLayout) -> ParameterLayout:
    """Let each kernel be one outer product, and filters sums of more kernels, where that takes less time.

    All kernels have room for as many operators along each axis as some kernel takes. Where few take more than one, to
    compute their outer products as kernels of their own saves the room in all others.
    """
    terms, slots = layout.terms, slots_of(layout)[2]
    if slots == 1 or 2 * len(terms.kernel) > slots * layout.kernels:
        return layout
    filters = layout.scale.shape[1]
    order = terms.kernel.argsort(stable=True)
    known = terms.kernel[order]
    later = order[1:][known[1:] == known[:-1]]  # terms of a kernel after its first one
    parts, seconds = (later[which] for which in ((terms.kernel[later] < filters), (terms.kernel[later] >= filters)))
    pairs, more = terms.kernel[seconds] - filters, terms.kernel[parts]
    kernel = torch.where(terms.kernel < filters, terms.kernel, terms.kernel + len(parts))
    kernel[parts] = filters + torch.arange(len(parts))
    kernel[seconds] = layout.kernels + len(parts) + torch.arange(len(seconds))
    return replace(
        layout,
        scale=torch.cat([layout.scale, layout.scale[:, more]], dim=1),
        further=more,
        two_scales=torch.cat([layout.two_scales, layout.two_scales[pairs]]),
        gap=torch.cat([layout.gap, layout.gap[pairs]]),
        terms=replace(terms, kernel=kernel),
    )
