"""Scalar products of filters with templates, and of templates, without making the templates.

A template is a sum of outer products of two profiles, and a profile has few distinct taps: that of a smoothing is
even, that of a centred difference odd, that of a one-sided difference odd about half a pixel. A filter is folded by
these symmetries once, ``H = F_y h F_x^T``; then ``<h, y x^T> = y^T H x`` with profiles of half the length, and the
products of templates are products of those of their profiles. Everything is laid out with the filters last, so that
each step is one operation on long rows.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from scalekeys.fitting.products import FoldedTargets, Products, leibniz
from scalekeys.fitting.profiles import AxisProfiles, Profile
from scalekeys.scalespace import TemplatePlan


@dataclass(frozen=True, eq=False)
class Folded:
    """Filters, folded: one block for each pair of folds that a term of the family needs.

    Parameters
    ----------
    blocks : dict of (int, int) to Tensor, shape (folded taps in y, folded taps in x, n)
    centre : Tensor, shape (n,)
        The central tap.
    """

    blocks: dict[tuple[int, int], Tensor]
    centre: Tensor

    def select(self, index: Tensor) -> "Folded":
        """Return some of the filters."""
        blocks = {key: block.index_select(-1, index) for key, block in self.blocks.items()}
        return replace(self, blocks=blocks, centre=self.centre.index_select(0, index))


class Separable:
    """The scalar products of a family on a window.

    Parameters
    ----------
    plan : TemplatePlan
        A family with one scale along each axis, or one for both.
    maximum : float
        Largest variance.
    """

    def __init__(self, plan: TemplatePlan, maximum: float) -> None:
        self.plan, self.taps = plan, plan.size[0] * plan.size[1]
        self.x, self.y = (AxisProfiles(plan.operators(axis), maximum) for axis in "xy")
        components = range(len(plan.family.components))
        self.terms = [[key for key in self.x.of_term if key[0] == component] for component in components]
        pairs = {(self.y.fold_of[self.y.of_term[key]], self.x.fold_of[self.x.of_term[key]]) for key in self.x.of_term}
        self._folds = {
            (a, b): torch.einsum("gr,hc->ghrc", self.y.folds[a], self.x.folds[b]).flatten(0, 1).flatten(1)
            for a, b in sorted(pairs)
        }
        self.single = plan.common or plan.family.isotropic
        self._alike = self.x.same_as(self.y)

    def fold(self, targets: Tensor) -> Folded:
        """Fold filters of shape (n, taps)."""
        blocks = {}
        for (a, b), matrix in self._folds.items():
            shape = (self.y.folds[a].shape[0], self.x.folds[b].shape[0])
            blocks[a, b] = (matrix.to(targets) @ targets.T).unflatten(0, shape)
        return Folded(blocks, targets[:, self.taps // 2])

    def products(self, folded: FoldedTargets, parameters: Tensor, *, centred: bool) -> Products:
        """Return the scalar products at parameters of shape (2, n).

        Parameters
        ----------
        folded : Folded
            Filters; of mean zero where `centred`.
        parameters : Tensor, shape (2, n)
        centred : bool
            Whether the mean is subtracted from the components.
        """
        assert isinstance(folded, Folded)
        x, y = self._profiles(parameters)
        moved: dict[tuple[int, int], Tensor] = {}
        filters = [self._with_filters(terms, folded, x, y, moved) for terms in self.terms]
        sums = [self._summed(terms, x, y, "total") for terms in self.terms] if centred else []
        gram = {}
        for first in range(len(self.terms)):
            for second in range(first, len(self.terms)):
                table = self._with_each_other(first, second, x, y)
                if table is None:
                    continue
                if centred:
                    table = table - leibniz(sums[first], sums[second]) / self.taps
                gram[first, second] = table
        if self.plan.family.has_alpha:
            centre = self._summed(self.terms[0], x, y, "centre")
            return self._sharpened(folded, filters[0], gram[0, 0], centre, sums, parameters[1])
        if self.plan.common:
            return Products([along_both(one) for one in filters], {key: along_both(one) for key, one in gram.items()})
        return Products(filters, gram)

    def mixed(self, parameters: Tensor, weights: Tensor) -> Tensor:
        """Return mixtures of the components, shape (n, taps), with weights of shape (components, n)."""
        x, y = self._profiles(parameters)
        blocks: dict[tuple[int, int], Tensor] = {}
        for component, terms in enumerate(self.terms):
            weight = weights[component]
            if self.plan.family.has_alpha:
                weight = weight * parameters[1]
            for key in terms:
                a, b = self.y.of_term[key], self.x.of_term[key]
                block = (y[a].taps[0] * weight)[:, None] * x[b].taps[0]
                place = self.y.fold_of[a], self.x.fold_of[b]
                blocks[place] = blocks[place] + block if place in blocks else block
        models = sum(block.flatten(0, 1).T @ self._folds[place].to(block) for place, block in blocks.items())
        assert isinstance(models, Tensor)
        if self.plan.family.has_alpha:
            models[:, self.taps // 2] += weights[0] * self.plan.family.impulse
        return models

    def _profiles(self, parameters: Tensor) -> tuple[list[Profile], list[Profile]]:
        x = self.x(parameters[0])
        if self.single and self._alike:
            return x, x
        return x, self.y(parameters[0 if self.single else 1])

    def _with_filters(
        self,
        terms: list[tuple[int, int]],
        folded: Folded,
        x: list[Profile],
        y: list[Profile],
        moved: dict[tuple[int, int], Tensor],
    ) -> Tensor:
        """``y^T H x`` with derivatives: shape (6, n)."""
        total = None
        for key in terms:
            a, b = self.y.of_term[key], self.x.of_term[key]
            fold = self.y.fold_of[a]
            if (fold, b) not in moved:  # H x, (folded taps in y, 3, n)
                moved[fold, b] = contracted(folded.blocks[fold, self.x.fold_of[b]], x[b].taps)
            table = table_of(moved[fold, b], y[a].taps)
            total = table if total is None else total + table
        assert total is not None
        return total

    def _with_each_other(self, first: int, second: int, x: list[Profile], y: list[Profile]) -> Tensor | None:
        total = None
        for one in self.terms[first]:
            for other in self.terms[second]:
                (a, b), (c, d) = ((self.y.of_term[key], self.x.of_term[key]) for key in (one, other))
                if self.y.orthogonal(a, c) or self.x.orthogonal(b, d):
                    continue
                table = outer(self.x.gram(x, b, d), self.y.gram(y, a, c))
                total = table if total is None else total + table
        return total

    def _summed(
        self, terms: list[tuple[int, int]], x: list[Profile], y: list[Profile], part: Literal["total", "centre"]
    ) -> Tensor:
        """Sum or central tap of a component, from those of its profiles: shape (6, n)."""
        along_x, along_y = ([getattr(profile, part) for profile in profiles] for profiles in (x, y))
        tables = [outer(along_x[self.x.of_term[key]], along_y[self.y.of_term[key]]) for key in terms]
        return tables[0] if len(tables) == 1 else torch.stack(tables).sum(0)

    def _sharpened(
        self, folded: Folded, filters: Tensor, gram: Tensor, centre: Tensor, sums: list[Tensor], alpha: Tensor
    ) -> Products:
        """Products of ``impulse + alpha * terms``, with derivatives in (t, alpha)."""
        weight = self.plan.family.impulse
        filters, gram, centre = along_both(filters), along_both(gram), along_both(centre)
        own, mixed = weight**2, weight * centre
        if sums:
            own, mixed = own * (1 - 1 / self.taps), mixed - weight / self.taps * along_both(sums[0])
        return Products(
            [linear_in_alpha(weight * folded.centre, filters, alpha)], {(0, 0): _quadratic(own, mixed, gram, alpha)}
        )


def linear_in_alpha(fixed: Tensor, moving: Tensor, alpha: Tensor) -> Tensor:
    """Return ``fixed + alpha moving`` with derivatives in (t, alpha), given those of `moving`: shape (6, n)."""
    v, d, _, dd, _, _ = moving.unbind(0)
    return torch.stack([fixed + alpha * v, alpha * d, v, alpha * dd, d, torch.zeros_like(v)])


def _quadratic(own: float, mixed: Tensor, gram: Tensor, alpha: Tensor) -> Tensor:
    """``own + 2 alpha mixed + alpha^2 gram``, where the last two depend on t."""
    m, dm, _, ddm, _, _ = mixed.unbind(0)
    g, dg, _, ddg, _, _ = gram.unbind(0)
    twice = 2 * alpha
    return torch.stack(
        [
            own + alpha * (2 * m + alpha * g),
            alpha * (2 * dm + alpha * dg),
            2 * m + twice * g,
            alpha * (2 * ddm + alpha * ddg),
            2 * dm + twice * dg,
            2 * g,
        ]
    )


def along_both(table: Tensor) -> Tensor:
    """Turn derivatives in ``(t_x, t_y)``, at equal variances, into those in ``(t, unused)``."""
    v, x, y, xx, xy, yy = table.unbind(0)
    zero = torch.zeros_like(v)
    return torch.stack([v, x + y, zero, xx + 2 * xy + yy, zero, zero])


def outer(x: Tensor, y: Tensor) -> Tensor:
    """Return the product of a function of t_x and one of t_y, each given with two derivatives: shape (6, n)."""
    return torch.stack([x[0] * y[0], x[1] * y[0], x[0] * y[1], x[2] * y[0], x[1] * y[1], x[0] * y[2]])


def contracted(block: Tensor, profile: Tensor) -> Tensor:
    """Return ``sum over b of H[a, b] x[i, b]``: shape (a, 3, n)."""
    out = block[:, None, 0] * profile[:, 0]
    for b in range(1, block.shape[1]):
        out.addcmul_(block[:, None, b], profile[:, b])
    return out


def table_of(moved: Tensor, profile: Tensor) -> Tensor:
    """Return ``sum over a of y[j, a] (H x)[a, i]`` for all orders up to 2: shape (6, n)."""
    plain = (moved * profile[0][:, None]).sum(0)  # value, x, xx
    first = (moved[:, :2] * profile[1][:, None]).sum(0)  # y, xy
    second = (moved[:, 0] * profile[2]).sum(0)  # yy
    return torch.stack([plain[0], plain[1], first[0], plain[2], first[1], second])
