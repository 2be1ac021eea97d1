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


@dataclass(frozen=True)
class OuterProduct:
    """A weight times the outer product of one profile for each axis.

    Parameters
    ----------
    operators : tuple of str
        Along (x, y, z).
    weight : float
    """

    operators: tuple[str, ...]
    weight: float


@dataclass(frozen=True)
class ModelComponent:
    """A sum of outer products that one coefficient multiplies.

    Parameters
    ----------
    products : tuple of OuterProduct
    kernel : int
        At which scales: 0 at those of the filter, 1 at those of its second kernel, whose variance is larger along each
        axis by a gap.
    """

    products: tuple[OuterProduct, ...]
    kernel: int = 0


@dataclass(frozen=True)
class ModelForm:
    """What the filters of one family are made of.

    Parameters
    ----------
    components : tuple of ModelComponent
    groups : tuple of int
        Which of the scales of a filter each axis has, in the order (x, y, z); axes of the same number have one scale.
    """

    components: tuple[ModelComponent, ...]
    groups: tuple[int, ...]

    @property
    def has_gap(self) -> bool:
        """Whether filters have a second kernel."""
        return any(component.kernel for component in self.components)


@dataclass(frozen=True, eq=False)
class FittedFilters:
    """Filters of one size as weighted sums of components, each less its mean over the window, and a mean.

    Parameters
    ----------
    size : tuple of int
        Sides in the order of the array.
    window : {"exact", "published"}
    discretization : str
    forms : tuple of ModelForm
    form : Tensor of int64, shape (filters,)
        Which of the forms each filter has.
    variances : Tensor, shape (filters, axes)
        Along (x, y, z), however large.
    gaps : Tensor, shape (filters,)
        By how much the variances of a second kernel exceed these by more than the smallest gap; 0 without one.
    weights : Tensor, shape (filters, components)
        Of the components of each form, zero beyond the last.
    used : Tensor of bool, shape (filters, components)
        Which of them are part of the model.
    models : Tensor, shape (filters, *sides)
        The modelled filters.
    """

    size: Size
    window: Window
    discretization: Discretization
    forms: tuple[ModelForm, ...]
    form: Int[Tensor, "filters"]
    variances: Float[Tensor, "filters axes"]
    gaps: Float[Tensor, "filters"]
    weights: Float[Tensor, "filters components"]
    used: Bool[Tensor, "filters components"]
    models: Float[Tensor, "filters *sides"]

    def __len__(self) -> int:
        return len(self.form)

    def members(self) -> list[tuple[ModelForm, Tensor]]:
        """Return which filters are of each form, for the forms that occur."""
        return [(self.forms[code], (self.form == code).nonzero()[:, 0]) for code in self.form.unique()]


def fitted_filters(fit: Fit, where: Tensor, models: Float[Tensor, "filters *sides"]) -> FittedFilters:
    """Read some filters of a fit, on the CPU in float64.

    Parameters
    ----------
    fit : Fit
    where : Tensor of int64, shape (filters,)
        Where the filters stand in the fit; each has a family.
    models : Tensor, shape (filters, *sides)
        These filters as the fit models them.

    Raises
    ------
    ModelError
        If a filter has a family that is no sum of outer products.
    """
    size = tuple(models.shape[1:])
    codes, form = fit.values.family[where].cpu().long().unique(return_inverse=True)
    families = [families_of(len(size))[fit.spec.families[code]] for code in codes]
    forms = tuple(map(form_of, families))
    parameters, given, fields = (
        numbers.detach().cpu().double()
        for numbers in (fit.values.parameters[where], fit.values.coefficients[where], models)
    )
    counts = torch.tensor([len(one.components) for one in forms])
    used = torch.arange(int(counts.max())) < counts[form, None]
    variances, gaps = parameters.new_zeros(len(form), len(size)), parameters.new_zeros(len(form))
    weights = used.to(parameters)
    for code, family in enumerate(families):
        rows = (form == code).nonzero()[:, 0]
        own = parameters[rows, : len(family.parametrization.names)]
        variances[rows] = family.parametrization.axis_variances(own)
        if "t_outer" in family.parametrization.names:
            gaps[rows] = (own[:, 1] - own[:, 0] - GAP).clamp(min=0.0)
        fixed = family.parametrization.component_weights(own)
        weights[rows, : int(counts[code])] = given[rows, : family.coefficients] * (1.0 if fixed is None else fixed)
    if fit.spec.terms:
        used &= weights != 0
    window, discretization = fit.spec.window, fit.spec.discretization
    return FittedFilters(size, window, discretization, forms, form, variances, gaps, weights, used, fields)


def form_of(family: Family) -> ModelForm:
    """Return what filters of a family are made of.

    Raises
    ------
    ModelError
        If the parameters of the family are no scales of outer products, as those of an oriented one.
    """
    own = family.parametrization
    if not isinstance(own, AxisScales | Strengthened | TwoScales):
        raise ModelError(
            f"filters of the family {family.name!r} cannot be constrained, since {', '.join(own.names)} are not the "
            "scales of outer products of profiles along the axes; fit another model"
        )
    kernels = (0, 1) if "t_outer" in own.names else (0,) * len(family.components)
    components = [
        ModelComponent(tuple(OuterProduct(term.operators, term.weight) for term in part), kernel=kernel)
        for part, kernel in zip(family.components, kernels, strict=True)
    ]
    return ModelForm(tuple(components), groups=own.groups or (0,) * family.axes)
