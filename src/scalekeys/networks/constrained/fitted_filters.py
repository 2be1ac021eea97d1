"""Some filters of a fit as sums of outer products: all that constraining a network reads of the fit."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.fitting import Fit
from scalekeys.scalespace import GAP, AxisScales, Discretization, Family, Window
from scalekeys.scalespace import families as families_of
from scalekeys.scalespace.parametrizations import Strengthened, TwoScales
from scalekeys.shapes import Size


@dataclass(frozen=True, eq=False)
class FittedFilters:
    """Filters of one size as weighted sums of components, each less its mean over the window, and a mean.

    Raises ModelError if the parameters of a family are no scales of outer products, as those of an oriented one.
    """

    size: Size
    window: Window
    discretization: Discretization
    families: tuple[Family, ...]
    family: Int[Tensor, "filters"]
    """Which of the families each filter has."""
    variances: Float[Tensor, "filters axes"]
    """Along (x, y, z), however large."""
    gaps: Float[Tensor, "filters"]
    """By how much the variances of a second kernel exceed these by more than the smallest gap; 0 without one."""
    weights: Float[Tensor, "filters components"]
    """Of the components of each family, zero beyond the last."""
    used: Bool[Tensor, "filters components"]
    """Which of them are part of the model."""
    models: Float[Tensor, "filters *sides"]
    """The modelled filters."""

    def __post_init__(self) -> None:
        for family in self.families:
            own = family.parametrization
            if not isinstance(own, AxisScales | Strengthened | TwoScales):
                raise ModelError(
                    f"filters of the family {family.name!r} cannot be constrained, since {', '.join(own.names)} are "
                    "not the scales of outer products of profiles along the axes; fit another model"
                )

    def __len__(self) -> int:
        return len(self.family)

    @property
    def has_gap(self) -> Bool[Tensor, "filters"]:
        """Which filters have a second kernel for their second component, whose variances are larger by a gap."""
        return torch.tensor([has_two_scales(family) for family in self.families])[self.family]

    def members(self) -> list[tuple[Family, Tensor]]:
        """Return which filters are of each family, for the families that occur."""
        return [(self.families[code], (self.family == code).nonzero()[:, 0]) for code in self.family.unique()]


def has_two_scales(family: Family) -> bool:
    """Tell whether the second component of a family has a kernel of its own."""
    return isinstance(family.parametrization, TwoScales)


def fitted_filters(fit: Fit, where: Tensor, models: Float[Tensor, "filters *sides"]) -> FittedFilters:
    """Read some filters of a fit, on the CPU in float64.

    `where`: where the filters stand in the fit; each has a family.
    `models`: these filters as the fit models them.
    Raises ModelError if a filter has a family that is no sum of outer products.
    """
    size = tuple(models.shape[1:])
    codes, which = fit.values.family[where].cpu().long().unique(return_inverse=True)
    families = tuple(families_of(len(size))[fit.spec.families[code]] for code in codes)
    parameters, given, fields = (
        numbers.detach().cpu().double()
        for numbers in (fit.values.parameters[where], fit.values.coefficients[where], models)
    )
    counts = torch.tensor([len(family.components) for family in families])
    used = torch.arange(int(counts.max())) < counts[which, None]
    variances, gaps = parameters.new_zeros(len(which), len(size)), parameters.new_zeros(len(which))
    weights = used.to(parameters)
    for code, family in enumerate(families):
        rows = (which == code).nonzero()[:, 0]
        own = parameters[rows, : len(family.parametrization.names)]
        variances[rows] = family.parametrization.axis_variances(own)
        if has_two_scales(family):
            gaps[rows] = (own[:, 1] - own[:, 0] - GAP).clamp(min=0.0)
        fixed = family.parametrization.component_weights(own)
        weights[rows, : int(counts[code])] = given[rows, : family.coefficients] * (1.0 if fixed is None else fixed)
    if fit.spec.terms:
        used &= weights != 0
    window, discretization = fit.spec.window, fit.spec.discretization
    return FittedFilters(size, window, discretization, families, which, variances, gaps, weights, used, fields)
