"""Least squares in what a filter answers to the patches that it sees, not in its weights."""

import torch
from torch import Tensor

from scalekeys.fitting.losses.base import Loss, Solution
from scalekeys.fitting.losses.least_squares import AffineSquares, Squares
from scalekeys.fitting.prepare import Targets
from scalekeys.fitting.solvers.variable_projection import Projected, explained, weights_of
from scalekeys.fitting.templates.grid import FamilyGrid
from scalekeys.fitting.templates.products import Products
from scalekeys.fitting.templates.whole import orthogonal_to_constants

_GAIN = 0.1
_BYTES = 2**26  # of the largest array of the coarse search


class ResponseSquares(AffineSquares):
    """``(h - m)^T S (h - m)`` in units of that of the best constant, less 1, with free coefficients and offset.

    The metric S of each filter is the covariance of its input patches. What is orthogonal to constants in the sense of
    S takes the place of what has mean zero.
    """

    limit_of_scale = 1 - 1e-4  # errors that are weighted are computed from whole templates, in which digits are lost

    def __init__(self, targets: Targets, grid: FamilyGrid) -> None:
        super().__init__(targets, grid)
        assert targets.metric is not None
        centred = orthogonal_to_constants(targets.taps[:, None], targets.metric)
        energy = (centred @ targets.metric @ centred.mT)[:, 0, 0].clamp(min=torch.finfo(centred.dtype).tiny)
        self._metric = targets.metric / energy[:, None, None]
        self._centred = centred[:, 0]
        self._family = grid.whole

    coarse_together = Loss.coarse_together  # each filter has templates of its own, in its own sense
    limit_by_node = Loss.limit_by_node
    refine_all = Squares.refine_all
    refine = Squares.refine

    def coarse(self, rows: Tensor) -> Tensor:
        """Return minus the share of the energy that the components of each node explain."""
        # Centred and orthonormal templates: few digits are lost where products with constants are subtracted.
        atoms = self.grid.angles.atoms.to(self._metric.device).unflatten(1, (self.grid.family.coefficients, -1))
        templates = atoms.permute(2, 1, 0).contiguous()  # (nodes, components, taps)
        at_once = max(1, _BYTES // (4 * templates.numel()))
        parts = [self._coarse(some, templates) for some in rows.split(at_once)]
        return torch.cat(parts) if parts else self._metric.new_empty(0, len(templates))

    def _coarse(self, rows: Tensor, templates: Tensor) -> Tensor:
        metric = self._metric[rows].float()
        ones = metric.sum(-1)
        weighted = templates.flatten(0, 1) @ metric  # (filters, nodes * components, taps)
        weighted = weighted.unflatten(1, templates.shape[:2])
        sums = (templates @ ones.T).movedim(-1, 0) / ones.sum(-1).sqrt()[:, None, None]  # with the unit constant
        aim = (metric @ self._centred[rows].float()[..., None])[..., 0]
        with_filters = (templates @ aim.T).movedim(-1, 0)  # (filters, nodes, components)
        count = templates.shape[1]
        gram = {
            (a, b): ((weighted[:, :, a] * templates[:, b]).sum(-1) - sums[..., a] * sums[..., b])[None]
            for a in range(count)
            for b in range(a, count)
        }
        return -explained(Products([with_filters[None, ..., c] for c in range(count)], gram, 0))

    def limit(self, rows: Tensor, best: Tensor) -> Tensor:  # noqa: ARG002
        """Bound by experience: between nodes the share explained grows by less than a tenth."""
        return best + _GAIN

    def objective(self, problem: Tensor) -> Projected:
        """Return minus the share of the energy that is explained."""
        return Projected(self._family, self._family.fold(self._centred[problem], self._metric[problem]))

    def solution(self, parameters: Tensor, *, curvature: bool) -> Solution:  # noqa: ARG002
        """Return that of least squares in the sense of the metric."""
        rows = parameters.T.contiguous()
        family = self._family
        weights = weights_of(family.products(family.fold(self._centred, self._metric), rows, centred=True))
        model = family.mixed(rows, weights)
        ones = self._metric.sum(-1)
        offset = ((self.targets.taps - model) * ones).sum(-1) / ones.sum(-1)
        return Solution((weights / family.factors(rows)).T, model + offset[:, None])


def response_share(targets: Tensor, residual: Tensor, metric: Tensor) -> Tensor:
    """Return the share of the variance of its responses that is not that of the residual: shape (filters,)."""
    lost, whole = (((rows[:, None] @ metric) @ rows[..., None])[:, 0, 0] for rows in (residual, targets))
    return 1 - lost / whole
