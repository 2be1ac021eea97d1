"""The global search: every family that may win is refined from every local minimum of its coarse grid that may win."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scalekeys.fitting.losses.base import Loss, first_of_each
from scalekeys.fitting.losses.table import loss_of
from scalekeys.fitting.prepare import Targets
from scalekeys.fitting.spec import FitSpec
from scalekeys.fitting.templates.grid import FamilyGrid, family_grid
from scalekeys.scalespace import Family

_TIE = 1e-10
_AT_ONCE = 1_024  # filters of the coarse search, whose losses at all nodes fit into a cache


@dataclass(frozen=True, eq=False)
class Best:
    """The best family of each filter, with its parameters and loss."""

    family: Tensor
    """Int64, shape (filters,). Index into the families of the spec."""
    coordinates: Tensor
    """Shape (filters, parameters). In the search coordinates of the family; NaN beyond its last parameter."""
    loss: Tensor
    """Shape (filters,). On filters of unit centred norm."""

    @classmethod
    def none(cls, filters: Tensor, parameters: int) -> "Best":
        """Return what is known before any family has been tried."""
        count = len(filters)
        return cls(
            filters.new_full((count,), -1, dtype=torch.long),
            filters.new_full((count, parameters), torch.nan),
            filters.new_full((count,), torch.inf),
        )

    def take(self, rows: Tensor, family: Tensor | int, coordinates: Tensor, loss: Tensor) -> None:
        """Let some filters have another family."""
        self.family[rows], self.loss[rows] = family, loss
        self.coordinates[rows] = torch.nan
        self.coordinates[rows, : coordinates.shape[1]] = coordinates


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Starts of one family: local minima of its grid, later refined."""

    index: int
    loss: Loss
    rows: Tensor  # of the filters that the family competes for
    problem: Tensor  # into rows
    parameters: Tensor
    value: Tensor

    @property
    def filters(self) -> Tensor:
        return self.rows[self.problem]

    @property
    def score(self) -> Tensor:
        return self.value + tie_break(self.loss.grid.family)

    def distinct(self, same: float) -> "_Candidates":
        """Drop candidates of a filter that have met, all but the lowest."""
        lower, upper = self.loss.grid.bounds(self.loss.limit_of_scale)
        key = self.problem
        for own, low, high in zip(self.parameters.unbind(-1), lower.tolist(), upper.tolist(), strict=False):
            key = key * (round((high - low) / same) + 2) + ((own - low) / same).round().long()
        order = self.value.argsort()
        return self.kept(order[first_of_each(key[order])])

    def spread(self, turn: int) -> "_Candidates":
        """Add others beside them, where the loss wants some."""
        problem, parameters = self.loss.around(self.problem, self.parameters, turn)
        if len(problem) == len(self.problem):
            return self
        value = parameters.new_full((len(problem),), torch.inf)
        return replace(self, problem=problem, parameters=parameters, value=value)

    def kept(self, mask: Tensor) -> "_Candidates":
        return replace(self, problem=self.problem[mask], parameters=self.parameters[mask], value=self.value[mask])


def grids_for(size: tuple[int, ...], spec: FitSpec) -> dict[str, FamilyGrid]:
    """Return the families of the spec that a window can show, with their grids.

    There is no difference along an axis of one tap, and no form in what is constant.
    """
    found = {}
    for name in spec.families:
        family = spec.family(name, len(size))
        if family is None or any(
            taps == 1 and differs for taps, differs in zip(size[::-1], family.differentiated, strict=True)
        ):
            continue
        grid = family_grid(family, size, spec.window)
        if grid.has_form:
            found[name] = grid
    return found


def parameters_of(size: tuple[int, ...], spec: FitSpec) -> int:
    """Return the largest number of search coordinates of the families of a spec on a window; at least 1."""
    return max((grid.parameters for grid in grids_for(size, spec).values()), default=1)


def tie_break(family: Family) -> float:
    """Return what is added to the loss of a family, so that ties go to the plainer one and not to rounding.

    At strength 0 a sharpening is an impulse, as `smooth` is at scale 0. A one-sided difference has the form of the
    centred one on two taps, and on any number of taps at an infinite scale.
    """
    is_one_sided = any({"forward", "backward"} & set(term.operators) for term in family.terms)
    return _TIE * (is_one_sided or len(family.terms) > 1)


def competed_for(index: int, filters: Tensor, assigned: Tensor | None) -> Tensor:
    """Return the rows of the filters that a family (by its index) competes for: all, or those it is assigned to."""
    if assigned is None:
        return torch.arange(len(filters), device=filters.device)
    return (assigned == index).nonzero()[:, 0]


def search(targets: Targets, spec: FitSpec, assigned: Tensor | None = None) -> Best:
    """Minimise the loss of each filter over families and parameters.

    `targets`: filters whose centred norm is 1.
    `assigned`: shape (filters,); the one family (index into those of the spec) of each filter; by default all compete.
    """
    filters, size = targets.taps, targets.size
    loss = loss_of(spec)
    losses = []
    grids = grids_for(size, spec)
    for name, grid in grids.items():
        index = spec.families.index(name)
        rows = competed_for(index, filters, assigned)
        losses.append((index, rows, loss(targets.select(rows), grid)))
    candidates = _starts(losses, filters)
    for turn in range(loss.rounds):
        candidates = _refined([family.spread(turn) for family in candidates], turn)
        if loss.rounds > 1:
            candidates = [family.distinct(family.loss.same) for family in candidates]
        best = _lowest(candidates, filters)
        candidates = [
            family.kept(family.value - family.loss.slack(turn) <= best[family.filters] + _TIE) for family in candidates
        ]
    return _winners(candidates, filters, parameters_of(size, spec))


def _starts(losses: list[tuple[int, Tensor, Loss]], filters: Tensor) -> list[_Candidates]:
    """Every local minimum on a grid from which the refined loss could still be the best of all families."""
    if not losses:
        return []
    coarse = losses[0][2].coarse_of_all([loss for _, _, loss in losses])
    parts = [
        _starts_of(losses, coarse, filters, start, min(start + _AT_ONCE, len(filters)))
        for start in range(0, len(filters), _AT_ONCE)
    ]
    candidates = []
    for (index, rows, loss), found in zip(losses, zip(*parts, strict=True), strict=True):
        problem, position, value = (torch.cat(tensors) for tensors in zip(*found, strict=True))
        parameters, value = loss.begin(problem, position).to(filters), value.to(filters)
        candidates.append(_Candidates(index, loss, rows, problem, parameters, value))
    return candidates


def _starts_of(
    losses: list[tuple[int, Tensor, Loss]],
    coarse_of_all: Callable[[Sequence[Tensor]], list[Tensor]],
    filters: Tensor,
    start: int,
    stop: int,
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return the starts of each family for a few filters."""
    here = torch.arange(start, stop, device=filters.device)
    mine = [here if len(rows) == len(filters) else _between(rows, start, stop) for _, rows, _ in losses]
    coarse = coarse_of_all(mine)
    least = [values.amin(-1).to(filters) for values in coarse]
    best = filters.new_full((stop - start,), torch.inf)
    places = [rows[chosen] - start for (_, rows, _), chosen in zip(losses, mine, strict=True)]
    for place, lowest in zip(places, least, strict=True):
        best[place] = torch.minimum(best[place], lowest)
    found = []
    for (_, _, loss), chosen, place, values, lowest in zip(losses, mine, places, coarse, least, strict=True):
        near = (lowest <= loss.limit(chosen, best[place])).nonzero()[:, 0]
        found.append(loss.starts(chosen[near], values[near], best[place[near]]))
    return found


def _between(rows: Tensor, start: int, stop: int) -> Tensor:
    """Positions in `rows` of those between two numbers."""
    return ((rows >= start) & (rows < stop)).nonzero()[:, 0]


def _refined(candidates: list[_Candidates], turn: int) -> list[_Candidates]:
    """Refine the candidates of all families by one round."""
    if not candidates:
        return []
    losses, problems, starts = map(list, zip(*((c.loss, c.problem, c.parameters) for c in candidates), strict=True))
    found = candidates[0].loss.refine_all(losses, problems, starts, turn)
    return [
        replace(family, parameters=parameters, value=value)
        for family, (parameters, value) in zip(candidates, found, strict=True)
    ]


def _lowest(candidates: list[_Candidates], filters: Tensor) -> Tensor:
    """Lowest value that any candidate of a filter has reached."""
    best = filters.new_full((len(filters),), torch.inf)
    for family in candidates:
        best.scatter_reduce_(0, family.filters, family.value, "amin")
    return best


def _winners(candidates: list[_Candidates], filters: Tensor, parameters: int) -> Best:
    """For each filter the candidate with the lowest score, the first of equals."""
    best = Best.none(filters, parameters)
    lowest = best.loss.clone()
    for family in candidates:
        score, rows = family.score, family.filters
        top = lowest.scatter_reduce(0, rows, score, "amin")
        chosen = ((score == top[rows]) & (score < lowest[rows])).nonzero()[:, 0]
        first = torch.full_like(best.family, len(rows)).scatter_reduce(0, rows[chosen], chosen, "amin")
        chosen = first[first < len(rows)]
        improved = rows[chosen]
        lowest[improved] = score[chosen]
        coordinates = family.parameters[chosen, : family.loss.grid.parameters]
        best.take(improved, family.index, coordinates, family.value[chosen])
    return best
