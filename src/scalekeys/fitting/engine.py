"""From filters of one size and a spec to parameters, coefficients and residuals."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.filters import moment_normalization
from scalekeys.fitting.absolute import least_absolute, with_constant
from scalekeys.fitting.grids import family_grid
from scalekeys.fitting.search import Best, search
from scalekeys.fitting.spec import FitSpec
from scalekeys.fitting.uncertainty import scale_errors
from scalekeys.fitting.variances import search_by_variance
from scalekeys.scalespace import FAMILIES
from scalekeys.shapes import FilterStack

CHUNK = 8_192
"""Filters that are worked on at once; bounds the memory, never the result."""

STATUSES: tuple[str, ...] = ("ok", "at-bound", "zero-filter", "constant-filter", "non-finite", "unsupported-size")
"""The words of the column `status`; only the first two carry a fit."""


@dataclass(frozen=True, eq=False)
class StackFit:
    """The fit of a stack of filters; NaN (and family -1) where there is none.

    Parameters
    ----------
    family : Tensor of int64, shape (filters,)
        Index into the families of the spec, or -1.
    parameters : Tensor, shape (filters, 2)
        ``(t_x, t_y)``, or ``(t, alpha)`` for a family with a sharpening strength.
    coefficients : Tensor, shape (filters, components)
        Of the components of the family; zero beyond the last.
    offset, r2, residual_l1, residual_l2, energy : Tensor, shape (filters,)
        ``energy`` is the sum of squares of the centred filter.
    scale_error : Tensor, shape (filters, 2)
        Standard errors of the scales.
    scale_status : Tensor of int64, shape (filters, 2)
        Index into :data:`scalekeys.fitting.uncertainty.SCALE_STATUSES`, or -1.
    status : Tensor of int64, shape (filters,)
        Index into :data:`STATUSES`.
    """

    family: Int[Tensor, "filters"]
    parameters: Float[Tensor, "filters 2"]
    coefficients: Float[Tensor, "filters components"]
    offset: Float[Tensor, "filters"]
    r2: Float[Tensor, "filters"]
    residual_l1: Float[Tensor, "filters"]
    residual_l2: Float[Tensor, "filters"]
    energy: Float[Tensor, "filters"]
    scale_error: Float[Tensor, "filters 2"]
    scale_status: Int[Tensor, "filters 2"]
    status: Int[Tensor, "filters"]


def concatenate(parts: list[StackFit]) -> StackFit:
    """Join the fits of consecutive stacks."""
    return StackFit(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(StackFit)))


def fit_stack(
    filters: FilterStack,
    spec: FitSpec,
    assigned: Int[Tensor, "filters"] | None = None,
    progress: Callable[[int], None] | None = None,
) -> StackFit:
    """Fit every filter of a stack with the best of the families of the spec.

    Parameters
    ----------
    filters : Tensor, shape (filters, rows, cols)
    spec : FitSpec
        With a scale for each axis, or a common one.
    assigned : Tensor of int64, shape (filters,), optional
        The one family (index into those of the spec) of each filter; by default all compete.
    progress : callable, optional
        Called with the number of filters after each chunk.

    Returns
    -------
    StackFit
    """
    parts = []
    for start in range(0, len(filters), CHUNK):
        chunk = slice(start, start + CHUNK)
        parts.append(_fit_chunk(filters[chunk].double(), spec, None if assigned is None else assigned[chunk]))
        if progress is not None:
            progress(len(parts[-1].family))
    return concatenate(parts)


def _fit_chunk(filters: Tensor, spec: FitSpec, assigned: Tensor | None) -> StackFit:
    status, unit, _ = prepare(filters)
    usable = (status == 0).nonzero()[:, 0]
    family = filters.new_full((len(filters),), -1, dtype=torch.long)
    parameters = filters.new_full((len(filters), 2), torch.nan)
    if len(usable):
        find = search_by_variance if spec.by_variance else search
        best: Best = find(unit[usable], spec, None if assigned is None else assigned[usable])
        family[usable], parameters[usable] = best.family, best.parameters
    return measure(filters, family, parameters, spec)


def prepare(filters: FilterStack) -> tuple[Tensor, Tensor, Tensor]:
    """Return the status before any fit, the filters in units of their centred norms, and these norms."""
    flat = filters.flatten(1)
    finite = flat.isfinite().all(-1)
    largest = flat.abs().amax(-1)
    safe = torch.where(finite & (largest > 0), largest, 1.0)[:, None]
    shape = torch.where(finite[:, None], flat, 0.0) / safe  # so that squares neither overflow nor underflow
    norm = torch.linalg.vector_norm(shape - shape.mean(-1, keepdim=True), dim=-1)
    even = filters.shape[1] % 2 == 0 or filters.shape[2] % 2 == 0
    status = torch.full_like(norm, STATUSES.index("unsupported-size") if even else 0, dtype=torch.long)
    constant = norm <= 8 * torch.finfo(torch.float32).eps * torch.linalg.vector_norm(shape, dim=-1)
    status = torch.where(constant, STATUSES.index("constant-filter"), status)
    status = torch.where(finite & (largest == 0), STATUSES.index("zero-filter"), status)
    status = torch.where(finite, status, STATUSES.index("non-finite"))
    unit = shape / torch.where(norm > 0, norm, 1.0)[:, None]
    return status, unit.reshape(filters.shape), norm * safe[:, 0]


def measure(filters: FilterStack, family: Tensor, parameters: Tensor, spec: FitSpec) -> StackFit:
    """Return coefficients, residuals and standard errors of given families and parameters.

    Parameters
    ----------
    filters : Tensor, shape (filters, rows, cols), float64
    family : Tensor of int64, shape (filters,)
        Index into the families of the spec; -1 for no fit.
    parameters : Tensor, shape (filters, 2)
    spec : FitSpec
    """
    size = (filters.shape[1], filters.shape[2])
    status, unit, norm = prepare(filters)
    coefficients = filters.new_zeros(len(filters), spec.components)
    offset, models = torch.full_like(norm, torch.nan), torch.full_like(unit, torch.nan)
    for index, name in enumerate(spec.families):
        rows = (family == index).nonzero()[:, 0]
        if len(rows):
            components = templates(name, parameters[rows], spec, size)
            found, offset[rows] = _coefficients(unit[rows], components.flatten(2), name, spec)
            coefficients[rows, : found.shape[-1]] = found
            models[rows] = _mixed(components, found, offset[rows])
    residual = (unit - models).flatten(1)
    left = residual.square().sum(-1)

    bound = at_upper_bound(family, parameters, spec, size)
    status = torch.where((status == 0) & (family < 0), STATUSES.index("unsupported-size"), status)
    flat_filter = (status == STATUSES.index("zero-filter")) | (status == STATUSES.index("constant-filter"))
    none = (family < 0)[:, None]
    error, word = torch.full_like(parameters, torch.nan), torch.full_like(parameters, -1, dtype=torch.long)
    if spec.criterion == "l2" and spec.scales != "shared":
        error, word = scale_errors(unit, family, parameters, spec)
    return StackFit(
        family=family,
        parameters=parameters,
        coefficients=torch.where(none, torch.where(flat_filter, 0.0, torch.nan)[:, None], coefficients * norm[:, None]),
        offset=torch.where(flat_filter, filters.flatten(1).mean(-1), offset * norm),
        r2=torch.where(family < 0, torch.nan, 1 - left),  # below 0 where a fixed amplitude does harm
        residual_l1=torch.where(flat_filter, 0.0, residual.abs().sum(-1) * norm),
        residual_l2=torch.where(flat_filter, 0.0, left.sqrt() * norm),
        energy=torch.where(status == STATUSES.index("non-finite"), torch.nan, norm.square()),
        scale_error=error,
        scale_status=torch.where(none, -1, word),
        status=torch.where(bound, STATUSES.index("at-bound"), status),
    )


def _coefficients(filters: Tensor, components: Tensor, name: str, spec: FitSpec) -> tuple[Tensor, Tensor]:
    """Coefficients, shape (filters, components), and offset of filters of unit norm for given templates."""
    flat = filters.flatten(1)
    if spec.normalization == "moment":
        normalized = moment_normalization(filters, name)
        return normalized.amplitude[:, None], normalized.offset
    if spec.criterion == "l1":
        size = components.norm(dim=-1).clamp(min=torch.finfo(components.dtype).tiny)
        found, _ = least_absolute(with_constant(components / size[..., None]), flat)
        return found[:, :-1] / size, found[:, -1] * flat.shape[-1] ** -0.5
    mean, centre = flat.mean(-1), components.mean(-1)
    centred = components - centre[..., None]
    target = flat - mean[:, None]
    if components.shape[1] == 1:
        found = (centred @ target[..., None])[..., 0] / centred.square().sum(-1)
    else:
        size = centred.norm(dim=-1).clamp(min=torch.finfo(centred.dtype).tiny)
        found = (torch.linalg.pinv((centred / size[..., None]).mT, rtol=1e-10) @ target[..., None])[..., 0] / size
    return found, mean - (found * centre).sum(-1)


def templates(name: str, parameters: Tensor, spec: FitSpec, size: tuple[int, int]) -> Tensor:
    """Return the components of a family at given parameters, shape (filters, components, rows, cols)."""
    return family_grid(name, size, spec.window).plan(parameters)[:, 0]


def mixture(
    family: Tensor, parameters: Tensor, coefficients: Tensor, offset: Tensor, spec: FitSpec, size: tuple[int, int]
) -> Tensor:
    """Return the modelled filters, shape (filters, rows, cols); NaN where there is no fit."""
    models = parameters.new_full((len(family), *size), torch.nan)
    for index, name in enumerate(spec.families):
        rows = (family == index).nonzero()[:, 0]
        if len(rows):
            components = templates(name, parameters[rows], spec, size)
            models[rows] = _mixed(components, coefficients[rows, : components.shape[1]], offset[rows])
    return models


def _mixed(components: Tensor, coefficients: Tensor, offset: Tensor) -> Tensor:
    """Models of the same components, shape (filters, rows, cols)."""
    return (coefficients[..., None, None] * components).sum(1) + offset[:, None, None]


def at_upper_bound(family: Tensor, parameters: Tensor, spec: FitSpec, size: tuple[int, int]) -> Tensor:
    """Return which fits ended at the largest scale (or sharpening strength) that is searched."""
    bound = torch.zeros_like(family, dtype=torch.bool)
    for index, name in enumerate(spec.families):
        mine = family == index
        if mine.any():
            upper = family_grid(name, size, spec.window).upper.to(parameters)
            counts = torch.tensor([size[1] > 1, size[0] > 1 or FAMILIES[name].has_alpha], device=bound.device)
            bound[mine] = ((parameters[mine] >= upper * (1 - 1e-9)) & counts).any(-1)
    return bound
