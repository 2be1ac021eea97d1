"""From filters of one size and a spec to parameters, coefficients and residuals."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.fitting.evidence import evidence, numbers_of
from scalekeys.fitting.grids import family_grid
from scalekeys.fitting.losses import loss_of
from scalekeys.fitting.response import response_share
from scalekeys.fitting.search import search
from scalekeys.fitting.selection import noise_threshold, select
from scalekeys.fitting.sparse import sparse_search, sparse_solution
from scalekeys.fitting.spec import FitSpec
from scalekeys.fitting.squares import Squares
from scalekeys.fitting.targets import STATUSES, Prepared, prepare
from scalekeys.fitting.uncertainty import scale_errors
from scalekeys.fitting.variances import search_by_variance
from scalekeys.scalespace import FAMILIES
from scalekeys.shapes import FilterStack
from scalekeys.threads import one_thread

CHUNK = 16_384
"""Filters that a thread of a processor works on at once; bounds the memory, never the result."""

_CHUNK_ELSEWHERE = 65_536  # on other devices
_WEIGHTED_CHUNK = 2_048  # where each filter has a matrix of its own


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
    offset, r2, r2_response, residual_l1, residual_l2, norm : Tensor, shape (filters,)
        ``norm`` is the l2 norm of the centred filter. ``r2_response`` is NaN but for the criterion `response`.
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
    r2_response: Float[Tensor, "filters"]
    residual_l1: Float[Tensor, "filters"]
    residual_l2: Float[Tensor, "filters"]
    norm: Float[Tensor, "filters"]
    scale_error: Float[Tensor, "filters 2"]
    scale_status: Int[Tensor, "filters 2"]
    status: Int[Tensor, "filters"]


def chunks_of(
    filters: FilterStack, positions: Int[Tensor, "filters"], *, weighted: bool
) -> Iterator[tuple[FilterStack, Int[Tensor, "filters"]]]:
    """Share filters and their positions out in equal chunks, which do not depend on the number of threads.

    Parameters
    ----------
    filters : Tensor, shape (filters, rows, cols)
    positions : Tensor of int64, shape (filters,)
    weighted : bool
        Whether each filter has a matrix of its own.
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

    Parameters
    ----------
    filters : Tensor, shape (filters, rows, cols)
    spec : FitSpec
        With a scale for each axis, or a common one.
    assigned : Tensor of int64, shape (filters,), optional
        The one family (index into those of the spec) of each filter; by default all compete.
    metric : Tensor, shape (filters, taps, taps), optional
        The covariances of the patches of the filters, for the criterion `response`.
    """
    prepared = prepare(filters, metric)
    usable = (prepared.status == 0).nonzero()[:, 0]
    family = torch.full_like(prepared.status, -1)
    parameters = prepared.norm.new_full((len(filters), 2), torch.nan)
    if len(usable):
        targets = prepared.targets.select(usable)
        if spec.terms:
            best = sparse_search(targets, spec)
        else:
            find = search_by_variance if spec.by_variance else select if spec.selects else search
            best = find(targets, spec, None if assigned is None else assigned[usable])
        family[usable], parameters[usable] = best.family, best.parameters
    return measure(filters, family, parameters, spec, prepared)


def measure(
    filters: FilterStack, family: Tensor, parameters: Tensor, spec: FitSpec, prepared: Prepared | None = None
) -> StackFit:
    """Return coefficients, residuals and standard errors of given families and parameters.

    Parameters
    ----------
    filters : Tensor, shape (filters, rows, cols)
    family : Tensor of int64, shape (filters,)
        Index into the families of the spec; -1 for no fit.
    parameters : Tensor, shape (filters, 2)
    spec : FitSpec
    prepared : Prepared, optional
        The same filters, prepared.
    """
    prepared = prepare(filters) if prepared is None else prepared
    size, status, norm = prepared.targets.size, prepared.status, prepared.norm
    found = _solved(prepared, family, parameters, spec)
    status = torch.where((status == 0) & (family < 0), STATUSES.index("unsupported-size"), status)
    flat_filter = (status == STATUSES.index("zero-filter")) | (status == STATUSES.index("constant-filter"))
    none, empty = (family < 0)[:, None], torch.where(flat_filter, 0.0, torch.nan)
    status = torch.where(found.bound, STATUSES.index("at-bound"), status)
    if spec.selects and len(norm):
        status = torch.where(_is_unexplained(found.left, family, spec, size), STATUSES.index("unexplained"), status)
    means = filters.flatten(1).double().mean(-1)
    return StackFit(
        family=family,
        parameters=parameters,
        coefficients=torch.where(none, empty[:, None], found.coefficients * norm[:, None]),
        offset=torch.where(flat_filter, means, found.offset * norm),
        r2=1 - found.left,  # below 0 where a fixed amplitude does harm
        r2_response=found.responses,
        residual_l1=torch.where(flat_filter, 0.0, found.sums * norm),
        residual_l2=torch.where(flat_filter, 0.0, found.left.sqrt() * norm),
        norm=torch.where(status == STATUSES.index("non-finite"), torch.nan, norm),
        scale_error=found.error,
        scale_status=found.word,
        status=status,
    )


@dataclass(frozen=True, eq=False)
class _Solved:
    """What belongs to given parameters, in units of the norms of the filters; NaN where there is no fit."""

    coefficients: Tensor
    offset: Tensor
    left: Tensor  # sum of squares
    sums: Tensor  # sum of absolute differences
    responses: Tensor
    error: Tensor
    word: Tensor
    bound: Tensor

    @classmethod
    def blank(cls, parameters: Tensor, components: int) -> "_Solved":
        count = len(parameters)
        offset, left, sums, responses = parameters.new_full((4, count), torch.nan)
        return cls(
            parameters.new_zeros(count, components),
            offset,
            left,
            sums,
            responses,
            error=torch.full_like(parameters, torch.nan),
            word=torch.full_like(parameters, -1, dtype=torch.long),
            bound=torch.zeros(count, dtype=torch.bool, device=parameters.device),
        )


def _solved(prepared: Prepared, family: Tensor, parameters: Tensor, spec: FitSpec) -> _Solved:
    """Solve for coefficients and residuals family by family."""
    out, size = _Solved.blank(parameters, spec.components), prepared.targets.size
    curvature = spec.criterion == "l2" and spec.scales != "shared"
    for index, name in enumerate(spec.families):
        rows = (family == index).nonzero()[:, 0]
        if not len(rows):
            continue
        targets, mine = prepared.targets.select(rows), parameters[rows]
        if spec.terms:
            loss, solution = None, sparse_solution(targets, mine, spec)
        else:
            loss = loss_of(spec)(targets, family_grid(name, size, spec.window, common=spec.scales == "common"))
            solution = loss.solution(mine, curvature=curvature)
        residual = targets.taps - solution.model
        left = residual.square().sum(-1)
        out.left[rows], out.sums[rows] = left, residual.abs().sum(-1)
        if targets.metric is not None:
            out.responses[rows] = response_share(targets.taps, residual, targets.metric)
        out.coefficients[rows, : solution.coefficients.shape[-1]] = solution.coefficients
        out.offset[rows], out.bound[rows] = solution.offset, at_upper_bound(mine, name, spec, size)
        if curvature and isinstance(loss, Squares):
            out.error[rows], out.word[rows] = scale_errors(solution, left, mine, loss.grid, loss.fixed_numbers)
    return out


def _is_unexplained(left: Tensor, family: Tensor, spec: FitSpec, size: tuple[int, int]) -> Tensor:
    """Return which filters have less evidence for their model than white noise often has."""
    fitted = family >= 0
    if not bool(fitted.any()):  # as those of a size that no family has a template for
        return fitted
    taps = size[0] * size[1]
    numbers = torch.tensor([*map(numbers_of, spec.families), 0], device=family.device)[family]
    found = evidence(1 - left, numbers, taps)
    return fitted & (found < noise_threshold(size, spec.families, spec.window))


def templates(name: str, parameters: Tensor, spec: FitSpec, size: tuple[int, int]) -> Tensor:
    """Return the components of a family at given parameters, shape (filters, components, rows, cols)."""
    return family_grid(name, size, spec.window).plan(parameters)[:, 0]


@one_thread()
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


def at_upper_bound(parameters: Tensor, name: str, spec: FitSpec, size: tuple[int, int]) -> Tensor:
    """Return which fits of a family ended at the largest scale (or sharpening strength) that is searched."""
    upper = family_grid(name, size, spec.window).upper.to(parameters)
    counts = torch.tensor([size[1] > 1, size[0] > 1 or FAMILIES[name].isotropic]).to(parameters.device)
    return ((parameters >= upper * (1 - 1e-9)) & counts).any(-1)
