"""The search of oriented families: their fields are smooth in pieces, at whose edges a descent stops and looks over."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scalekeys.fitting.losses.base import first_of_each
from scalekeys.fitting.solvers.box_newton import MAX_ITERATIONS, minimize
from scalekeys.fitting.solvers.variable_projection import Projected
from scalekeys.fitting.templates.oriented import OrientedFamily, OrientedTargets

_FIRST = 3  # steps from every start, after which those that have met or cannot win leave
_ALIKE = 0.05  # starts that are as near in all coordinates begin as one, ..
_MET = 0.02  # .. and go on as one after their first steps
_BEHIND = 0.01  # what a start may gain after its first steps, or beyond an edge
_CROSSINGS = 4
_GAIN = 1e-12


@dataclass(frozen=True, eq=False)
class PiecewiseSearch:
    """The least squares of filters by an oriented family, from several starts each."""

    family: OrientedFamily
    folded: OrientedTargets
    """The filter of each start."""
    largest: float
    """The end of the search along the mean variance, in its coordinate."""

    def __call__(self, problem: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Return the minima, of shape (3, n) as the starts, and their values, (n,).

        Only what may be the lowest minimum of its filter is followed to the end; the other starts return where they
        have come.

        `problem`: shape (n,); the number of the filter of each start.
        """
        pieces = self.family.pieces
        local, piece = pieces.enter(start)
        value = start.new_full(problem.shape, torch.inf)
        for iterations, apart in ((_FIRST, _ALIKE), (MAX_ITERATIONS, _MET)):
            left = _in_front(problem, pieces.distinctive(local, piece), value, apart)
            local[:, left], value[left] = self._within(left, local[:, left], piece[left], iterations)
        left = _in_front(problem, pieces.distinctive(local, piece), value, _MET)
        for _ in range(_CROSSINGS):
            moved = []
            for at, over, beyond in pieces.neighbours(local[:, left], piece[left]):
                found, lower = self._within(left[at], over, beyond)
                better = lower < value[left[at]] - _GAIN
                some = left[at[better]]
                local[:, some], value[some], piece[some] = found[:, better], lower[better], beyond[better]
                moved.append(some)
            left = torch.unique(torch.cat(moved))
        return pieces.leave(local, piece), value

    def _within(
        self, some: Tensor, start: Tensor, piece: Tensor, iterations: int = MAX_ITERATIONS
    ) -> tuple[Tensor, Tensor]:
        """Descend from starts within their pieces."""
        objective = Projected(self.family, self.folded.select(some).within(piece))
        lower, upper = self.family.pieces.bounds(piece, self.largest)
        return minimize(objective, start, lower, upper, iterations=iterations)


def _in_front(problem: Tensor, distinctive: Tensor, value: Tensor, apart: float) -> Tensor:
    """Return the starts that may still be the lowest of their filters, the best of those that are no further apart."""
    best = value.new_full((int(problem.max()) + 1 if len(problem) else 0,), torch.inf)
    best = best.scatter_reduce(0, problem, value, "amin")
    near = (value <= best[problem] + _BEHIND).nonzero()[:, 0]
    near = near[value[near].argsort(stable=True)]
    cells = torch.cat([problem[None, near], (distinctive[:, near] / apart).round().long()])
    return near[first_of_each(cells)].sort().values
