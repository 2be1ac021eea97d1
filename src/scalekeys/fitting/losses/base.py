"""What is minimised for one family: criterion and normalization, on filters of unit energy.

A loss knows its value at the nodes of a coarse grid, how much a refined search could still gain there, and how to
refine. Values of different families compare, so that the families compete.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scalekeys.fitting.prepare import Targets
from scalekeys.fitting.solvers.box_newton import Objective, minimize
from scalekeys.fitting.templates.grid import FamilyGrid, Nodes
from scalekeys.scalespace import INFINITE

FLOAT32_SLACK = 1e-5
"""What rounding in the coarse search may hide."""


@dataclass(frozen=True, eq=False)
class Solution:
    """What belongs to given parameters."""

    coefficients: Tensor
    """Shape (filters, components). Of the components that the grid of the family evaluates, which a factor of scale
    may have left."""
    model: Tensor
    """Shape (filters, taps). The modelled filters."""
    hessian: Tensor | None = None
    """Shape (parameters, parameters, filters). Of a sum of squares, with respect to the search coordinates."""
    offset: Tensor | None = None
    """Shape (filters,). The constant, where it is not what the means of model and components make it."""
    gradient_by_tap: Tensor | None = None
    """Shape (filters, parameters, taps). How its gradient changes with each tap of the filter. None where coefficients
    and offset are those of least squares; the Hessian then tells all."""


class Loss(ABC):
    """The loss of one family for many filters.

    `targets`: filters whose centred norm is 1.
    `grid`: the family on its window, with the coarse grid.
    """

    rounds: int = 1
    """How many rounds of refinement there are; candidates that cannot win any more leave after each."""

    same: float = 1e-6
    """Candidates that come as near as this, in search coordinates, after a round are the same."""

    limit_of_scale: float = INFINITE
    """Coordinate at which the search for an infinite scale ends."""

    def __init__(self, targets: Targets, grid: FamilyGrid) -> None:
        self.grid = grid
        self.targets = targets

    @property
    def nodes(self) -> Nodes:
        """The nodes of the first grid."""
        return self.grid.nodes

    @abstractmethod
    def coarse(self, rows: Tensor) -> Tensor:
        """Return the loss of the filters `rows` at the nodes of the grid, shape (rows, nodes); rough, float32."""

    @classmethod
    def coarse_of_all(cls, losses: Sequence["Loss"]) -> Callable[[Sequence[Tensor]], list[Tensor]]:
        """Return a function that gives the coarse losses of several families, each for its own rows.

        What it returns holds until its next call.
        """
        together = cls.coarse_together(losses)

        def of_all(rows: Sequence[Tensor]) -> list[Tensor]:
            if together is not None and all(mine is rows[0] for mine in rows):
                return together(rows[0])
            return [loss.coarse(mine) for loss, mine in zip(losses, rows, strict=True)]

        return of_all

    @classmethod
    def coarse_together(cls, losses: Sequence["Loss"]) -> Callable[[Tensor], list[Tensor]] | None:  # noqa: ARG003
        """Return a faster function for the same rows of all families, if there is one."""
        return None

    @abstractmethod
    def limit(self, rows: Tensor, best: Tensor) -> Tensor:
        """Return the largest coarse loss from which a refined one could still be below `best`, shape (rows,)."""

    def limit_by_node(self, rows: Tensor, best: Tensor) -> Tensor:
        """Return the same for each node, shape (rows, nodes) or (rows, 1)."""
        return self.limit(rows, best)[:, None]

    @abstractmethod
    def starts(self, rows: Tensor, coarse: Tensor, best: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return where a refined loss could be below that of all families, given the best of the coarse ones.

        `rows`: shape (filters,); those whose coarse loss comes within the limit somewhere.
        `coarse`: shape (filters, nodes); their coarse losses.
        `best`: shape (filters,).
        `problem`: shape (starts,); the filter of each start.
        `position`: shape (starts, parameters); where on the grid, in numbers of nodes.
        `value`: shape (starts,); the coarse loss.
        """

    def begin(self, problem: Tensor, position: Tensor) -> Tensor:  # noqa: ARG002
        """Return the coordinates at positions on the grid of starts, shape (starts, parameters)."""
        return self.grid.nodes.at(position)

    def around(self, problem: Tensor, parameters: Tensor, turn: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Return the candidates of a round: those of the round before, and others beside them."""
        return problem, parameters

    @abstractmethod
    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the exact loss at given parameters."""

    @abstractmethod
    def solution(self, parameters: Tensor, *, curvature: bool) -> Solution:
        """Return what belongs to given parameters of all filters, with the curvature of a sum of squares if wanted."""

    @abstractmethod
    def refine(self, problem: Tensor, start: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Return refined coordinates and their loss after one round.

        Numbers beyond the coordinates of the family belong to the loss, which adds them to its starts.
        """

    @classmethod
    def refine_all(
        cls, losses: Sequence["Loss"], problems: Sequence[Tensor], starts: Sequence[Tensor], turn: int
    ) -> list[tuple[Tensor, Tensor]]:
        """Refine the starts of several families, see :meth:`refine`."""
        return [
            loss.refine(problem, start, turn) for loss, problem, start in zip(losses, problems, starts, strict=True)
        ]

    @staticmethod
    @abstractmethod
    def solve(basis: Tensor, targets: Tensor) -> Tensor:
        """Return the coefficients with the lowest loss, shape (problems, unknowns)."""

    def slack(self, turn: int) -> float:  # noqa: ARG002
        """Return how much lower than after this round a loss can still become."""
        return 0.0

    def _minimize(
        self, objective: Objective, start: Tensor, bounds: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        lower, upper = self.grid.bounds(self.limit_of_scale) if bounds is None else bounds
        coordinates, value = minimize(objective, start.T.contiguous(), lower, upper, compact=self.grid.is_unbounded)
        return coordinates.T.contiguous(), value


def local_minima(values: Tensor, nodes: Nodes, limit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return filter, position and value of each local minimum of a grid that is not above the limit there.

    The position, in numbers of nodes, is the vertex of the parabolas through the values around; the value is that of
    the node.
    """
    flat, count, parameters = values.reshape(-1), values.shape[1], len(nodes.shape)
    place = (values <= limit.to(values)).reshape(-1).nonzero()[:, 0]
    own = torch.arange(count, device=values.device)[:, None]
    everywhere = tuple(range(parameters))
    for axes in ((parameters - 1,), everywhere):  # along one axis first, which leaves few for the others
        near = nodes.neighbours(axes).to(values.device) - own
        around = flat.take(place[:, None] + near[place % count])
        place = place[flat.take(place) <= around.amin(-1)]
    problem, node = place // count, place % count
    here = flat.take(place)
    vertices = []
    for axis in everywhere:
        before, _, after = flat.take(
            (problem * count)[:, None] + nodes.neighbours((axis,)).to(node.device)[node]
        ).unbind(-1)
        bend = before - 2 * here + after
        vertices.append((0.5 * (before - after) / torch.where(bend > 0, bend, 1.0)).clamp(-0.5, 0.5))
    return problem, nodes.unravelled(node) + torch.stack(vertices, dim=-1), here


def first_of_each(keys: Tensor) -> Tensor:
    """Return where each of some keys stands first, in the order of the keys: of shape (n,), or (numbers, n) of several.

    >>> first_of_each(torch.tensor([5, 3, 5, 3]))
    tensor([1, 0])
    """
    found, which = torch.unique(keys, dim=None if keys.ndim == 1 else 1, return_inverse=True)
    places = torch.arange(len(which), device=which.device)
    first: Tensor = which.new_full(found.shape[-1:], len(which)).scatter_reduce(0, which, places, "amin")
    return first
