"""Which numbers a layer of modelled filters consists of, and how its kernels are made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from scalekeys.fitting import Fit
from scalekeys.networks.constrained.differentiable_profiles import IMPULSE
from scalekeys.networks.constrained.learned_scales import UNIT, log_parameter
from scalekeys.scalespace import DIFFERENCES, FAMILIES, Family, Term, Window

Tie: TypeAlias = Literal["none", "filter", "layer", "network"]
TIES: tuple[Tie, ...] = get_args(Tie)
WIDE_TIES = ("layer", "network")
"""The ties under which all filters of a layer have one scale."""

_FIXED = -1
_OPERATORS = (*DIFFERENCES, IMPULSE)


@dataclass(frozen=True, eq=False)
class LayerTerms:
    """Outer products of two profiles, of which filters are sums.

    Parameters
    ----------
    filter, kernel : Tensor of int64, shape (terms,)
        To which filter each belongs, and at the scales of which kernel it is taken: of the filter, or of the second
        kernel of a filter with two scales.
    x, y : Tensor of int64, shape (terms,)
        The operators.
    coefficient : Tensor of int64, shape (terms,)
        The coefficient that multiplies it.
    weight : Tensor, shape (terms,)
        A constant factor.
    """

    filter: Int[Tensor, "terms"]
    kernel: Int[Tensor, "terms"]
    x: Int[Tensor, "terms"]
    y: Int[Tensor, "terms"]
    coefficient: Int[Tensor, "terms"]
    weight: Float[Tensor, "terms"]

    @classmethod
    def joined(cls, parts: Sequence["LayerTerms"]) -> "LayerTerms":
        """Put lists of terms one after another."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True, eq=False)
class ParameterLayout:
    """The modelled filters of a layer.

    Parameters
    ----------
    size : (int, int)
        Rows and columns.
    window : {"exact", "published"}
    rows : Tensor of int64, shape (filters,)
        Which filters of the layer these are.
    scale : Tensor of int64, shape (2, filters)
        Which scale parameter each has along (x, y), or beyond these, along an axis of one tap, which fixed variance.
    variances : Tensor, shape (scales,)
    fixed : Tensor, shape (fixed,)
        Along one tap a scale is but a factor, so that it stays as it was fitted.
    two_scales : Tensor of int64, shape (pairs,)
        Which of the filters have a second kernel, of a larger scale; it follows the kernels of the filters.
    gap : Tensor of int64, shape (pairs,)
        Which gap parameter each of them has.
    gaps : Tensor, shape (gaps,)
    operators : tuple of str
        Those that occur, the unit impulse among them.
    terms : LayerTerms
    coefficients : Tensor, shape (coefficients,)
    owner : Tensor of int64, shape (coefficients,)
        The filter of each coefficient.
    offset : Tensor, shape (filters,)
    """

    size: tuple[int, int]
    window: Window
    rows: Int[Tensor, "filters"]
    scale: Int[Tensor, "2 filters"]
    variances: Float[Tensor, "scales"]
    fixed: Float[Tensor, "fixed"]
    two_scales: Int[Tensor, "pairs"]
    gap: Int[Tensor, "pairs"]
    gaps: Float[Tensor, "gaps"]
    operators: tuple[str, ...]
    terms: LayerTerms
    coefficients: Float[Tensor, "coefficients"]
    owner: Int[Tensor, "coefficients"]
    offset: Float[Tensor, "filters"]


def layout_of(fit: Fit, where: Tensor, rows: Tensor, size: tuple[int, int], tie: Tie) -> ParameterLayout:
    """Describe some filters of a layer.

    Parameters
    ----------
    fit : Fit
    where : Tensor of int64, shape (filters,)
        Where the filters stand in the fit; each has a family.
    rows : Tensor of int64, shape (filters,)
        Where they stand in their layer.
    size : (int, int)
        Rows and columns of the layer.
    tie : {"none", "filter", "layer", "network"}
        Which scales are one parameter; those of a network are tied by the caller.
    """
    values = fit.values
    families = [FAMILIES[name] for name in fit.spec.families]
    kind = values.family[where].cpu().long()
    parameters, given, offset = (
        numbers[where].detach().cpu().double() for numbers in (values.parameters, values.coefficients, values.offset)
    )
    isotropic = torch.tensor([family.isotropic for family in families])[kind]
    two_scales = torch.tensor([family.two_scales for family in families])[kind].nonzero()[:, 0]
    labels = _scale_labels(isotropic, size, tie)
    along_y = torch.where(isotropic, parameters[:, 0], parameters[:, 1])
    fitted = torch.stack([parameters[:, 0], along_y])
    scale, variances, fixed = _tied(labels, fitted)
    gap, gaps, _ = _tied(torch.zeros_like(two_scales) if tie in WIDE_TIES else two_scales, parameters[two_scales, 1])
    weights = _weights(families, kind, given, parameters[:, 1])
    used = _used(families, kind) & (weights != 0) if fit.spec.terms else _used(families, kind)
    terms, operators = _compressed(_terms(families, kind, used, two_scales))
    return ParameterLayout(
        size=size,
        window=fit.spec.window,
        rows=rows,
        scale=scale,
        variances=variances,
        fixed=fixed,
        two_scales=two_scales,
        gap=gap,
        gaps=gaps,
        operators=operators,
        terms=terms,
        coefficients=weights[used],
        owner=used.nonzero()[:, 0],
        offset=offset,
    )


def geometric_mean(variances: Float[Tensor, "scales"]) -> Float[Tensor, "1"]:
    """Return the mean of variances in their logarithmic parameter, where 0 is a number like any other.

    Examples
    --------
    >>> geometric_mean(torch.tensor([0.0, 0.35]))
    tensor([0.0914])
    """
    return UNIT * torch.expm1(log_parameter(variances).mean(0, keepdim=True))


def _scale_labels(isotropic: Tensor, size: tuple[int, int], tie: Tie) -> Tensor:
    """Return a label for each filter and axis, shape (2, filters), equal where one scale serves; -1 if it is fixed."""
    number = torch.arange(len(isotropic))
    y = torch.where(isotropic, number, number + len(isotropic)) if tie == "none" else number
    labels = torch.zeros(2, len(isotropic), dtype=torch.long) if tie in WIDE_TIES else torch.stack([number, y])
    seen = torch.tensor([[size[1] > 1], [size[0] > 1]]) | isotropic
    return torch.where(seen, labels, _FIXED)


def _tied(labels: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return labels numbered from 0, for each the mean of its values, and the values that are fixed, numbered after."""
    wanted = labels != _FIXED
    known, index = torch.unique(labels[wanted], return_inverse=True)
    sums = values.new_zeros(len(known)).index_add_(0, index, log_parameter(values[wanted]))
    means = UNIT * torch.expm1(sums / torch.bincount(index, minlength=len(known)))
    fixed = values[~wanted]
    numbers = torch.empty_like(labels)
    numbers[wanted], numbers[~wanted] = index, len(known) + torch.arange(len(fixed))
    return numbers, means, fixed


def _components(family: Family) -> tuple[tuple[Term, ...], ...]:
    """Return the components that a filter of a family weights, the unit impulse among them."""
    return (*family.components, (Term(IMPULSE, IMPULSE),)) if family.has_alpha else family.components


def _members(families: Sequence[Family], kind: Tensor) -> list[tuple[Family, Tensor]]:
    """Return which filters are of each family, for those that occur."""
    return [(families[code], (kind == code).nonzero()[:, 0]) for code in kind.unique()]


def _weights(families: Sequence[Family], kind: Tensor, given: Tensor, strength: Tensor) -> Tensor:
    """Return what each filter weights the components of its family by, shape (filters, components).

    The strength of a sharpening is part of it: ``a (impulse + alpha K)`` is ``a alpha`` times K and ``a`` times the
    impulse.
    """
    weights = F.pad(given, (0, 1))
    for family, rows in _members(families, kind):
        if family.has_alpha:
            weights[rows, 0] = strength[rows] * given[rows, 0]
            weights[rows, 1] = family.impulse * given[rows, 0]
    return weights


def _used(families: Sequence[Family], kind: Tensor) -> Tensor:
    """Tell how many components the family of each filter has, as a mask of the shape of their weights."""
    counts = torch.tensor([len(_components(family)) for family in families])
    most = max(len(family.components) for family in families) + 1
    return torch.arange(most) < counts[kind, None]


def _terms(families: Sequence[Family], kind: Tensor, used: Tensor, two_scales: Tensor) -> LayerTerms:
    """Return the terms of all filters; a filter with two scales has the same twice, the second time subtracted."""
    place = used.flatten().cumsum(0).view_as(used) - 1
    found = []
    for family, members in _members(families, kind):
        for number, component in enumerate(_components(family)):
            rows = members[used[members, number]]
            kernels = [(rows, 1.0)]
            if family.two_scales:
                kernels.append((len(kind) + torch.searchsorted(two_scales, rows), -1.0))
            for term, (kernel, sign) in product(component, kernels):
                x, y = (torch.full_like(rows, _OPERATORS.index(name)) for name in (term.x, term.y))
                weight = torch.full_like(rows, sign * term.weight, dtype=torch.float64)
                found.append(LayerTerms(rows, kernel, x, y, place[rows, number], weight))
    return LayerTerms.joined(found)


def _compressed(terms: LayerTerms) -> tuple[LayerTerms, tuple[str, ...]]:
    """Return terms with numbers of the operators that occur, and the names of these."""
    used, numbers = torch.unique(torch.stack([terms.x, terms.y]), return_inverse=True)
    return replace(terms, x=numbers[0], y=numbers[1]), tuple(_OPERATORS[number] for number in used)
