"""What is minimised for one family: criterion and normalization, on filters of unit energy.

A loss knows its value at the nodes of a coarse grid, how much a refined search could still gain there, and how to
refine. Values of different families compare, so that the families compete.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from scalekeys.filters import moment_normalization
from scalekeys.fitting.absolute import SMOOTHINGS, least_absolute, smoothed, smoothed_free, with_constant
from scalekeys.fitting.grids import FamilyGrid
from scalekeys.fitting.least_squares import distance, unexplained
from scalekeys.fitting.newton import Objective, minimize
from scalekeys.fitting.spec import FitSpec

_FLOAT32_SLACK = 1e-3
_SMALLEST_AMPLITUDE = 1e-9
_UNFINISHED = 0.05
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
        self.targets = filters.flatten(1)

    @abstractmethod
    def coarse(self) -> Tensor:
        """Return the loss at the nodes of the grid, shape (filters, nodes); rough, float32."""

    @abstractmethod
    def limit(self, best: Tensor) -> Tensor:
        """Return the largest coarse loss from which a refined one could still be below `best`, shape (filters,)."""

    @abstractmethod
    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the exact loss at given parameters."""

    @abstractmethod
    def refine(self, problem: Tensor, start: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Return refined parameters and their loss after one round.

        Parameters beyond the two of the family belong to the loss, which adds them in its first round.
        """

    def slack(self, turn: int) -> float:
        """How much lower than after this round a loss can still become."""
        return 0.0

    def _minimize(self, objective: Objective, start: Tensor, tolerance: float | None = None) -> tuple[Tensor, Tensor]:
        upper = self.grid.upper.to(start).expand(len(start), 2)
        found = minimize(objective, start, upper, **({} if tolerance is None else {"tolerance": tolerance}))
        return found.parameters, found.value


class Squares(Loss):
    """A loss of least squares, which is smooth."""

    @abstractmethod
    def objective(self, problem: Tensor) -> Objective:
        """Return the loss of the filters `problem` with its derivatives."""

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the loss at given parameters."""
        return self.objective(problem)(parameters, torch.arange(len(problem), device=problem.device))[0]

    def refine(self, problem: Tensor, start: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Minimise in one round."""
        return self._minimize(self.objective(problem), start)


class Absolute(Loss):
    """A loss of absolute differences, approached from smooth ones."""

    rounds = len(SMOOTHINGS)

    def slack(self, turn: int) -> float:
        """The smoothing raises each of the taps by at most its eps, and a round stops a little before its minimum."""
        return (1 + _UNFINISHED) * SMOOTHINGS[turn] * self.targets.shape[-1]

    @abstractmethod
    def smooth_objective(self, problem: Tensor, start: Tensor, eps: float) -> Objective:
        """Return the smoothed loss of the filters `problem` with its derivatives."""

    def refine(self, problem: Tensor, start: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Minimise the smoothed loss, as far as the smoothing is worth it."""
        eps = SMOOTHINGS[turn]
        return self._minimize(
            self.smooth_objective(problem, start, eps), start, _UNFINISHED * eps * self.targets.shape[-1]
        )


class AffineSquares(Squares):
    """``-r2``, with free coefficients and offset."""

    def __init__(self, filters: Tensor, grid: FamilyGrid) -> None:
        super().__init__(filters, grid)
        self.targets = self.targets - self.targets.mean(-1, keepdim=True)

    def coarse(self) -> Tensor:
        """Minus the squared length of the projection on the components of each node."""
        atoms = self.grid.angles.atoms.to(self.targets.device)
        products = (self.targets.float() @ atoms).square()
        components = len(self.grid.family.components)
        return -(products if components == 1 else products.unflatten(-1, (-1, components)).sum(-1))

    def limit(self, best: Tensor) -> Tensor:
        """A template lies within the cover angle of some node, so its correlation is at most this much larger."""
        angle = torch.arccos(best.neg().clamp(0.0, 1.0).sqrt()) + self.grid.angles.cover
        return -(torch.cos(angle.clamp(max=torch.pi / 2)) - _FLOAT32_SLACK).clamp(min=0.0).square()

    def objective(self, problem: Tensor) -> Objective:
        """Minus r2."""
        return unexplained(self.targets[problem], self.grid)


class AffineAbsolute(Absolute):
    """``sum |h - sum a_c K_c - b|``, with free coefficients and offset."""

    def coarse(self) -> Tensor:
        """The sum at the coefficients of least squares, which bounds the least sum from above."""
        targets = (self.targets - self.targets.mean(-1, keepdim=True)).float()
        atoms = self.grid.angles.atoms.to(targets.device)
        components = len(self.grid.family.components)
        by_node = atoms.unflatten(1, (-1, components)).permute(1, 0, 2)  # (nodes, taps, components)
        values = []
        for part in targets.split(max(1, _BYTES // (4 * by_node[..., 0].numel()))):
            products = (part @ atoms).unflatten(1, (-1, components))
            models = (by_node @ products[..., None])[..., 0]
            values.append((part[:, None] - models).abs().sum(-1))
        return torch.cat(values)

    def limit(self, best: Tensor) -> Tensor:
        """Every local minimum of the grid is refined a little; the bound of the smoothing then sorts them out."""
        return torch.full_like(best, torch.inf)

    def refine(self, problem: Tensor, start: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Minimise over scales, coefficients and offset together."""
        if turn == 0:
            templates, units = self._scaled(start)
            basis = with_constant(templates / units[..., None])
            # Least squares where the smoothing is wide: coefficients to start from, in units of the components.
            free = torch.linalg.lstsq(basis, self.targets[problem, :, None]).solution[..., 0]
            free[:, :-1] /= units
            start = torch.cat([start, free], dim=-1)
        _, units = self._scaled(start)
        start = torch.cat([start[:, :2], start[:, 2:-1] * units, start[:, -1:]], dim=-1)
        found, value = super().refine(problem, start, turn)
        return torch.cat([found[:, :2], found[:, 2:-1] / units, found[:, -1:]], dim=-1), value

    def _scaled(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Components at given parameters, and their norms."""
        templates = self.grid.plan(parameters[:, :2])[:, 0].flatten(2)
        return templates, templates.norm(dim=-1).clamp(min=torch.finfo(templates.dtype).tiny)

    def smooth_objective(self, problem: Tensor, start: Tensor, eps: float) -> Objective:
        """The smoothed sum."""
        units = self._scaled(start)[1]
        return smoothed_free(self.targets[problem], units, self.grid, eps)

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """The sum itself."""
        templates, units = self._scaled(parameters)
        _, residual = least_absolute(with_constant(templates / units[..., None]), self.targets[problem])
        return residual.abs().sum(-1)


class MomentLoss(Loss):
    """A norm of ``h - C - a K``, with amplitude a and offset C fixed by moments."""

    norm: int

    def __init__(self, filters: Tensor, grid: FamilyGrid) -> None:
        super().__init__(filters, grid)
        normalized = moment_normalization(filters, grid.family.name)
        a = normalized.amplitude
        self.amplitudes = torch.where(a.abs() < _SMALLEST_AMPLITUDE, _SMALLEST_AMPLITUDE, a)
        self.targets = self.targets - normalized.offset[:, None]

    def _distances(self) -> Tensor:
        atoms = self.grid.distances(self.norm).atoms.to(self.targets.device)  # type: ignore[arg-type]
        normalized = (self.targets / self.amplitudes[:, None]).float()
        return torch.cdist(normalized, atoms.T, p=self.norm) * self.amplitudes.abs()[:, None].float()

    def _reach(self) -> Tensor:
        """How much closer than a node a template nearby can be, in the units of the filters."""
        return self.amplitudes.abs() * self.grid.distances(self.norm).cover + _FLOAT32_SLACK  # type: ignore[arg-type]


class MomentSquares(MomentLoss, Squares):
    """``|h - C - a K|^2 - 1``."""

    norm = 2

    def coarse(self) -> Tensor:
        """Squared distances to the nodes, less 1."""
        return self._distances().square() - 1

    def limit(self, best: Tensor) -> Tensor:
        """By the triangle inequality."""
        return ((best + 1).clamp(min=0.0).sqrt() + self._reach()).square() - 1

    def objective(self, problem: Tensor) -> Objective:
        """The squared distance, less 1."""
        return distance(self.targets[problem], self.amplitudes[problem], self.grid)


class MomentAbsolute(MomentLoss, Absolute):
    """``sum |h - C - a K|``."""

    norm = 1

    def coarse(self) -> Tensor:
        """Distances to the nodes."""
        return self._distances()

    def limit(self, best: Tensor) -> Tensor:
        """By the triangle inequality."""
        return best + self._reach()

    def smooth_objective(self, problem: Tensor, start: Tensor, eps: float) -> Objective:
        """The smoothed sum."""
        return smoothed(self.targets[problem], self.amplitudes[problem], self.grid, eps)

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """The sum itself."""
        templates = self.grid.plan(parameters)[:, 0, 0].flatten(1)
        return (self.targets[problem] - self.amplitudes[problem, None] * templates).abs().sum(-1)


def loss_of(spec: FitSpec) -> type[Loss]:
    """Return the loss of a spec; criteria that compare widths use that of l2 for what they leave open."""
    losses: dict[tuple[str, str], type[Loss]] = {
        ("l2", "affine"): AffineSquares,
        ("l1", "affine"): AffineAbsolute,
        ("l2", "moment"): MomentSquares,
        ("l1", "moment"): MomentAbsolute,
    }
    return losses["l2" if spec.by_variance else spec.criterion, spec.normalization]
