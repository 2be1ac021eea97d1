"""Templates as columns, problems last: their values, slopes, and products of their derivatives with given columns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from scalekeys.fitting.moving import Moving, OuterMoving, WholeMoving
from scalekeys.fitting.separable import along_both, contracted, linear_in_alpha, table_of
from scalekeys.fitting.series import KernelSeries, kernel_series
from scalekeys.scalespace import TemplatePlan


@dataclass(frozen=True, eq=False)
class Columns:
    """The components of a family on a window, or of several families that are alike but for their profiles.

    Parameters
    ----------
    plans : tuple of TemplatePlan
        Of one window; several only where each is an outer product of two profiles, with a scale for each axis.
    series : (KernelSeries, KernelSeries)
        Of the kernel along y and x.
    rows : tuple of (Tensor, Tensor), each of shape (profiles, 3, taps, length)
        For each family: profiles along y and x, with two derivatives, in terms of the series.
    ends : tuple of int
        Where the problems of each family end, in the order of the families; of all but the last.
    """

    plans: tuple[TemplatePlan, ...]
    series: tuple[KernelSeries, KernelSeries]
    rows: tuple[tuple[Tensor, Tensor], ...]
    ends: Tensor

    @classmethod
    def of(cls, plans: Sequence[TemplatePlan], maximum: float) -> "Columns":
        """Return those of plans, for variances up to a maximum."""
        operators = [[_about_zero(plan.operators(axis)) for axis in "yx"] for plan in plans]
        radii = [max(own[side].shape[-1] for own in operators) - 1 for side in (0, 1)]
        series = (kernel_series(radii[0], maximum), kernel_series(radii[1], maximum))
        rows = []
        for own in operators:
            y, x = (
                torch.from_numpy(side) @ one.coefficients[: side.shape[-1]]
                for side, one in zip(own, series, strict=True)
            )
            rows.append((y.flatten(1, 2).movedim(0, 1), x.flatten(1, 2).movedim(0, 1)))
        return cls(tuple(plans), series, tuple(rows), torch.zeros(len(plans) - 1, dtype=torch.long))

    def for_counts(self, counts: Sequence[int]) -> "Columns":
        """Return the same for given numbers of problems of each family."""
        return replace(self, ends=torch.tensor(counts[:-1], dtype=torch.long).cumsum(0))

    def select(self, index: Tensor) -> "Columns":
        """Return the same for some of the problems, by ascending number."""
        if len(self.plans) == 1:
            return self
        return replace(self, ends=torch.searchsorted(index, self.ends.to(index)))

    def __call__(self, parameters: Tensor) -> Moving:
        """Return the components at parameters of shape (2, n)."""
        plan = self.plans[0]
        if plan.family.two_scales:
            whole = plan(parameters.T, order=2).flatten(3).permute(1, 2, 3, 0).contiguous()
            return WholeMoving(whole[0], whole[1:3], lambda weights: (whole * weights).sum(2))
        y, x = self._profiles(parameters)
        single = plan.common or plan.family.has_alpha
        if plan.family.is_separable and not single:
            return OuterMoving(y[0], x[0])
        parts = [self._component(terms, y, x) for terms in self._terms]
        values, first, second = (torch.stack(part) for part in zip(*parts, strict=True))
        if not single:
            slopes = torch.stack([first, second])
        elif not plan.family.has_alpha:
            slopes = torch.stack([first + second, torch.zeros_like(first)])
        else:
            slopes = torch.stack([parameters[1] * (first + second), values])
            values = parameters[1] * values
            values[:, values.shape[1] // 2] += plan.family.impulse
        return WholeMoving(values, slopes, lambda weights: self._products(y, x, parameters, weights))

    @property
    def _terms(self) -> list[list[int]]:
        """The number of each term of each component among the profiles."""
        family = self.plans[0].family
        most = max(len(terms) for terms in family.components)
        return [[most * c + i for i in range(len(terms))] for c, terms in enumerate(family.components)]

    def _profiles(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Profiles along y and x with two derivatives, each of shape (profiles, 3, taps, n)."""
        plan, n = self.plans[0], parameters.shape[1]
        single = plan.common or plan.family.has_alpha
        if self.series[0] is self.series[1] and not single:
            x, y = self.series[0].basis(parameters.flatten()).split(n, dim=1)
        else:
            x, y = self.series[1].basis(parameters[0]), self.series[0].basis(parameters[0 if single else 1])
        found = []
        starts = [0, *self.ends.tolist(), n]
        for side, basis in ((0, y), (1, x)):
            shape = self.rows[0][side].shape[:3]
            if len(self.rows) == 1:
                out = self.rows[0][side].flatten(0, 2).to(basis) @ basis
            else:
                out = basis.new_empty(shape.numel(), n)
                for rows, start, end in zip(self.rows, starts[:-1], starts[1:], strict=True):
                    if end > start:
                        torch.mm(rows[side].flatten(0, 2).to(basis), basis[:, start:end], out=out[:, start:end])
            found.append(out.unflatten(0, shape))
        return found[0], found[1]

    def _component(self, terms: list[int], y: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Value and slopes along both axes of a sum of outer products, each of shape (taps, n)."""
        total: list[Tensor] = []
        for k in terms:
            (y0, y1), (x0, x1) = y[k, :2, :, None], x[k, :2, None]
            parts = [y0 * x0, y0 * x1, y1 * x0]
            total = [one.add_(other) for one, other in zip(total, parts, strict=True)] if total else parts
        value, first, second = (part.flatten(0, 1) for part in total)
        return value, first, second

    def _products(self, y: Tensor, x: Tensor, parameters: Tensor, weights: Tensor) -> Tensor:
        family, block = self.plans[0].family, weights.unflatten(0, self.plans[0].size)
        tables = []
        for terms in self._terms:
            parts = [table_of(contracted(block, x[k]), y[k]) for k in terms]
            table = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
            if self.plans[0].common or family.has_alpha:
                table = along_both(table)
            if family.has_alpha:
                table = linear_in_alpha(family.impulse * weights[len(weights) // 2], table, parameters[1])
            tables.append(table)
        return torch.stack(tables, dim=1)


def _about_zero(operators: np.ndarray) -> np.ndarray:
    """Let the operators act on ``T(0 ..)`` alone, since T is even."""
    centre = operators.shape[-1] // 2
    half = operators[..., centre:].copy()
    half[..., 1:] += operators[..., centre - 1 :: -1]
    return half
