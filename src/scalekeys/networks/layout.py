"""Which numbers a layer of modelled filters consists of, and how its kernels are made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeAlias, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.fitting import Fit
from scalekeys.networks.profiles import IMPULSE
from scalekeys.networks.scales import UNIT, log_parameter
from scalekeys.scalespace import DIFFERENCES, FAMILIES, Family, Term, Window, discrete_gaussian

Tie: TypeAlias = Literal["none", "filter", "layer", "network"]
TIES: tuple[Tie, ...] = get_args(Tie)
WIDE_TIES = ("layer", "network")
"""The ties under which all filters of a layer have one scale."""

_PINNED = -1


@dataclass(frozen=True, eq=False)
class Terms:
    """Outer products of two profiles, of which filters are sums; the first ones are one of each filter, in their order.

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

    def __getitem__(self, rows: Tensor) -> "Terms":
        return Terms(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence["Terms"]) -> "Terms":
        """Put lists of terms one after another."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True, eq=False)
class Layout:
    """The modelled filters of a layer.

    Parameters
    ----------
    size : (int, int)
        Rows and columns.
    window : {"exact", "published"}
    rows : Tensor of int64, shape (filters,)
        Which filters of the layer these are.
    scale : Tensor of int64, shape (2, filters)
        Which scale parameter each has along (x, y); -1 for t = 0, along an axis of one tap.
    variances : Tensor, shape (scales,)
    two_scales : Tensor of int64, shape (pairs,)
        Which of the filters have a second kernel, of a larger scale; it follows the kernels of the filters.
    gap : Tensor of int64, shape (pairs,)
        Which gap parameter each of them has.
    gaps : Tensor, shape (gaps,)
    operators : tuple of str
        Those that occur, the unit impulse among them.
    terms : Terms
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
    two_scales: Int[Tensor, "pairs"]
    gap: Int[Tensor, "pairs"]
    gaps: Float[Tensor, "gaps"]
    operators: tuple[str, ...]
    terms: Terms
    coefficients: Float[Tensor, "coefficients"]
    owner: Int[Tensor, "coefficients"]
    offset: Float[Tensor, "filters"]


def layout_of(fit: Fit, where: Tensor, rows: Tensor, size: tuple[int, int], tie: Tie) -> Layout:
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
    families = [FAMILIES[fit.spec.families[index]] for index in values.family[where].tolist()]
    parameters = values.parameters[where].cpu().double()
    coefficients = values.coefficients[where].cpu().double()
    labels = _scale_labels(families, size, tie)
    pinned = labels == _PINNED
    unseen = discrete_gaussian(torch.where(pinned, parameters.T, 0.0), 0)[..., 0].prod(0)  # what T(0; t) is there
    operators = _operators(families)
    terms, flat, owner = _mixture(families, operators, parameters[:, 1], coefficients * unseen[:, None])
    scale, variances = _tied(labels, _variances(families, parameters))
    two_scales = torch.tensor([number for number, family in enumerate(families) if family.two_scales], dtype=torch.long)
    gap, gaps = _tied(torch.zeros_like(two_scales) if tie in WIDE_TIES else two_scales, parameters[two_scales, 1])
    return Layout(
        size=size,
        window=fit.spec.window,
        rows=rows,
        scale=scale,
        variances=variances,
        two_scales=two_scales,
        gap=gap,
        gaps=gaps,
        operators=operators,
        terms=_with_second_kernels(terms, two_scales, len(families)),
        coefficients=flat,
        owner=owner,
        offset=values.offset[where].cpu().double(),
    )


def geometric_mean(variances: Float[Tensor, "scales"]) -> Float[Tensor, "1"]:
    """Return the mean of variances in their logarithmic parameter, where 0 is a number like any other.

    Examples
    --------
    >>> geometric_mean(torch.tensor([0.0, 0.35]))
    tensor([0.0914])
    """
    return UNIT * torch.expm1(log_parameter(variances).mean(0, keepdim=True))


def _variances(families: Sequence[Family], parameters: Tensor) -> Tensor:
    """Return the variances (t_x, t_y) of each filter, shape (2, filters)."""
    isotropic = torch.tensor([family.isotropic for family in families])
    return torch.stack([parameters[:, 0], torch.where(isotropic, parameters[:, 0], parameters[:, 1])])


def _scale_labels(families: Sequence[Family], size: tuple[int, int], tie: Tie) -> Tensor:
    """Return a label for each filter and axis, shape (2, filters), equal where one scale serves; -1 for none."""
    number = torch.arange(len(families))
    isotropic = torch.tensor([family.isotropic for family in families])
    y = torch.where(isotropic, number, number + len(families)) if tie == "none" else number
    labels = torch.zeros(2, len(families), dtype=torch.long) if tie in WIDE_TIES else torch.stack([number, y])
    seen = torch.tensor([[size[1] > 1], [size[0] > 1]]) | isotropic  # along one tap a scale is but a factor
    return torch.where(seen, labels, _PINNED)


def _tied(labels: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels numbered from 0, all but -1, and for each the mean of its values."""
    wanted = labels != _PINNED
    known, index = torch.unique(labels[wanted], return_inverse=True)
    numbers = torch.full_like(labels, _PINNED)
    numbers[wanted] = index
    sums = values.new_zeros(len(known)).index_add_(0, index, log_parameter(values[wanted]))
    counts = torch.bincount(index, minlength=len(known))
    return numbers, UNIT * torch.expm1(sums / counts)


def _operators(families: Sequence[Family]) -> tuple[str, ...]:
    """Return the operators that occur, in the order of their table."""
    used = {name for family in set(families) for term in family.terms for name in (term.x, term.y)}
    used |= {IMPULSE for family in families if family.has_alpha}
    return tuple(name for name in (*DIFFERENCES, IMPULSE) if name in used)


def _mixture(
    families: Sequence[Family], operators: tuple[str, ...], strength: Tensor, coefficients: Tensor
) -> tuple[Terms, Tensor, Tensor]:
    """Return the terms of the first kernels, all coefficients family by family, and whose they are.

    The strength of a sharpening becomes a coefficient: ``a (impulse + alpha K)`` is ``a alpha`` times K and ``a`` times
    the impulse.
    """
    first, more, values, owners, start = [], [], [], [], 0
    for kind in dict.fromkeys(families):
        rows = torch.tensor([number for number, family in enumerate(families) if family is kind])
        mine, components = coefficients[rows, : len(kind.components)], kind.components
        if kind.has_alpha:
            mine = torch.cat([strength[rows, None] * mine, kind.impulse * mine.sum(1, keepdim=True)], dim=1)
            components = (*components, (Term(IMPULSE, IMPULSE),))
        numbers = start + torch.arange(mine.numel()).reshape(mine.shape)
        start += mine.numel()
        values.append(mine.flatten())
        owners.append(rows.repeat_interleave(mine.shape[1]))
        found = [
            _terms(term, operators, rows, numbers[:, column])
            for column, component in enumerate(components)
            for term in component
        ]
        first.append(found[0])
        more += found[1:]
    beginning = Terms.joined(first)
    terms = Terms.joined([beginning[torch.argsort(beginning.filter)], *more])
    return terms, torch.cat(values), torch.cat(owners)


def _terms(term: Term, operators: tuple[str, ...], rows: Tensor, coefficient: Tensor) -> Terms:
    """Return the same term of several filters."""
    x, y = (torch.full_like(rows, operators.index(name)) for name in (term.x, term.y))
    return Terms(rows, rows, x, y, coefficient, torch.full_like(rows, term.weight, dtype=torch.float64))


def _with_second_kernels(terms: Terms, two_scales: Tensor, filters: int) -> Terms:
    """Add for each filter with two scales the same terms at the larger one, subtracted."""
    second = torch.full((filters,), _PINNED)
    second[two_scales] = filters + torch.arange(len(two_scales))
    twice = terms[(second[terms.filter] >= 0).nonzero()[:, 0]]
    return Terms.joined([terms, replace(twice, kernel=second[twice.filter], weight=-twice.weight)])
