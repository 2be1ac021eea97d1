"""What is minimised for one family: criterion and normalization, on filters of unit energy.

A loss knows its value at the nodes of a coarse grid, how much a refined search could still gain there, and how to
refine. Values of different families compare, so that the families compete.
"""

from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from scalekeys.filters import coordinates, moment_normalization, spread
from scalekeys.fitting.absolute import (
    SMOOTHINGS,
    least_absolute,
    smoothed,
    smoothed_free,
    weighted_least_squares,
    with_constant,
)
from scalekeys.fitting.grids import ALPHA_MAX, Dictionary, FamilyGrid, Nodes, Norm
from scalekeys.fitting.least_squares import distance, unexplained
from scalekeys.fitting.newton import ROUNDING, Objective, minimize
from scalekeys.fitting.spec import FitSpec

_FLOAT32_SLACK = 1e-3
_SMALLEST_AMPLITUDE = 1e-9
_UNFINISHED = 1e-4
_FORETOLD = 2
_GAIN, _FINE_GAIN = 1.15, 1.06
_REWEIGHTINGS = 3
_SMALLEST_RESIDUAL = 1e-3
_BYTES = 2**26  # of the largest array of the coarse search in l1


class Loss(ABC):
    """The loss of one family for many filters.

    Parameters
    ----------
    filters : Tensor, shape (filters, rows, cols)
        Filters whose centred norm is 1.
    grid : FamilyGrid
        The family on its window, with the coarse grid.
    """

    rounds: int = 1
    """How many rounds of refinement there are; candidates that cannot win any more leave after each."""

    def __init__(self, filters: Tensor, grid: FamilyGrid) -> None:
        self.grid = grid
        self.size = (filters.shape[1], filters.shape[2])
        self.targets = filters.flatten(1)

    @abstractmethod
    def coarse(self) -> Tensor:
        """Return the loss at the nodes of the grid, shape (filters, nodes); rough, float32."""

    @abstractmethod
    def limit(self, best: Tensor) -> Tensor:
        """Return the largest coarse loss from which a refined one could still be below `best`, shape (filters,)."""

    @abstractmethod
    def starts(self, coarse: Tensor, best: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return where a refined loss could be below that of all families, given the best of the coarse ones.

        Returns
        -------
        problem : Tensor of int64, shape (starts,)
            The filter of each start.
        parameters : Tensor, shape (starts, 2)
        value : Tensor, shape (starts,)
            The coarse loss.
        """

    @abstractmethod
    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the exact loss at given parameters."""

    @abstractmethod
    def refine(self, problem: Tensor, start: Tensor, turn: int, earlier: Tensor) -> tuple[Tensor, Tensor]:
        """Return refined parameters and their loss after one round, given also those of the round before (or NaN).

        Parameters beyond the two of the family belong to the loss, which adds them to its starts.
        """

    @staticmethod
    @abstractmethod
    def solve(basis: Tensor, targets: Tensor) -> Tensor:
        """Return the coefficients with the lowest loss, shape (problems, unknowns)."""

    @abstractmethod
    def strength(self, problem: Tensor, t: Tensor) -> Tensor:
        """Return the best strength alpha of filters at given scales; a linear unknown, clamped to its range."""

    def _impulse_and_change(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the template of a family with a strength at alpha 0, and what a strength of 1 adds: (scales, taps)."""
        pairs = torch.stack([t, torch.zeros_like(t)], dim=-1), torch.stack([t, torch.ones_like(t)], dim=-1)
        none, full = (self.grid.plan(pair)[:, 0, 0].flatten(1) for pair in pairs)
        return none, full - none

    def slack(self, turn: int) -> float:  # noqa: ARG002
        """Return how much lower than after this round a loss can still become."""
        return 0.0

    def _minimize(self, objective: Objective, start: Tensor, tolerance: float = ROUNDING) -> tuple[Tensor, Tensor]:
        found = minimize(objective, start, self.grid.upper.to(start).expand(len(start), 2), tolerance)
        return found.parameters, found.value


class Squares(Loss):
    """A loss of least squares, which is smooth."""

    @staticmethod
    def solve(basis: Tensor, targets: Tensor) -> Tensor:
        """Return the coefficients with the lowest loss, shape (problems, unknowns)."""
        return weighted_least_squares(basis, torch.ones_like(targets), targets)

    def starts(self, coarse: Tensor, best: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the local minima of the grid that are within reach of the best."""
        return local_minima(coarse, self.grid.nodes, self.limit(best))

    @property
    @abstractmethod
    def fixed_numbers(self) -> int:
        """How many numbers are taken from a filter beside the parameters of its family."""

    @abstractmethod
    def objective(self, problem: Tensor) -> Objective:
        """Return the loss of the filters `problem` with its derivatives."""

    @abstractmethod
    def gradient_by_tap(self, problem: Tensor, parameters: Tensor) -> Tensor | None:
        """Return how the gradient changes with each tap of the filter, shape (problems, 2, taps).

        None where coefficients and offset are those of least squares; the Hessian then tells all.
        """

    def refine(
        self,
        problem: Tensor,
        start: Tensor,
        turn: int,  # noqa: ARG002
        earlier: Tensor,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Minimise in one round."""
        return self._minimize(self.objective(problem), start)


class Absolute(Loss):
    """A loss of absolute differences, approached from smooth ones."""

    rounds = len(SMOOTHINGS)

    @staticmethod
    def solve(basis: Tensor, targets: Tensor) -> Tensor:
        """Return the coefficients with the lowest loss, shape (problems, unknowns)."""
        return least_absolute(basis, targets)[0]

    def slack(self, turn: int) -> float:
        """Return the sum over the taps of eps, by which smoothing raises each, and what an unfinished round leaves."""
        return (1 + _UNFINISHED) * SMOOTHINGS[turn] * self.targets.shape[-1]

    def starts(self, coarse: Tensor, best: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the local minima of a finer grid, for the filters that are within reach on the coarse one."""
        rows = (coarse <= self.limit(best)[:, None]).any(-1).nonzero()[:, 0]
        nodes, surfaces = self.fine(rows)
        limit = self.fine_limit(rows, surfaces.amin((0, -1)))
        found = [local_minima(values, nodes, limit) for values in surfaces]
        problem, parameters, value = (torch.cat(parts) for parts in zip(*found, strict=True))
        return rows[problem], parameters, value

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
            everyone = torch.arange(len(problem), device=problem.device)
            better = objective(guess, everyone)[0] < objective(start, everyone)[0]
            start = torch.where(better[:, None], guess, start)
        return self._minimize(objective, start, _UNFINISHED * eps * self.targets.shape[-1])


class _Affine(Loss):
    """With free coefficients and offset."""

    def strength(self, problem: Tensor, t: Tensor) -> Tensor:
        """Return the ratio of two coefficients, those of the change and of the impulse."""
        basis = with_constant(torch.stack(self._impulse_and_change(t), dim=1))
        impulse, change, _ = self.solve(basis, self.targets[problem]).unbind(-1)
        return torch.nan_to_num(change / impulse).clamp(0.0, ALPHA_MAX)


class AffineSquares(_Affine, Squares):
    """``-r2``, with free coefficients and offset."""

    def __init__(self, filters: Tensor, grid: FamilyGrid) -> None:
        super().__init__(filters, grid)
        self.targets = self.targets - self.targets.mean(-1, keepdim=True)

    def coarse(self) -> Tensor:
        """Return minus the squared length of the projection on the components of each node."""
        atoms = self.grid.angles.atoms.to(self.targets.device)
        products = (self.targets.float() @ atoms).square()
        components = len(self.grid.family.components)
        return -(products if components == 1 else products.unflatten(-1, (-1, components)).sum(-1))

    def limit(self, best: Tensor) -> Tensor:
        """Bound what a template within the cover angle of a node can explain."""
        angle = torch.arccos(best.neg().clamp(0.0, 1.0).sqrt()) + self.grid.angles.cover
        return -(torch.cos(angle.clamp(max=torch.pi / 2)) - _FLOAT32_SLACK).clamp(min=0.0).square()

    @property
    def fixed_numbers(self) -> int:
        """Coefficients and offset."""
        return len(self.grid.family.components) + 1

    def objective(self, problem: Tensor) -> Objective:
        """Return minus r2."""
        return unexplained(self.targets[problem], self.grid)

    def gradient_by_tap(self, problem: Tensor, parameters: Tensor) -> None:
        """Return None: coefficients and offset are those of least squares."""

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return minus r2."""
        if self.grid.family.is_jet:
            return self.objective(problem)(parameters, torch.arange(len(problem), device=problem.device))[0]
        templates = self.grid.plan(parameters)[:, 0, 0].flatten(1)
        templates = templates - templates.mean(-1, keepdim=True)
        energy = templates.square().sum(-1).clamp(min=torch.finfo(templates.dtype).tiny)
        return -(self.targets[problem] * templates).sum(-1).square() / energy


class AffineAbsolute(_Affine, Absolute):
    """``sum |h - sum a_c K_c - b|``, with free coefficients and offset."""

    def coarse(self) -> Tensor:
        """Return the sum at reweighted coefficients, which bounds the least sum from above."""
        return self._upper_bounds(self.targets, self.grid.angles)[1]

    def limit(self, best: Tensor) -> Tensor:
        """Bound by experience: refinement, and better coefficients, gain less than a fifth."""
        return best * _GAIN

    def fine(self, rows: Tensor) -> tuple[Nodes, Tensor]:
        """Return the sums at the coefficients of least squares, and at reweighted ones, which have other minima."""
        dictionary = self.grid.fine_angles
        return dictionary.nodes, self._upper_bounds(self.targets[rows], dictionary)

    def fine_limit(self, rows: Tensor, best: Tensor) -> Tensor:  # noqa: ARG002
        """Bound by experience, as :meth:`limit`, now that the node is near."""
        return best * _FINE_GAIN

    def starts(self, coarse: Tensor, best: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return starts with the coefficients and the offset of least squares as further parameters."""
        problem, parameters, value = super().starts(coarse, best)
        targets = self.targets[problem]
        free = weighted_least_squares(self._basis(parameters), torch.ones_like(targets), targets)
        return problem, torch.cat([parameters, free], dim=-1), value

    def _upper_bounds(self, targets: Tensor, dictionary: Dictionary) -> Tensor:
        targets = (targets - targets.mean(-1, keepdim=True)).float()
        atoms = dictionary.atoms.to(targets.device)
        components = len(self.grid.family.components)
        by_node = atoms.unflatten(1, (-1, components)).permute(1, 0, 2)  # (nodes, taps, components)
        values = []
        for part in targets.split(max(1, _BYTES // (4 * by_node[..., 0].numel()))):
            products = (part @ atoms).unflatten(1, (-1, components))
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
        norms: Tensor = components.norm(dim=-1).to(self.targets)
        return norms

    def _basis(self, parameters: Tensor) -> Tensor:
        """Components in their units, and a constant, at given parameters: shape (problems, taps, unknowns)."""
        components = self.grid.plan(parameters[:, :2])[:, 0].flatten(2)
        return with_constant(components / self._units[:, None])

    def smooth_objective(self, problem: Tensor, eps: float) -> Objective:
        """Return the smoothed sum."""
        return smoothed_free(self.targets[problem], self._units, self.grid, eps)

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the sum itself."""
        _, residual = least_absolute(self._basis(parameters), self.targets[problem])
        return residual.abs().sum(-1)


class MomentLoss(Loss):
    """A norm of ``h - C - a K``, with amplitude a and offset C fixed by moments."""

    norm: Norm

    def __init__(self, filters: Tensor, grid: FamilyGrid) -> None:
        super().__init__(filters, grid)
        normalized = moment_normalization(filters, grid.family.name)
        a = normalized.amplitude
        self.amplitudes = torch.where(a.abs() < _SMALLEST_AMPLITUDE, _SMALLEST_AMPLITUDE, a)
        self.targets = self.targets - normalized.offset[:, None]

    def strength(self, problem: Tensor, t: Tensor) -> Tensor:
        """Return the coefficient of the change in a fit of what the impulse leaves."""
        none, change = (self.amplitudes[problem, None] * values for values in self._impulse_and_change(t))
        return self.solve(change[..., None], self.targets[problem] - none)[:, 0].clamp(0.0, ALPHA_MAX)

    def _distances(self, dictionary: Dictionary, rows: Tensor | slice = slice(None)) -> Tensor:
        """Distances of filters to templates, in the units of the filters."""
        amplitudes = self.amplitudes[rows, None]
        normalized = (self.targets[rows] / amplitudes).float()
        distances: Tensor = torch.cdist(normalized, dictionary.atoms.T.to(normalized.device), p=self.norm)
        return distances * amplitudes.abs().float()

    def _reach(self, dictionary: Dictionary, rows: Tensor | slice = slice(None)) -> Tensor:
        """How much closer than a node a template nearby can be, in the units of the filters."""
        return self.amplitudes[rows].abs() * dictionary.cover + _FLOAT32_SLACK


class MomentSquares(MomentLoss, Squares):
    """``|h - C - a K|^2 - 1``."""

    norm = 2

    def coarse(self) -> Tensor:
        """Return squared distances to the nodes, less 1."""
        return self._distances(self.grid.distances(2)).square() - 1

    def limit(self, best: Tensor) -> Tensor:
        """Bound the distance by the triangle inequality."""
        return ((best + 1).clamp(min=0.0).sqrt() + self._reach(self.grid.distances(2))).square() - 1

    @property
    def fixed_numbers(self) -> int:
        """The amplitude, and an offset where one is subtracted."""
        return 2 if self.grid.family.order == (0, 0) else 1

    def objective(self, problem: Tensor) -> Objective:
        """Return the squared distance, less 1."""
        return distance(self.targets[problem], self.amplitudes[problem], self.grid)

    def gradient_by_tap(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the change through the residual and through the amplitude, a moment; the offset counts as known.

        The offset is one of the taps, but which one changes with the noise, so that it varies much less than a tap.
        """
        templates = self.grid.plan(parameters, order=2)[:, :3, 0].flatten(2)
        kernel, slopes = templates[:, 0], templates[:, 1:]
        a, target = self.amplitudes[problem, None, None], self.targets[problem]
        residual = target - a[:, 0] * kernel
        along = (slopes @ residual[..., None]) - a * (slopes @ kernel[..., None])
        return -2 * (along * self._moment(target)[:, None] + a * slopes)

    def _moment(self, target: Tensor) -> Tensor:
        """Weights of the taps in the amplitude of each filter."""
        if self.grid.family.order == (0, 0):
            return torch.ones_like(target)
        axis = 0 if self.grid.family.order[0] else 1
        ramp = -coordinates(*self.size, like=target)[axis].flatten()
        return ramp - spread(target.reshape(-1, *self.size)).mean[:, axis, None]

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the squared distance, less 1."""
        templates = self.grid.plan(parameters)[:, 0, 0].flatten(1)
        return (self.targets[problem] - self.amplitudes[problem, None] * templates).square().sum(-1) - 1


class MomentAbsolute(MomentLoss, Absolute):
    """``sum |h - C - a K|``."""

    norm = 1

    def coarse(self) -> Tensor:
        """Return the distances to the nodes."""
        return self._distances(self.grid.distances(1))

    def limit(self, best: Tensor) -> Tensor:
        """Bound the distance by the triangle inequality."""
        return best + self._reach(self.grid.distances(1))

    def fine(self, rows: Tensor) -> tuple[Nodes, Tensor]:
        """Return the distances to the nodes of the finer grid."""
        dictionary = self.grid.fine_distances
        return dictionary.nodes, self._distances(dictionary, rows)[None]

    def fine_limit(self, rows: Tensor, best: Tensor) -> Tensor:
        """Bound the distance by the triangle inequality."""
        return best + self._reach(self.grid.fine_distances, rows)

    def smooth_objective(self, problem: Tensor, eps: float) -> Objective:
        """Return the smoothed sum."""
        return smoothed(self.targets[problem], self.amplitudes[problem], self.grid, eps)

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the sum itself."""
        templates = self.grid.plan(parameters)[:, 0, 0].flatten(1)
        return (self.targets[problem] - self.amplitudes[problem, None] * templates).abs().sum(-1)


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


def local_minima(values: Tensor, nodes: Nodes, limit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return filter, parameters and value of each local minimum of a grid that is not above the limit of its filter."""
    grid = values.reshape(-1, 1, *nodes.shape)
    lowest = -torch.nn.functional.max_pool2d(-grid, 3, stride=1, padding=1)
    minimal = (grid <= lowest).reshape(values.shape) & (values <= limit[:, None])
    problem, node = minimal.nonzero().unbind(-1)
    return problem, nodes.pairs.to(values.device)[node], values[problem, node]


def loss_of(spec: FitSpec) -> type[Loss]:
    """Return the loss of a spec; criteria that compare widths use that of l2 for what they leave open."""
    if spec.criterion == "l1":
        return AffineAbsolute if spec.normalization == "affine" else MomentAbsolute
    return squares_of(spec)


def squares_of(spec: FitSpec) -> type[Squares]:
    """Return the loss of least squares with the normalization of a spec."""
    return AffineSquares if spec.normalization == "affine" else MomentSquares
