"""What the losses with amplitude and offset fixed by moments have in common."""

import torch
from torch import Tensor

from scalekeys.filters import moment_normalization
from scalekeys.fitting.losses.base import FLOAT32_SLACK, Loss, Solution, local_minima
from scalekeys.fitting.prepare import Targets
from scalekeys.fitting.templates.grid import Dictionary, FamilyGrid, Nodes, Norm

_SMALLEST_AMPLITUDE = 1e-9


class MomentLoss(Loss):
    """A norm of ``h - C - a K``, with amplitude a and offset C fixed by moments."""

    norm: Norm
    limit_of_scale = 0.0  # with a fixed amplitude nothing is left of a template at an infinite scale

    def __init__(self, targets: Targets, grid: FamilyGrid) -> None:
        super().__init__(targets, grid)
        normalized = moment_normalization(targets.filters, grid.family.name, axes=len(targets.size))
        a = normalized.amplitude
        self.amplitudes = torch.where(a.abs() < _SMALLEST_AMPLITUDE, _SMALLEST_AMPLITUDE, a)
        self.offsets = normalized.offset
        self.shifted = targets.taps - self.offsets[:, None]

    @property
    def nodes(self) -> Nodes:
        """The nodes of the first grid; none stands near an infinite scale."""
        return self.grid.inner_nodes

    def solution(self, parameters: Tensor, *, curvature: bool) -> Solution:  # noqa: ARG002
        """Return that of the moments."""
        model = self.amplitudes[:, None] * self.grid.plan(parameters)[:, 0] + self.offsets[:, None]
        return Solution(self.amplitudes[:, None], model)

    def coarse(self, rows: Tensor) -> Tensor:
        """Return the distances to the nodes."""
        return self._distances(self.grid.distances[self.norm], rows)

    def limit(self, rows: Tensor, best: Tensor) -> Tensor:
        """Bound the distance by the triangle inequality."""
        return best + self._reach(self.grid.distances[self.norm], rows)

    def starts(self, rows: Tensor, coarse: Tensor, best: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG002
        """Return the local minima of a finer grid that are within reach of its best node, as distances."""
        fine = self.grid.fine_distances[self.norm]
        values = self._distances(fine, rows)
        limit = values.amin(-1) + self._reach(fine, rows)
        problem, position, value = local_minima(values, fine.nodes, limit[:, None])
        return rows[problem], position, value

    def begin(self, problem: Tensor, position: Tensor) -> Tensor:  # noqa: ARG002
        """Return the coordinates at positions on the finer grid."""
        return self.grid.fine_nodes.at(position)

    def _distances(self, dictionary: Dictionary, rows: Tensor) -> Tensor:
        """Distances of filters to templates, in the units of the filters."""
        amplitudes = self.amplitudes[rows, None]
        normalized = (self.shifted[rows] / amplitudes).float()
        distances: Tensor = torch.cdist(normalized, dictionary.atoms.T.to(normalized.device), p=self.norm)
        return distances * amplitudes.abs().float()

    def _reach(self, dictionary: Dictionary, rows: Tensor) -> Tensor:
        """How much closer than a node a template nearby can be, in the units of the filters."""
        return self.amplitudes[rows].abs() * dictionary.reach + FLOAT32_SLACK
