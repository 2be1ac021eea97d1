"""Losses of absolute differences."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from scalekeys.fitting.losses.base import Loss, Solution, local_minima
from scalekeys.fitting.losses.fixed_by_moments import MomentLoss
from scalekeys.fitting.solvers.linear_l1 import least_absolute, with_constant
from scalekeys.fitting.solvers.primal_dual_l1 import Schedule, descend
from scalekeys.fitting.templates.grid import joined_atoms, ravelled
from scalekeys.fitting.templates.residuals import Residuals
from scalekeys.fitting.templates.sums_at_nodes import reweighted_sums, sums_at_nodes, sums_of_mixtures
from scalekeys.fitting.templates.whole import WholeFamily
from scalekeys.scalespace import place_of

_ROUNDS = (
    Schedule(2e-2, 1e-3, steps=30, enough=1.0, reweighted=3),
    Schedule(2e-3, 1e-3, steps=15, enough=1.0, reweighted=2),
    Schedule(2e-3, 3e-5, steps=40, enough=0.5),
    Schedule(3e-5, 1e-8, steps=60, enough=0.1),
)
_SINGLE = 2e-4  # a last eps above this is reached in single precision
_KICKS = (0.04, 0.014)  # along a coordinate, and along two of them at once
_SHARE_OF_TAPS = 0.05
_NEAR, _START, _BEST = (1.03, 0.25), (1.01, 3.5), (1.01, 1.0)
_MIXTURE_GAIN, _FINE_MIXTURE_GAIN = 1.15, 1.06
_LEAST_EXPLAINED = 0.05
_EVEN_RESIDUALS = 0.64  # about 2 / pi: the share of n |r|^2 that the squared sum of n normal residuals has
_PATCH = 2


class Absolute(Loss):
    """A loss of absolute differences, approached from smooth ones."""

    rounds = len(_ROUNDS)
    same = 1e-3
    limit_of_scale = 1 - 1e-3  # sums are computed from whole templates, in which digits are lost

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
        count = self.grid.parameters
        lower, upper = (ends.to(parameters) for ends in self.grid.bounds(self.limit_of_scale))
        kicks = _kicks(count).to(parameters) * (upper - lower)
        bounded = torch.maximum(torch.minimum(parameters[:, None, :count] + kicks, upper), lower)
        others = parameters[:, None, count:].expand(-1, len(kicks), -1)
        return problem.repeat_interleave(len(kicks)), torch.cat([bounded, others], dim=-1).flatten(0, 1)

    @property
    def family(self) -> WholeFamily:
        """The templates of which the residuals are made."""
        return self.grid.whole

    @abstractmethod
    def problem(self, rows: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return targets (n, taps), and units (n, components) or amplitudes (n,), of the filters `rows`."""

    def refine(self, problem: Tensor, start: Tensor, turn: int) -> tuple[Tensor, Tensor]:
        """Follow the optimum of a smoothed sum from a wide smoothing to a narrow one."""
        if not len(problem):
            return start, start.new_empty(0)
        schedule = _ROUNDS[turn]
        dtype = torch.float32 if schedule.last > _SINGLE else torch.float64
        targets, units, amplitudes = (
            None if part is None else part.to(dtype).movedim(0, -1).contiguous() for part in self.problem(problem)
        )
        assert targets is not None
        residuals = Residuals(self.family, targets, units, amplitudes)
        lower, upper = (ends.to(start.device, dtype) for ends in self.grid.bounds(self.limit_of_scale))
        found, value = descend(residuals, start.to(dtype).T.contiguous(), lower, upper, schedule)
        return found.T.to(start), value.to(start)


def _kicks(parameters: int) -> Tensor:
    """Return steps from a start, the zero among them, in shares of the range of each coordinate: (kicks, p)."""
    unit = torch.eye(parameters)
    steps = [torch.zeros(parameters)]
    for sign in (1.0, -1.0):
        steps += [sign * _KICKS[0] * own for own in unit]
        for i in range(parameters):
            for j in range(i + 1, parameters):
                steps += [sign * _KICKS[1] * (unit[i] + unit[j]), sign * _KICKS[1] * (unit[i] - unit[j])]
    return torch.stack(steps)


class AffineAbsolute(Absolute):
    """``sum |h - sum a_c K_c - b|``, with free coefficients and offset."""

    @classmethod
    def coarse_together(cls, losses: Sequence[Loss]) -> Callable[[Tensor], list[Tensor]] | None:
        """Return those of several families at once."""
        if any(loss.grid.family.mixed for loss in losses):
            return None
        atoms = joined_atoms(tuple(loss.grid for loss in losses)).to(losses[0].targets.rough)
        counts = [loss.grid.angles.atoms.shape[1] for loss in losses]
        return lambda rows: list(_coarse_sums(losses[0].targets.rough[rows], atoms).split(counts, dim=1))

    def coarse(self, rows: Tensor) -> Tensor:
        """Return the sum at the coefficients of least squares and, where it is low, at reweighted ones."""
        atoms, components = self.grid.angles.atoms.to(self.targets.rough), self.grid.family.coefficients
        if components > 1:
            return sums_of_mixtures(self.targets.rough[rows], atoms, components)
        return _coarse_sums(self.targets.rough[rows], atoms)

    def limit(self, rows: Tensor, best: Tensor) -> Tensor:  # noqa: ARG002
        """Bound by experience: the less of a filter is explained, the less a better template can add."""
        if self.grid.family.mixed:
            return best * _MIXTURE_GAIN
        taps = self.targets.taps.shape[-1]
        explained = (1 - best.square() / (_EVEN_RESIDUALS * taps)).clamp(min=_LEAST_EXPLAINED).sqrt()
        limit: Tensor = _START[0] * best + _START[1] * taps**-0.5 * explained
        return limit

    def starts(self, rows: Tensor, coarse: Tensor, best: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the local minima of a finer grid, where it surrounds those of the coarse one."""
        if self.grid.family.mixed:
            fine = self.grid.fine_angles
            values = sums_of_mixtures(self.targets.rough[rows], fine.atoms.to(coarse), self.grid.family.coefficients)
            limit = _FINE_MIXTURE_GAIN * values.amin(-1, keepdim=True)
            problem, position, value = local_minima(values, fine.nodes, limit)
            return rows[problem], position, value
        limit = self.limit(rows, best)
        problem, node = (coarse <= limit.to(coarse)[:, None]).nonzero().unbind(-1)
        around = coarse[problem[:, None], self.grid.nodes.neighbours().to(node.device)[node]]
        lowest = coarse[problem, node] <= around.amin(-1)
        place = self.grid.nodes.unravelled(node[lowest])
        problem, position, value = self._in_patches(rows, problem[lowest], place, limit)
        return rows[problem], position, value

    def _in_patches(self, rows: Tensor, problem: Tensor, node: Tensor, limit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Local minima of the finer grid within half a step of given nodes of the coarse one."""
        fine, atoms = self.grid.fine_nodes, self.grid.fine_angles.atoms.to(self.targets.rough)
        count, side = len(fine.shape), 2 * _PATCH + 1
        steps = [torch.arange(-_PATCH, _PATCH + 1, device=node.device)] * count
        offsets = torch.cartesian_prod(*steps).reshape(-1, count)
        places = self.grid.in_fine_nodes(node)[:, None] + offsets  # (patches, points, parameters)
        ends = torch.tensor(fine.shape, device=node.device) - 1
        outside = ((places < 0) | (places > ends)).any(-1)
        places = places.clamp(min=0).minimum(ends)
        number = ravelled(places, fine.shape)
        row = problem[:, None].expand_as(number)
        filters = self.targets.rough[rows].T.contiguous()
        values = reweighted_sums(filters, atoms, row.flatten(), number.flatten()).view_as(number)
        values = values.masked_fill(outside, torch.inf)
        around = values.unflatten(1, (side,) * count)
        for axis in range(1, count + 1):
            around = _lowest_of_three(around, axis)
        best = limit.to(values).scatter_reduce(0, problem, values.amin(-1), "amin")
        limit = torch.minimum(limit.to(values), _BEST[0] * best + _BEST[1] / atoms.shape[0])
        lowest = (values <= around.flatten(1)) & (values <= limit[problem, None])
        patch, point = lowest.nonzero().unbind(-1)
        return problem[patch], places[patch, point], values[patch, point]

    def begin(self, problem: Tensor, position: Tensor) -> Tensor:
        """Return parameters with room for the coefficients and the offset, which the first round finds."""
        parameters = super().begin(problem, position)
        free = parameters.new_zeros(len(parameters), self.grid.family.coefficients + 1)
        return torch.cat([parameters, free], dim=-1)

    def problem(self, rows: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return filters and units."""
        return self.targets.taps[rows], self._units.expand(len(rows), -1), None

    @cached_property
    def _units(self) -> Tensor:
        """Norms of the components at scale 1: free coefficients in these units are of one order."""
        lower, upper = self.grid.bounds(0.0)
        middle = torch.minimum(place_of(torch.ones_like(upper), self.grid.bend), (lower + upper) / 2)
        norms: Tensor = self._components(middle[None])[0].norm(dim=-1).to(self.targets.taps)
        return norms.clamp(min=torch.finfo(norms.dtype).tiny)

    def _components(self, coordinates: Tensor) -> Tensor:
        """Components less their means, shape (problems, components, taps)."""
        values = self.family(coordinates[:, : self.grid.parameters].T.contiguous())[0].movedim(-1, 0)
        return values - values.mean(-1, keepdim=True)

    def _basis(self, coordinates: Tensor) -> Tensor:
        """Components in their units, and a constant, at given coordinates: shape (problems, taps, unknowns)."""
        return with_constant(self._components(coordinates) / self._units[:, None])

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the sum itself."""
        _, residual = least_absolute(self._basis(parameters), self.targets.taps[problem])
        return residual.abs().sum(-1)

    def solution(self, parameters: Tensor, *, curvature: bool) -> Solution:  # noqa: ARG002
        """Return that with the least sum."""
        free, residual = least_absolute(self._basis(parameters), self.targets.taps)
        factors = self.family.factors(parameters[:, : self.grid.parameters].T).T
        return Solution(free[:, :-1] / (self._units * factors), self.targets.taps - residual)


def _lowest_of_three(values: Tensor, axis: int) -> Tensor:
    """Return the least of each value and its neighbours along an axis."""
    moved = values.movedim(axis, -1)
    padded = torch.nn.functional.pad(moved, (1, 1), value=torch.inf)
    return padded.unfold(-1, 3, 1).amin(-1).movedim(-1, axis)


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
    limit_of_scale = 0.0

    @property
    def family(self) -> WholeFamily:
        """The templates with every factor that depends on the scale."""
        return self.grid.true_whole

    def problem(self, rows: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return filters less their offsets, and amplitudes."""
        return self.shifted[rows], None, self.amplitudes[rows]

    def at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        """Return the sum itself."""
        templates = self.grid.plan(parameters[:, : self.grid.parameters])[:, 0]
        return (self.shifted[problem] - self.amplitudes[problem, None] * templates).abs().sum(-1)
