"""Losses of least squares: in the filter itself, with free or with given coefficients."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scalekeys.filters import coordinates as positions
from scalekeys.filters import spread
from scalekeys.fitting.losses.base import FLOAT32_SLACK, Loss, Solution, local_minima
from scalekeys.fitting.losses.fixed_by_moments import MomentLoss
from scalekeys.fitting.losses.in_pieces import PiecewiseSearch
from scalekeys.fitting.solvers.box_newton import Objective
from scalekeys.fitting.solvers.linear_l1 import weighted_least_squares
from scalekeys.fitting.solvers.variable_projection import Projected, projection, weights_of
from scalekeys.fitting.templates.folded import FoldedFamily, outer_products
from scalekeys.fitting.templates.grid import joined_atoms
from scalekeys.fitting.templates.oriented import OrientedFamily
from scalekeys.fitting.templates.products import FoldedTargets, ScalarProducts
from scalekeys.scalespace.second_order import split


@dataclass(frozen=True, eq=False)
class _Distance:
    """``|h - a K|^2 - 1`` with given amplitudes a."""

    family: ScalarProducts
    folded: FoldedTargets
    amplitudes: Tensor
    energy: Tensor

    def __call__(self, parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        products = self.family.products(self.folded, parameters, centred=False)
        a = self.amplitudes
        table = a * (a * products.gram[0, 0] - 2 * products.filters[0])
        value, gradient, hessian = split(table, products.parameters)
        return value + self.energy, gradient, hessian

    def select(self, index: Tensor) -> "_Distance":
        return _Distance(self.family, self.folded.select(index), self.amplitudes[index], self.energy[index])


class Squares(Loss):
    """A loss of least squares, which is smooth."""

    @staticmethod
    def solve(basis: Tensor, targets: Tensor) -> Tensor:
        """Return the coefficients with the lowest loss, shape (problems, unknowns)."""
        return weighted_least_squares(basis, torch.ones_like(targets), targets)

    def starts(self, rows: Tensor, coarse: Tensor, best: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the local minima of the grid that are within reach of the best."""
        problem, position, value = local_minima(coarse, self.nodes, self.limit_by_node(rows, best))
        return rows[problem], position, value

    @property
    @abstractmethod
    def fixed_numbers(self) -> int:
        """How many numbers are taken from a filter beside the parameters of its family."""

    @abstractmethod
    def objective(self, problem: Tensor) -> Objective:
        """Return the loss of the filters `problem` with its derivatives."""

    def refine(self, problem: Tensor, start: Tensor, turn: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Minimise in one round."""
        return self._minimize(self.objective(problem), start)


class AffineSquares(Squares):
    """``-r2``, with free coefficients and offset."""

    def coarse(self, rows: Tensor) -> Tensor:
        """Return minus the squared length of the projection on the components of each node."""
        return self._by_family(self.targets.rough[rows] @ self.grid.angles.atoms.to(self.targets.rough))

    def _by_family(self, products: Tensor) -> Tensor:
        components = self.grid.family.coefficients
        energy = products.square_().neg_()
        return energy if components == 1 else energy.unflatten(-1, (components, -1)).sum(1)

    @classmethod
    def coarse_together(cls, losses: Sequence[Loss]) -> Callable[[Tensor], list[Tensor]] | None:
        """Return those of several families by one product."""
        atoms = joined_atoms(tuple(loss.grid for loss in losses)).to(losses[0].targets.rough)
        counts = [loss.grid.angles.atoms.shape[1] for loss in losses]
        workspace = atoms.new_empty(0)

        def together(rows: Tensor) -> list[Tensor]:
            nonlocal workspace
            if workspace.shape[0] < len(rows):
                workspace = atoms.new_empty(len(rows), atoms.shape[1])
            products = torch.mm(losses[0].targets.rough[rows], atoms, out=workspace[: len(rows)])
            parts = zip(losses, products.split(counts, dim=-1), strict=True)
            return [loss._by_family(part) for loss, part in parts if isinstance(loss, AffineSquares)]

        return together

    def limit(self, rows: Tensor, best: Tensor) -> Tensor:  # noqa: ARG002
        """Bound what a template in the cells around a node can explain."""
        return self._below(best, self.grid.angles.reach.max())

    def limit_by_node(self, rows: Tensor, best: Tensor) -> Tensor:  # noqa: ARG002
        """Bound it for each node by itself."""
        return self._below(best[:, None].float(), self.grid.angles.reach)

    def _below(self, best: Tensor, reach: Tensor) -> Tensor:
        reach = reach.to(best) + FLOAT32_SLACK
        if self.grid.family.mixed:
            return best + reach
        return (best.neg().clamp(min=0.0).sqrt() - reach).clamp(min=0.0).square().neg()

    @classmethod
    def refine_all(
        cls, losses: Sequence[Loss], problems: Sequence[Tensor], starts: Sequence[Tensor], turn: int
    ) -> list[tuple[Tensor, Tensor]]:
        """Refine the families that are outer products in one search, and the others one by one."""
        together = [i for i, loss in enumerate(losses) if loss.grid.family.is_outer_product]
        alone = [i for i in range(len(losses)) if i not in together]
        found = {i: losses[i].refine(problems[i], starts[i], turn) for i in alone}
        if together:
            own = [losses[i] for i in together]
            families = (loss.grid.products for loss in own)
            joint = outer_products(tuple(one for one in families if isinstance(one, FoldedFamily)))
            folded = joint.fold([loss.targets.centred[problems[i]] for i, loss in zip(together, own, strict=True)])
            counts = [len(problems[i]) for i in together]
            ends = zip(*(loss.grid.bounds(loss.limit_of_scale) for loss in own), strict=True)
            low, high = (torch.stack(end, dim=1).repeat_interleave(torch.tensor(counts), dim=1) for end in ends)
            start = torch.cat([starts[i] for i in together])
            parameters, value = own[0]._minimize(Projected(joint, folded), start, (low, high))
            found |= dict(zip(together, zip(parameters.split(counts), value.split(counts), strict=True), strict=True))
        return [found[i] for i in range(len(losses))]

    def refine(self, problem: Tensor, start: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Minimise in one round; oriented families in their pieces."""
        family = self.grid.products
        if not isinstance(family, OrientedFamily):
            return super().refine(problem, start, turn)
        own = PiecewiseSearch(family, family.fold(self.targets.centred[problem]), float(self.grid.bounds()[1][0]))
        coordinates, value = own(problem, start.T.contiguous())
        return coordinates.T.contiguous(), value

    @property
    def fixed_numbers(self) -> int:
        """Coefficients and offset."""
        return self.grid.family.coefficients + 1

    def objective(self, problem: Tensor) -> Objective:
        """Return minus r2."""
        return Projected(self.grid.products, self.grid.products.fold(self.targets.centred[problem]))

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return minus r2."""
        return self.objective(problem)(parameters.T.contiguous())[0]

    def solution(self, parameters: Tensor, *, curvature: bool) -> Solution:
        """Return that of least squares."""
        family, rows = self.grid.products, parameters.T.contiguous()
        products = family.products(family.fold(self.targets.centred), rows, centred=True)
        weights = weights_of(products)
        model = family.mixed(rows, weights) + self.targets.means[:, None]
        hessian = projection(products)[2] if curvature else None
        return Solution((weights / family.factors(rows)).T, model, hessian)


class MomentSquares(MomentLoss, Squares):
    """``|h - C - a K|^2 - 1``."""

    norm = 2

    def coarse(self, rows: Tensor) -> Tensor:
        """Return squared distances to the nodes, less 1."""
        return super().coarse(rows).square() - 1

    def limit(self, rows: Tensor, best: Tensor) -> Tensor:
        """Bound the distance by the triangle inequality."""
        return super().limit(rows, (best + 1).clamp(min=0.0).sqrt()).square() - 1

    @property
    def fixed_numbers(self) -> int:
        """The amplitude, and an offset where one is subtracted."""
        return 1 if any(self.grid.family.order) else 2

    def objective(self, problem: Tensor) -> Objective:
        """Return the squared distance, less 1."""
        targets, family = self.shifted[problem], self.grid.true_products
        energy = targets.square().sum(-1) - 1
        return _Distance(family, family.fold(targets), self.amplitudes[problem], energy)

    def solution(self, parameters: Tensor, *, curvature: bool) -> Solution:
        """Return that of the moments."""
        found = super().solution(parameters, curvature=False)
        if not curvature:
            return found
        everyone = torch.arange(len(parameters), device=parameters.device)
        hessian = self.objective(everyone)(parameters.T.contiguous())[2]
        return replace(found, hessian=hessian, gradient_by_tap=self._gradient_by_tap(parameters))

    def _gradient_by_tap(self, parameters: Tensor) -> Tensor:
        """Return the change through the residual and through the amplitude, a moment; the offset counts as known.

        The offset is one of the taps, but which one changes with the noise, so that it varies much less than a tap.
        """
        templates = self.grid.true_whole(parameters.T.contiguous())[:, 0].movedim(-1, 0)  # (n, entries, taps)
        kernel, slopes = templates[:, 0], templates[:, 1 : self.grid.parameters + 1]
        a, target = self.amplitudes[:, None, None], self.shifted
        residual = target - a[:, 0] * kernel
        along = (slopes @ residual[..., None]) - a * (slopes @ kernel[..., None])
        return -2 * (along * self._moment(target)[:, None] + a * slopes)

    def _moment(self, target: Tensor) -> Tensor:
        """Weights of the taps in the amplitude of each filter."""
        order, size = self.grid.family.order, self.targets.size
        if not any(order):
            return torch.ones_like(target)
        axis = next(axis for axis, own in enumerate(order) if own)
        ramp = -positions(*size, like=target)[axis].flatten()
        centres = spread(target.reshape(-1, *size), axes=len(size)).mean
        return ramp - centres[:, axis, None]

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the squared distance, less 1."""
        templates = self.grid.plan(parameters)[:, 0]
        return (self.shifted[problem] - self.amplitudes[problem, None] * templates).square().sum(-1) - 1
