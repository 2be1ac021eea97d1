"""Losses of absolute differences."""

from abc import abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from scalekeys.fitting.absolute import (
    SMOOTHINGS,
    least_absolute,
    smoothed,
    smoothed_free,
    weighted_least_squares,
    with_constant,
)
from scalekeys.fitting.grids import Dictionary, Nodes
from scalekeys.fitting.loss import Affine, Loss, Solution, local_minima
from scalekeys.fitting.moments import MomentLoss
from scalekeys.fitting.newton import Objective

_UNFINISHED = 1e-4
_FORETOLD = 2
_GAIN, _FINE_GAIN = 1.15, 1.06
_REWEIGHTINGS = 3
_SMALLEST_RESIDUAL = 1e-3
_BYTES = 2**26  # of the largest array of the coarse search


class Absolute(Loss):
    """A loss of absolute differences, approached from smooth ones."""

    rounds = len(SMOOTHINGS)

    @staticmethod
    def solve(basis: Tensor, targets: Tensor) -> Tensor:
        """Return the coefficients with the lowest loss, shape (problems, unknowns)."""
        return least_absolute(basis, targets)[0]

    def slack(self, turn: int) -> float:
        """Return the sum over the taps of eps, by which smoothing raises each, and what an unfinished round leaves."""
        return (1 + _UNFINISHED) * SMOOTHINGS[turn] * self.targets.taps.shape[-1]

    def starts(self, rows: Tensor, coarse: Tensor, best: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG002
        """Return the local minima of a finer grid."""
        nodes, surfaces = self.fine(rows)
        limit = self.fine_limit(rows, surfaces.amin((0, -1)))
        found = [local_minima(values, nodes, limit[:, None]) for values in surfaces]
        problem, position, value = (torch.cat(parts) for parts in zip(*found, strict=True))
        return rows[problem], position, value

    def begin(self, problem: Tensor, position: Tensor) -> Tensor:  # noqa: ARG002
        """Return the parameters at positions on the finer grid."""
        return self.grid.fine_nodes.at(position)

    @abstractmethod
    def fine(self, rows: Tensor) -> tuple[Nodes, Tensor]:
        """Return a finer grid and bounds of the loss of the filters `rows` at its nodes: (bounds, filters, nodes)."""

    @abstractmethod
    def fine_limit(self, rows: Tensor, best: Tensor) -> Tensor:
        """Return, as :meth:`limit` does, the largest loss on the finer grid that is worth refining."""

    @abstractmethod
    def smooth_objective(self, problem: Tensor, eps: float) -> Objective:
        """Return the smoothed loss of the filters `problem` with its derivatives."""

    def refine(self, problem: Tensor, start: Tensor, turn: int, earlier: Tensor) -> tuple[Tensor, Tensor]:
        """Minimise the smoothed loss, as far as the smoothing is worth it.

        The optimum moves about in proportion to eps, so that two rounds foretell the next; where that is no better
        than the last optimum it is not used.
        """
        eps = SMOOTHINGS[turn]
        objective = self.smooth_objective(problem, eps)
        if turn >= _FORETOLD:
            guess = start + (start - earlier) * (SMOOTHINGS[turn] / SMOOTHINGS[turn - 1])
            guess[:, :2] = guess[:, :2].clamp(min=0).minimum(self.grid.upper.to(guess))
            better = objective(guess.T)[0] < objective(start.T)[0]
            start = torch.where(better[:, None], guess, start)
        return self._minimize(objective, start, _UNFINISHED * eps * self.targets.taps.shape[-1])


class AffineAbsolute(Affine, Absolute):
    """``sum |h - sum a_c K_c - b|``, with free coefficients and offset."""

    def coarse(self, rows: Tensor) -> Tensor:
        """Return the sum at reweighted coefficients, which bounds the least sum from above."""
        return self._upper_bounds(self.targets.taps[rows], self.grid.angles)[1]

    def limit(self, rows: Tensor, best: Tensor) -> Tensor:  # noqa: ARG002
        """Bound by experience: refinement, and better coefficients, gain less than a fifth."""
        return best * _GAIN

    def fine(self, rows: Tensor) -> tuple[Nodes, Tensor]:
        """Return the sums at the coefficients of least squares, and at reweighted ones, which have other minima."""
        dictionary = self.grid.fine_angles
        return dictionary.nodes, self._upper_bounds(self.targets.taps[rows], dictionary)

    def fine_limit(self, rows: Tensor, best: Tensor) -> Tensor:  # noqa: ARG002
        """Bound by experience, as :meth:`limit`, now that the node is near."""
        return best * _FINE_GAIN

    def begin(self, problem: Tensor, position: Tensor) -> Tensor:
        """Return parameters with the coefficients and the offset of least squares as further ones."""
        parameters = super().begin(problem, position)
        targets = self.targets.taps[problem]
        free = weighted_least_squares(self._basis(parameters), torch.ones_like(targets), targets)
        return torch.cat([parameters, free], dim=-1)

    def _upper_bounds(self, targets: Tensor, dictionary: Dictionary) -> Tensor:
        targets = (targets - targets.mean(-1, keepdim=True)).float()
        atoms = dictionary.atoms.to(targets.device)
        components = len(self.grid.family.components)
        by_node = atoms.unflatten(1, (components, -1)).permute(2, 0, 1)  # (nodes, taps, components)
        values = []
        for part in targets.split(max(1, _BYTES // (4 * by_node[..., 0].numel()))):
            products = (part @ atoms).unflatten(1, (components, -1)).mT
            residual = part[:, None] - (by_node @ products[..., None])[..., 0]
            plain = best = residual.abs().sum(-1)
            for _ in range(_REWEIGHTINGS if components == 1 else 0):
                residual = _reweighted(residual, by_node[..., 0])
                best = torch.minimum(best, residual.abs().sum(-1))
            values.append(torch.stack([plain, best]))
        return torch.cat(values, dim=1) if values else targets.new_empty(2, 0, len(by_node))

    @cached_property
    def _units(self) -> Tensor:
        """Norms of the components at scale 1: free parameters in these units are of one order."""
        components = self.grid.plan(torch.ones(1, 2, dtype=torch.float64))[0, 0].flatten(1)
        norms: Tensor = components.norm(dim=-1).to(self.targets.taps)
        return norms

    def _basis(self, parameters: Tensor) -> Tensor:
        """Components in their units, and a constant, at given parameters: shape (problems, taps, unknowns)."""
        components = self.grid.plan(parameters[:, :2])[:, 0].flatten(2)
        return with_constant(components / self._units[:, None])

    def smooth_objective(self, problem: Tensor, eps: float) -> Objective:
        """Return the smoothed sum."""
        return smoothed_free(self.targets.taps[problem], self._units, self.grid, eps)

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the sum itself."""
        _, residual = least_absolute(self._basis(parameters), self.targets.taps[problem])
        return residual.abs().sum(-1)

    def solution(self, parameters: Tensor, *, curvature: bool) -> Solution:  # noqa: ARG002
        """Return that with the least sum."""
        free, residual = least_absolute(self._basis(parameters), self.targets.taps)
        offset = free[:, -1] * self.targets.taps.shape[-1] ** -0.5
        return Solution(free[:, :-1] / self._units, offset, self.targets.taps - residual)


class MomentAbsolute(MomentLoss, Absolute):
    """``sum |h - C - a K|``."""

    norm = 1

    def coarse(self, rows: Tensor) -> Tensor:
        """Return the distances to the nodes."""
        return self._distances(self.grid.distances(1), rows)

    def limit(self, rows: Tensor, best: Tensor) -> Tensor:
        """Bound the distance by the triangle inequality."""
        return best + self._reach(self.grid.distances(1), rows)

    def fine(self, rows: Tensor) -> tuple[Nodes, Tensor]:
        """Return the distances to the nodes of the finer grid."""
        dictionary = self.grid.fine_distances
        return dictionary.nodes, self._distances(dictionary, rows)[None]

    def fine_limit(self, rows: Tensor, best: Tensor) -> Tensor:
        """Bound the distance by the triangle inequality."""
        return best + self._reach(self.grid.fine_distances, rows)

    def smooth_objective(self, problem: Tensor, eps: float) -> Objective:
        """Return the smoothed sum."""
        return smoothed(self.shifted[problem], self.amplitudes[problem], self.grid, eps)

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the sum itself."""
        templates = self.grid.plan(parameters)[:, 0, 0].flatten(1)
        return (self.shifted[problem] - self.amplitudes[problem, None] * templates).abs().sum(-1)


def _reweighted(residual: Tensor, atoms: Tensor) -> Tensor:
    """Return what a step of reweighted least squares, in amplitude and offset, leaves of residuals.

    Parameters
    ----------
    residual : Tensor, shape (filters, nodes, taps)
    atoms : Tensor, shape (nodes, taps)
    """
    weights = 1 / residual.abs().clamp(min=_SMALLEST_RESIDUAL)
    weighted = weights * atoms
    total, first, second = weights.sum(-1), weighted.sum(-1), (weighted * atoms).sum(-1)
    right, right_first = (weights * residual).sum(-1), (weighted * residual).sum(-1)
    determinant = (total * second - first.square()).clamp(min=torch.finfo(total.dtype).tiny)
    amplitude = (total * right_first - first * right) / determinant
    offset = (second * right - first * right_first) / determinant
    return residual - amplitude[..., None] * atoms - offset[..., None]
