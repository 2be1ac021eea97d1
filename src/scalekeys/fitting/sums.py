"""Losses of absolute differences."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from scalekeys.fitting.absolute import least_absolute, with_constant
from scalekeys.fitting.grids import FamilyGrid, joined_atoms
from scalekeys.fitting.lad import Schedule, descend
from scalekeys.fitting.loss import Affine, Loss, Solution, local_minima
from scalekeys.fitting.moments import MomentLoss
from scalekeys.fitting.nodes import reweighted_sums, sums_at_nodes, sums_of_mixtures
from scalekeys.fitting.residuals import Residuals

_ROUNDS = (
    Schedule(2e-2, 1e-3, steps=30, enough=1.0, reweighted=3),
    Schedule(2e-3, 1e-3, steps=15, enough=1.0, reweighted=2),
    Schedule(2e-3, 3e-5, steps=40, enough=0.5),
    Schedule(3e-5, 1e-8, steps=60, enough=0.1),
)
_SINGLE = 2e-4  # a last eps above this is reached in single precision
_KICKS = (  # in log(1 + p)
    *((0.0, 0.0), (0.2, 0.0), (-0.2, 0.0)),
    *((0.0, 0.2), (0.0, -0.2), (0.07, 0.07), (-0.07, 0.07), (0.07, -0.07), (-0.07, -0.07)),
)
_SHARE_OF_TAPS = 0.05
_NEAR, _START, _BEST = (1.03, 0.25), (1.01, 3.5), (1.01, 1.0)
_MIXTURE_GAIN, _FINE_MIXTURE_GAIN = 1.15, 1.06
_LEAST_EXPLAINED = 0.05
_EVEN_RESIDUALS = 0.64  # about 2 / pi: the share of n |r|^2 that the squared sum of n normal residuals has
_PATCH = 2


class Absolute(Loss):
    """A loss of absolute differences, approached from smooth ones."""

    rounds = len(_ROUNDS)
    same = 5e-3

    @staticmethod
    def solve(basis: Tensor, targets: Tensor) -> Tensor:
        """Return the coefficients with the lowest loss, shape (problems, unknowns)."""
        return least_absolute(basis, targets)[0]

    def slack(self, turn: int) -> float:
        """Bound by experience what smoothing adds, and what is left to gain: eps for a twentieth of the taps.

        Smoothing adds at most eps a tap, and little to a tap whose residual is large.
        """
        return _SHARE_OF_TAPS * self.targets.taps.shape[-1] * _ROUNDS[turn].last

    def begin(self, problem: Tensor, position: Tensor) -> Tensor:  # noqa: ARG002
        """Return the parameters at positions on the finer grid."""
        return self.grid.fine_nodes.at(position)

    def around(self, problem: Tensor, parameters: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Return also starts a kick away, from which small smoothing finds dents that a large one does not see."""
        if turn != 1 or not len(problem):
            return problem, parameters
        kicks = torch.tensor(_KICKS[: 3 if self.grid.common else None]).to(parameters)
        moved = parameters[:, None, :2].log1p() + kicks
        bounded = moved.clamp(min=0).expm1().minimum(self.grid.upper.to(moved))
        others = parameters[:, None, 2:].expand(-1, len(kicks), -1)
        return problem.repeat_interleave(len(kicks)), torch.cat([bounded, others], dim=-1).flatten(0, 1)

    @abstractmethod
    def problem(self, rows: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return targets (n, taps), and units (n, components) or amplitudes (n,), of the filters `rows`."""

    def refine(self, problem: Tensor, start: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Follow the optimum of a smoothed sum from a wide smoothing to a narrow one."""
        return self.refine_all([self], [problem], [start], turn)[0]

    @classmethod
    def refine_all(
        cls,
        losses: Sequence[Loss],
        problems: Sequence[Tensor],
        starts: Sequence[Tensor],
        turn: int,
    ) -> list[tuple[Tensor, Tensor]]:
        """Do so for several families, those that are outer products in one search."""
        alike = [i for i, loss in enumerate(losses) if loss.grid.family.is_separable]
        groups = [[i] for i in range(len(losses)) if i not in alike] + ([alike] if alike else [])
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for group in groups:
            own = [losses[i] for i in group]
            together = _refined(own, [problems[i] for i in group], [starts[i] for i in group], _ROUNDS[turn])
            found |= dict(zip(group, together, strict=True))
        return [found[i] for i in range(len(losses))]


def _refined(
    losses: Sequence[Loss], problems: Sequence[Tensor], starts: Sequence[Tensor], schedule: Schedule
) -> list[tuple[Tensor, Tensor]]:
    """Refine starts of families that are alike."""
    counts, start = [len(problem) for problem in problems], torch.cat(list(starts))
    if not len(start):
        return [(own, own[:, 0]) for own in starts]
    dtype = torch.float32 if schedule.last > _SINGLE else torch.float64
    parts = [loss.problem(rows) for loss, rows in zip(losses, problems, strict=True) if isinstance(loss, Absolute)]
    targets = torch.cat([part[0] for part in parts]).to(dtype).T.contiguous()
    units, amplitudes = (_stacked([part[k] for part in parts], dtype) for k in (1, 2))
    grids = tuple(loss.grid for loss in losses)
    columns = FamilyGrid.joint_columns(grids).for_counts(counts) if len(grids) > 1 else grids[0].columns
    residuals = Residuals(columns, targets, units, amplitudes)
    upper = grids[0].upper.to(start.device, dtype)
    parameters, value = descend(residuals, start.to(dtype).T.contiguous(), upper, schedule)
    return list(zip(parameters.T.to(start).split(counts), value.to(start).split(counts), strict=True))


def _stacked(parts: Sequence[Tensor | None], dtype: torch.dtype) -> Tensor | None:
    """Join what each family has of its problems, problems last; None where they have nothing."""
    some = [part for part in parts if part is not None]
    return torch.cat(some).to(dtype).movedim(0, -1).contiguous() if some else None


class AffineAbsolute(Affine, Absolute):
    """``sum |h - sum a_c K_c - b|``, with free coefficients and offset."""

    @classmethod
    def coarse_of_all(cls, losses: Sequence[Loss]) -> Callable[[Sequence[Tensor]], list[Tensor]]:
        """Return those of several families at once, where they are asked for the same filters."""
        one_by_one = super().coarse_of_all(losses)
        if any(len(loss.grid.family.components) > 1 for loss in losses):
            return one_by_one
        atoms = joined_atoms(tuple(loss.grid for loss in losses)).to(losses[0].targets.rough)
        counts = [loss.grid.angles.atoms.shape[1] for loss in losses]

        def together(rows: Sequence[Tensor]) -> list[Tensor]:
            if any(mine is not rows[0] for mine in rows):
                return one_by_one(rows)
            return list(_coarse_sums(losses[0].targets.rough[rows[0]], atoms).split(counts, dim=1))

        return together

    def coarse(self, rows: Tensor) -> Tensor:
        """Return the sum at the coefficients of least squares and, where it is low, at reweighted ones."""
        atoms, components = self.grid.angles.atoms.to(self.targets.rough), len(self.grid.family.components)
        if components > 1:
            return sums_of_mixtures(self.targets.rough[rows], atoms, components)
        return _coarse_sums(self.targets.rough[rows], atoms)

    def limit(self, rows: Tensor, best: Tensor) -> Tensor:  # noqa: ARG002
        """Bound by experience: the less of a filter is explained, the less a better template can add."""
        if len(self.grid.family.components) > 1:
            return best * _MIXTURE_GAIN
        taps = self.targets.taps.shape[-1]
        explained = (1 - best.square() / (_EVEN_RESIDUALS * taps)).clamp(min=_LEAST_EXPLAINED).sqrt()
        limit: Tensor = _START[0] * best + _START[1] * taps**-0.5 * explained
        return limit

    def starts(self, rows: Tensor, coarse: Tensor, best: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the local minima of a finer grid, where it surrounds those of the coarse one."""
        if len(self.grid.family.components) > 1:
            fine = self.grid.fine_angles
            values = sums_of_mixtures(self.targets.rough[rows], fine.atoms.to(coarse), len(self.grid.family.components))
            limit = _FINE_MIXTURE_GAIN * values.amin(-1, keepdim=True)
            problem, position, value = local_minima(values, fine.nodes, limit)
            return rows[problem], position, value
        limit = self.limit(rows, best)
        problem, node = (coarse <= limit.to(coarse)[:, None]).nonzero().unbind(-1)
        around = coarse[problem[:, None], self.grid.nodes.neighbours.to(node.device)[node]]
        lowest = coarse[problem, node] <= around.amin(-1)
        node, count = node[lowest], self.grid.nodes.shape[1]
        node = torch.stack([node // count, node % count], dim=-1)
        problem, position, value = self._in_patches(rows, problem[lowest], node, limit)
        return rows[problem], position, value

    def _in_patches(self, rows: Tensor, problem: Tensor, node: Tensor, limit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Local minima of the finer grid within half a step of given nodes of the coarse one."""
        fine, atoms = self.grid.fine_nodes, self.grid.fine_angles.atoms.to(self.targets.rough)
        steps = torch.arange(-_PATCH, _PATCH + 1, device=node.device)
        places = self.grid.in_fine_nodes(node)[..., None] + steps  # (patches, 2, steps)
        ends = torch.tensor(fine.shape, device=node.device)[:, None] - 1
        outside = (places < 0) | (places > ends)
        places = places.clamp(min=0).minimum(ends)
        number = places[:, 0, :, None] * fine.shape[1] + places[:, 1, None, :]
        row = problem[:, None, None].expand_as(number)
        filters = self.targets.rough[rows].T.contiguous()
        values = reweighted_sums(filters, atoms, row.flatten(), number.flatten()).view_as(number)
        values = values.masked_fill(outside[:, 0, :, None] | outside[:, 1, None, :], torch.inf)
        around = torch.nn.functional.pad(values, (1, 1, 1, 1), value=torch.inf).unfold(1, 3, 1).unfold(2, 3, 1)
        best = limit.to(values).scatter_reduce(0, problem, values.flatten(1).amin(-1), "amin")
        limit = torch.minimum(limit.to(values), _BEST[0] * best + _BEST[1] / atoms.shape[0])
        lowest = (values <= around.amin((-1, -2))) & (values <= limit[problem, None, None])
        patch, i, j = lowest.nonzero().unbind(-1)
        return problem[patch], torch.stack([places[patch, 0, i], places[patch, 1, j]], dim=-1), values[patch, i, j]

    def begin(self, problem: Tensor, position: Tensor) -> Tensor:
        """Return parameters with room for the coefficients and the offset, which the first round finds."""
        parameters = super().begin(problem, position)
        free = parameters.new_zeros(len(parameters), len(self.grid.family.components) + 1)
        return torch.cat([parameters, free], dim=-1)

    def problem(self, rows: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return filters and units."""
        return self.targets.taps[rows], self._units.expand(len(rows), -1), None

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

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the sum itself."""
        _, residual = least_absolute(self._basis(parameters), self.targets.taps[problem])
        return residual.abs().sum(-1)

    def solution(self, parameters: Tensor, *, curvature: bool) -> Solution:  # noqa: ARG002
        """Return that with the least sum."""
        free, residual = least_absolute(self._basis(parameters), self.targets.taps)
        offset = free[:, -1] * self.targets.taps.shape[-1] ** -0.5
        return Solution(free[:, :-1] / self._units, offset, self.targets.taps - residual)


def _coarse_sums(filters: Tensor, atoms: Tensor) -> Tensor:
    """Return the sums at the projections on each node and, where they are low, at reweighted coefficients."""
    if not len(filters):
        return filters.new_empty(0, atoms.shape[1])
    sums, projections = sums_at_nodes(filters, atoms)
    least, where = sums.min(1, keepdim=True)
    near = sums <= _NEAR[0] * least + _NEAR[1] * projections.gather(1, where).abs()
    row, node = near.nonzero().unbind(-1)
    sums[row, node] = reweighted_sums(filters.T.contiguous(), atoms, row, node)
    return sums


class MomentAbsolute(MomentLoss, Absolute):
    """``sum |h - C - a K|``."""

    norm = 1

    def coarse(self, rows: Tensor) -> Tensor:
        """Return the distances to the nodes."""
        return self._distances(self.grid.distances(1), rows)

    def limit(self, rows: Tensor, best: Tensor) -> Tensor:
        """Bound the distance by the triangle inequality."""
        return best + self._reach(self.grid.distances(1), rows)

    def starts(self, rows: Tensor, coarse: Tensor, best: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ARG002
        """Return the local minima of a finer grid that are within reach of its best node."""
        fine = self.grid.fine_distances
        values = self._distances(fine, rows)
        limit = values.amin(-1) + self._reach(fine, rows)
        problem, position, value = local_minima(values, fine.nodes, limit[:, None])
        return rows[problem], position, value

    def problem(self, rows: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return filters less their offsets, and amplitudes."""
        return self.shifted[rows], None, self.amplitudes[rows]

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the sum itself."""
        templates = self.grid.plan(parameters)[:, 0, 0].flatten(1)
        return (self.shifted[problem] - self.amplitudes[problem, None] * templates).abs().sum(-1)
