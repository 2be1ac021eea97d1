"""From filters of one size and a spec to parameters, coefficients and residuals."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.fitting.evidence import evidence
from scalekeys.fitting.losses.least_squares import Squares
from scalekeys.fitting.losses.responses import response_share
from scalekeys.fitting.losses.table import loss_of
from scalekeys.fitting.prepare import STATUSES, Prepared, prepare
from scalekeys.fitting.search.by_evidence import noise_threshold, select
from scalekeys.fitting.search.by_width import search_by_width
from scalekeys.fitting.search.families import grids_for, parameters_of, search
from scalekeys.fitting.search.sparse_jets import sparse_search, sparse_solution
from scalekeys.fitting.spec import FitSpec
from scalekeys.fitting.templates.grid import FamilyGrid
from scalekeys.fitting.uncertainty import scale_errors
from scalekeys.shapes import FilterStack, Size, over_taps
from scalekeys.threads import one_thread

CHUNK = 16_384
"""Filters that a thread of a processor works on at once; bounds the memory, never the result."""

_CHUNK_ELSEWHERE = 65_536  # on other devices
_WEIGHTED_CHUNK = 2_048  # where each filter has a matrix of its own
_NUMBERS = ("offset", "r2", "r2_response", "residual_l1", "residual_l2")  # NaN where there is no fit


@dataclass(frozen=True, eq=False)
class StackFit:
    """The fit of a stack of filters; NaN (and family -1) where there is none."""

    family: Int[Tensor, "filters"]
    """Index into the families of the spec, or -1."""
    parameters: Float[Tensor, "filters parameters"]
    """As the parametrization of the family names them; NaN beyond its last one."""
    coefficients: Float[Tensor, "filters components"]
    """Of the components of the family; zero beyond the last."""
    offset: Float[Tensor, "filters"]
    r2: Float[Tensor, "filters"]
    r2_response: Float[Tensor, "filters"]
    residual_l1: Float[Tensor, "filters"]
    residual_l2: Float[Tensor, "filters"]
    norm: Float[Tensor, "filters"]
    """`offset`, `r2`, `r2_response`, `residual_l1`, `residual_l2` and `norm`: ``norm`` is the l2 norm of the centred
    filter. ``r2_response`` is NaN but for the criterion `response`."""
    scale_error: Float[Tensor, "filters axes"]
    """Standard errors of the scales."""
    scale_status: Int[Tensor, "filters axes"]
    """Index into :data:`scalekeys.fitting.uncertainty.SCALE_STATUSES`, or -1."""
    status: Int[Tensor, "filters"]
    """Index into :data:`STATUSES`."""


def chunks_of(
    filters: FilterStack, positions: Int[Tensor, "filters"], *, weighted: bool
) -> Iterator[tuple[FilterStack, Int[Tensor, "filters"]]]:
    """Share filters and their positions out in equal chunks, which do not depend on the number of threads.

    `weighted`: whether each filter has a matrix of its own.
    """
    most = _WEIGHTED_CHUNK if weighted else CHUNK if filters.device.type == "cpu" else _CHUNK_ELSEWHERE
    count = max(1, -(-len(filters) // most))
    return zip(filters.tensor_split(count), positions.tensor_split(count), strict=True)


def fit_chunk(
    filters: FilterStack,
    spec: FitSpec,
    assigned: Int[Tensor, "filters"] | None = None,
    metric: Float[Tensor, "filters taps taps"] | None = None,
) -> StackFit:
    """Fit every filter of a stack with the best of the families of the spec.

    `spec`: with a scale for each axis, or a common one.
    `assigned`: shape (filters,); the one family (index into those of the spec) of each filter; by default all compete.
    `metric`: shape (filters, taps, taps); the covariances of the patches of the filters, for the criterion `response`.
    """
    prepared = prepare(filters, metric)
    usable = (prepared.status == 0).nonzero()[:, 0]
    size = prepared.targets.size
    family = torch.full_like(prepared.status, -1)
    coordinates = prepared.norm.new_full((len(filters), parameters_of(size, spec)), torch.nan)
    if len(usable) and grids_for(size, spec):
        targets = prepared.targets.select(usable)
        if spec.terms:
            best = sparse_search(targets, spec)
        else:
            find = search_by_width if spec.by_variance else select if spec.selects else search
            best = find(targets, spec, None if assigned is None else assigned[usable])
        family[usable], coordinates[usable] = best.family, best.coordinates
    return measure(filters, family, coordinates, spec, prepared)


def measure(
    filters: FilterStack, family: Tensor, coordinates: Tensor, spec: FitSpec, prepared: Prepared | None = None
) -> StackFit:
    """Return coefficients, residuals and standard errors of given families and search coordinates.

    `family`: shape (filters,); index into the families of the spec; -1 for no fit.
    `coordinates`: shape (filters, parameters).
    """
    prepared = prepare(filters) if prepared is None else prepared
    found = _solved(prepared, family, coordinates, spec)
    status, norm = found.status, prepared.norm
    status = torch.where((status == 0) & (family < 0), STATUSES.index("unsupported-size"), status)
    flat_filter = (status == STATUSES.index("zero-filter")) | (status == STATUSES.index("constant-filter"))
    none, empty = (family < 0)[:, None], torch.where(flat_filter, 0.0, torch.nan)
    if spec.selects and len(norm):
        unexplained = _is_unexplained(found.r2, family, spec, prepared.targets.size)
        status = torch.where(unexplained, STATUSES.index("unexplained"), status)
    means = filters.flatten(1).double().mean(-1)
    return replace(
        found,
        coefficients=torch.where(none, empty[:, None], found.coefficients * norm[:, None]),
        offset=torch.where(flat_filter, means, found.offset * norm),
        residual_l1=torch.where(flat_filter, 0.0, found.residual_l1 * norm),
        residual_l2=torch.where(flat_filter, 0.0, found.residual_l2 * norm),
        norm=torch.where(status == STATUSES.index("non-finite"), torch.nan, norm),
        status=status,
    )


def _blank(prepared: Prepared, family: Tensor, spec: FitSpec) -> StackFit:
    """Return what is known of filters before families are solved for."""
    like, size = prepared.norm, prepared.targets.size
    count, grids = len(like), grids_for(size, spec).values()
    parameters = max((len(grid.family.parametrization.names) for grid in grids), default=1)
    if any(grid.common for grid in grids):
        parameters = max(parameters, len(size))
    error = like.new_full((count, len(size)), torch.nan)
    numbers = dict(zip(_NUMBERS, like.new_full((len(_NUMBERS), count), torch.nan), strict=True))
    return StackFit(
        family=family,
        parameters=like.new_full((count, parameters), torch.nan),
        coefficients=like.new_zeros(count, max((grid.family.coefficients for grid in grids), default=1)),
        **numbers,
        norm=prepared.norm,
        scale_error=error,
        scale_status=torch.full_like(error, -1, dtype=torch.long),
        status=prepared.status.clone(),
    )


def _solved(prepared: Prepared, family: Tensor, coordinates: Tensor, spec: FitSpec) -> StackFit:
    """Solve for coefficients and residuals family by family, in units of the norms of the filters."""
    size = prepared.targets.size
    out = _blank(prepared, family, spec)
    curvature = spec.criterion == "l2" and spec.scales != "shared"
    for name, grid in grids_for(size, spec).items():
        rows = (family == spec.families.index(name)).nonzero()[:, 0]
        if not len(rows):
            continue
        targets, mine = prepared.targets.select(rows), coordinates[rows, : grid.parameters]
        if spec.terms:
            loss, solution = None, sparse_solution(targets, mine, spec)
        else:
            loss = loss_of(spec)(targets, grid)
            solution = loss.solution(mine, curvature=curvature)
        residual = targets.taps - solution.model
        left = residual.square().sum(-1)
        out.r2[rows] = 1 - left  # below 0 where a fixed amplitude does harm
        out.residual_l1[rows], out.residual_l2[rows] = residual.abs().sum(-1), left.sqrt()
        if targets.metric is not None:
            out.r2_response[rows] = response_share(targets.taps, residual, targets.metric)
        weights, offset = _in_components(grid, mine, solution.coefficients, solution.model)
        out.coefficients[rows, : weights.shape[-1]] = weights
        out.offset[rows] = offset if solution.offset is None else solution.offset
        physical = grid.physical(mine)
        out.parameters[rows, : physical.shape[-1]] = physical
        status = torch.where(_at_bound(grid, mine), STATUSES.index("at-bound"), out.status[rows])
        out.status[rows] = torch.where(grid.is_infinite(mine).any(-1), STATUSES.index("polynomial"), status)
        if curvature and isinstance(loss, Squares):
            out.scale_error[rows], out.scale_status[rows] = scale_errors(solution, left, mine, grid, loss.fixed_numbers)
    return out


def _in_components(grid: FamilyGrid, coordinates: Tensor, weights: Tensor, model: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coefficients of the components of :meth:`FamilyGrid.components`, and the offset of a model."""
    components = grid.components(coordinates)
    infinite = grid.is_infinite(coordinates).any(-1)
    if bool(infinite.any()):
        along = (components[:, 0] * (model - model.mean(-1, keepdim=True))).sum(-1)
        weights = torch.where(infinite[:, None], along[:, None], weights)
    return weights, model.mean(-1) - (weights * components.mean(-1)).sum(-1)


def _is_unexplained(r2: Tensor, family: Tensor, spec: FitSpec, size: Size) -> Tensor:
    """Return which filters have less evidence for their model than white noise often has."""
    fitted = family >= 0
    if not bool(fitted.any()):  # as those of a size that no family has a template for
        return fitted
    numbers = torch.tensor([*(spec.numbers(name, size) for name in spec.families), 0], device=family.device)
    found = evidence(r2, numbers[family], prod(size))
    return fitted & (found < noise_threshold(size, spec))


def coordinates_of(family: Tensor, parameters: Tensor, spec: FitSpec, size: Size) -> Tensor:
    """Return the search coordinates of the parameters of given families, NaN beyond the last."""
    out = parameters.new_full((len(family), parameters_of(size, spec)), torch.nan)
    for name, grid in grids_for(size, spec).items():
        rows = (family == spec.families.index(name)).nonzero()[:, 0]
        out[rows, : grid.parameters] = grid.coordinates(_own(grid, parameters[rows]))
    return out


def _own(grid: FamilyGrid, parameters: Tensor) -> Tensor:
    """Return the parameters that the family of a grid has in tables, without those of others after them."""
    own = grid.family.parametrization
    return parameters[:, : len(grid.size) if grid.common else len(own.names)]


def components_of(name: str, parameters: Tensor, spec: FitSpec, size: Size) -> Tensor:
    """Return the components of a family at given parameters, shape (filters, components, *size)."""
    grid = grids_for(size, spec)[name]
    components = grid.components(grid.coordinates(_own(grid, parameters)))
    return components.reshape(*components.shape[:2], *size)


@one_thread()
def mixture(
    family: Tensor, parameters: Tensor, coefficients: Tensor, offset: Tensor, spec: FitSpec, size: Size
) -> Tensor:
    """Return the modelled filters, shape (filters, *size); NaN where there is no fit."""
    models = parameters.new_full((len(family), *size), torch.nan)
    for index, name in enumerate(spec.families):
        rows = (family == index).nonzero()[:, 0]
        if len(rows):
            components = components_of(name, parameters[rows], spec, size)
            weights = coefficients[rows, : components.shape[1]]
            mixed = torch.einsum("nc,nc...->n...", weights, components)
            models[rows] = mixed + over_taps(offset[rows], len(size))
    return models


def _at_bound(grid: FamilyGrid, coordinates: Tensor) -> Tensor:
    """Return which fits ended at the largest scale that is searched, where it is not infinite, or strength."""
    ends = grid.bounds()[1].to(coordinates)
    at_end = (coordinates >= ends - 1e-9 * ends.abs()) & grid.ended.to(coordinates.device)
    return torch.zeros_like(at_end[:, 0]) if grid.is_unbounded else at_end.any(-1)
