"""The search itself: filters of one size and a spec in, parameters and residuals out."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.fitting.dictionary import FamilyGrid, family_grid, max_sigma
from scalekeys.fitting.least_squares import unexplained
from scalekeys.fitting.newton import minimize
from scalekeys.fitting.spec import FitSpec
from scalekeys.scalespace import FAMILIES, template_plan
from scalekeys.shapes import FilterStack

CHUNK = 8_192
"""Filters that are worked on at once; bounds the memory, never the result."""

_FLOAT32_SLACK = 1e-3
_TIE = 1e-10

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
    amplitude, offset, r2, residual_l1, residual_l2, energy : Tensor, shape (filters,)
        ``energy`` is the sum of squares of the centred filter.
    status : Tensor of int64, shape (filters,)
        Index into :data:`STATUSES`.
    """

    family: Int[Tensor, "filters"]
    parameters: Float[Tensor, "filters 2"]
    amplitude: Float[Tensor, "filters"]
    offset: Float[Tensor, "filters"]
    r2: Float[Tensor, "filters"]
    residual_l1: Float[Tensor, "filters"]
    residual_l2: Float[Tensor, "filters"]
    energy: Float[Tensor, "filters"]
    status: Int[Tensor, "filters"]


def concatenate(parts: list[StackFit]) -> StackFit:
    """Join the fits of consecutive stacks."""
    return StackFit(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(StackFit)))


def fit_stack(filters: FilterStack, spec: FitSpec, progress: Callable[[int], None] | None = None) -> StackFit:
    """Fit every filter of a stack with the best of the families of the spec.

    Parameters
    ----------
    filters : Tensor, shape (filters, rows, cols)
    spec : FitSpec
    progress : callable, optional
        Called with the number of filters after each chunk.

    Returns
    -------
    StackFit

    Raises
    ------
    ModelError
        If no family of the spec can be told apart on kernels of this size.
    """
    parts = []
    for chunk in filters.split(CHUNK):
        parts.append(_fit_chunk(chunk.double(), spec))
        if progress is not None:
            progress(len(chunk))
    return concatenate(parts)


def families_for(size: tuple[int, int], spec: FitSpec) -> tuple[str, ...]:
    """Return the families of the spec that a window can show: no difference along an axis of one tap."""
    rows, cols = size
    return tuple(
        name
        for name in spec.families
        if (cols > 1 or not FAMILIES[name].differentiates("x")) and (rows > 1 or not FAMILIES[name].differentiates("y"))
    )


def _fit_chunk(filters: Tensor, spec: FitSpec) -> StackFit:
    status, centred, scale = _prepare(filters)
    usable = (status == 0).nonzero()[:, 0]
    count = len(filters)
    family = filters.new_full((count,), -1, dtype=torch.long)
    parameters = filters.new_full((count, 2), torch.nan)
    r2 = filters.new_full((count,), torch.nan)
    if len(usable):
        size = (filters.shape[1], filters.shape[2])
        family[usable], parameters[usable], r2[usable] = _search(centred[usable], size, spec)
        bound = at_upper_bound(family, parameters, spec, size)
        status = torch.where(bound, STATUSES.index("at-bound"), status)
    return _measure(filters, family, parameters, r2, status, scale, spec)


def _prepare(filters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Status before any fit, centred filters of unit norm (flat), and their centred norms."""
    flat = filters.flatten(1)
    finite = flat.isfinite().all(-1)
    largest = flat.abs().amax(-1)
    safe = torch.where(finite & (largest > 0), largest, 1.0)[:, None]
    shape = torch.where(finite[:, None], flat, 0.0) / safe  # so that squares neither overflow nor underflow
    centred = shape - shape.mean(-1, keepdim=True)
    norm = torch.linalg.vector_norm(centred, dim=-1)
    even = filters.shape[1] % 2 == 0 or filters.shape[2] % 2 == 0
    status = torch.full_like(norm, STATUSES.index("unsupported-size") if even else 0, dtype=torch.long)
    constant = norm <= 8 * torch.finfo(torch.float32).eps * torch.linalg.vector_norm(shape, dim=-1)
    status = torch.where(constant, STATUSES.index("constant-filter"), status)
    status = torch.where(finite & (largest == 0), STATUSES.index("zero-filter"), status)
    status = torch.where(finite, status, STATUSES.index("non-finite"))
    unit = centred / torch.where(norm > 0, norm, 1.0)[:, None]
    return status, unit, norm * safe[:, 0]


def _search(targets: Tensor, size: tuple[int, int], spec: FitSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Best family (index into the spec), parameters and r2 for centred targets of unit norm."""
    names = families_for(size, spec)
    if not names:
        raise ModelError(f"none of the families {', '.join(spec.families)} can be told apart on {size[0]}x{size[1]}")
    grids = [family_grid(name, size, spec.window) for name in names]
    scores = [(targets.float() @ grid.atoms.to(targets.device)).abs() for grid in grids]
    reachable = _cosine_within_reach(scores, grids)

    best = targets.new_full((len(targets),), -torch.inf)
    r2 = torch.full_like(best, torch.nan)
    winner = torch.full_like(best, -1, dtype=torch.long)
    parameters = targets.new_zeros(len(targets), 2)
    for grid, cosine, mask in zip(grids, scores, reachable, strict=True):
        problem, atom = _starts(cosine, mask, grid.shape)
        found = minimize(
            unexplained(targets[problem], template_plan(grid.family, size, spec.window), float(grid.upper[0])),
            grid.parameters(atom).to(targets),
            grid.upper.to(targets).expand(len(problem), 2),
        )
        # At alpha = 0 a sharpening is an impulse, as `smooth` is at scale 0: the tie goes to the plainer family.
        score = -found.value - (_TIE if FAMILIES[grid.family].has_alpha else 0.0)
        chosen = _winners(score, problem, best)
        improved = problem[chosen]
        best[improved] = score[chosen]
        r2[improved] = -found.value[chosen]
        winner[improved] = spec.families.index(grid.family)
        parameters[improved] = found.parameters[chosen]
    return winner, parameters, r2


def _winners(score: Tensor, problem: Tensor, best: Tensor) -> Tensor:
    """Return, for each filter that a start improves, the first of its best starts."""
    top = best.scatter_reduce(0, problem, score, "amax")
    chosen = ((score == top[problem]) & (score > best[problem])).nonzero()[:, 0]
    first = torch.full_like(best, len(problem), dtype=torch.long)
    first = first.scatter_reduce(0, problem[chosen], chosen, "amin")
    return first[first < len(problem)]


def _cosine_within_reach(scores: list[Tensor], grids: list[FamilyGrid]) -> list[Tensor]:
    """Mark the atoms from which a refined template could still be the best of all families.

    A template lies within the cover angle of some atom, so its correlation with a filter is at most that of the atom
    moved by this angle. Where even this falls short of the best atom there is nothing to refine.
    """
    best = torch.stack([score.amax(-1) for score in scores]).amax(0)
    limits = [
        torch.cos(torch.arccos(best.clamp(max=1.0)) + grid.cover).clamp(min=0.0) - _FLOAT32_SLACK for grid in grids
    ]
    return [score >= limit[:, None] for score, limit in zip(scores, limits, strict=True)]


def _starts(score: Tensor, mask: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Filter and atom of every marked local maximum on the grid."""
    grid = score.reshape(-1, 1, *shape)
    peak = torch.nn.functional.max_pool2d(grid, 3, stride=1, padding=1)
    starts = ((grid >= peak).reshape(score.shape) & mask).nonzero()
    return starts[:, 0], starts[:, 1]


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


def evaluate(family: Tensor, parameters: Tensor, spec: FitSpec, size: tuple[int, int]) -> Tensor:
    """Templates of fitted filters, shape (filters, rows, cols); NaN where there is no fit."""
    templates = parameters.new_full((len(family), *size), torch.nan)
    for index, name in enumerate(spec.families):
        mine = (family == index).nonzero()[:, 0]
        if len(mine):
            plan = template_plan(name, size, spec.window)
            templates[mine] = plan(parameters[mine], max_variance=max_sigma(size) ** 2)[:, 0]
    return templates


def _measure(
    filters: Tensor, family: Tensor, parameters: Tensor, r2: Tensor, status: Tensor, scale: Tensor, spec: FitSpec
) -> StackFit:
    """Amplitude, offset and residuals of the chosen templates, in the units of the filters."""
    size = (filters.shape[1], filters.shape[2])
    templates = evaluate(family, parameters, spec, size).flatten(1)
    flat = filters.flatten(1)
    mean = flat.mean(-1)
    centre = templates.mean(-1)
    centred = templates - centre[:, None]
    amplitude = ((flat - mean[:, None]) * centred).sum(-1) / centred.square().sum(-1)
    offset = mean - amplitude * centre
    residual = flat - (amplitude[:, None] * templates + offset[:, None])
    flat_filter = (status == STATUSES.index("zero-filter")) | (status == STATUSES.index("constant-filter"))
    return StackFit(
        family=family,
        parameters=parameters,
        amplitude=torch.where(flat_filter, 0.0, amplitude),
        offset=torch.where(flat_filter, mean, offset),
        r2=r2.clamp(0.0, 1.0),
        residual_l1=torch.where(flat_filter, 0.0, residual.abs().sum(-1)),
        residual_l2=torch.where(flat_filter, 0.0, torch.linalg.vector_norm(residual, dim=-1)),
        energy=torch.where(status == STATUSES.index("non-finite"), torch.nan, scale.square()),
        status=status,
    )
