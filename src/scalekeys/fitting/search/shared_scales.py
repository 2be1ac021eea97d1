"""One scale for a group of filters: the minimum of their summed loss, or the geometric mean of their scales."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.filters import FilterBank
from scalekeys.fitting.losses.base import Loss
from scalekeys.fitting.losses.fixed_by_moments import MomentLoss
from scalekeys.fitting.losses.table import loss_of
from scalekeys.fitting.prepare import prepare
from scalekeys.fitting.search.families import grids_for
from scalekeys.fitting.spec import FitSpec
from scalekeys.fitting.templates.grid import widest
from scalekeys.scalespace import STRENGTH_MAX, families

GROUPINGS: tuple[str, ...] = ("paper", "family", "layer", "all")
"""Groups that have a name. `paper`: the centred differences in one, all others without a strength in another."""

_NODES = 128
_VALLEYS = 3
_GOLDEN_STEPS = 32
_GOLDEN = (5**0.5 - 1) / 2
_BYTES = 2**25  # of the templates that are evaluated at once


def group_labels(
    groups: str | Sequence[Hashable], bank: FilterBank, family: Tensor, spec: FitSpec
) -> tuple[Tensor, int]:
    """Return the group of each filter as a number, and how many groups there are.

    `groups`: one of :data:`GROUPINGS`, or one label a filter; filters with the label None are groups of their own.
    `family`: shape (filters,); the family of each filter, or -1; a filter without a fit is in no group (-1).
    Raises ModelError if the name is unknown, or there is not one label for each filter.
    """
    if isinstance(groups, str):
        labels = _named(groups, bank, family, spec)
    else:
        labels = labels_of(groups, len(family), "groups must have one label")
    numbers: dict[Hashable, int] = {}
    out = []
    for index, label in enumerate(labels):
        own = ("alone", index) if label is None else ("group", label)
        out.append(numbers.setdefault(own, len(numbers)) if family[index] >= 0 else -1)
    return torch.tensor(out, dtype=torch.long, device=family.device), len(numbers)


def labels_of(values: Iterable[Hashable] | Tensor | np.ndarray, count: int, what: str) -> list[Hashable]:
    """Return one label a filter, from a list, array or tensor.

    Raises ModelError if there is not one for each filter, or one cannot be a label.
    """
    given = values.tolist() if isinstance(values, torch.Tensor | np.ndarray) else values
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ModelError(f"{what} for each of the {count} filters, got {values!r}")
    labels = list(given)
    if len(labels) != count:
        raise ModelError(f"{what} for each of the {count} filters, got {len(labels)}")
    if not all(isinstance(label, Hashable) for label in labels):
        raise ModelError(f"{what} for each of the {count} filters, and a list cannot be one")
    return labels


def _named(groups: str, bank: FilterBank, family: Tensor, spec: FitSpec) -> list[Hashable]:
    if groups not in GROUPINGS:
        allowed = ", ".join(map(repr, GROUPINGS))
        raise ModelError(f"groups must be one of {allowed}, or one label a filter, got {groups!r}")
    if groups == "all":
        return ["all"] * len(family)
    if groups == "layer":
        return [index for index, layer in enumerate(bank.layers) for _ in range(len(layer))]
    label = [name if groups == "family" else paper_group(name) for name in spec.families]
    return [label[index] if index >= 0 else None for index in family.tolist()]


def paper_group(name: str) -> str | None:
    """Return the group of a family that makes {1, 2, 3, 4, 8} and {5, 6} of the paper; None for `sharpen`, alone."""
    model = next(known[name] for axes in (2, 1, 3) if name in (known := families(axes)))
    if len(model.components) > 1:
        return None
    return "centred differences" if any("central" in term.operators for term in model.terms) else "others"


@dataclass(frozen=True, eq=False)
class _Member:
    """The filters of one size and one family, with their losses at any common scale."""

    loss: Loss
    rows: Tensor  # in the bank
    weight: Tensor
    shift: float

    def summed(self, t: Tensor, labels: Tensor) -> Tensor:
        """Loss of each group, from these filters, at several variances for each; shape (trials, groups), like `t`."""
        own = t[:, labels[self.rows]]
        at_once = max(1, _BYTES // (8 * self.loss.targets.taps.numel()))
        losses = torch.cat([self._losses(part) for part in own.split(at_once)])
        return torch.zeros_like(t).index_add_(1, labels[self.rows], (losses + self.shift) * self.weight)

    def _losses(self, t: Tensor) -> Tensor:
        """Loss of each filter at several variances for each, shape (trials, filters) like `t`."""
        problem = torch.arange(len(self.rows), device=t.device).expand_as(t).flatten()
        return self._at(problem, self.parameters(problem, t.flatten())).reshape(t.shape)

    def _at(self, problem: Tensor, parameters: Tensor) -> Tensor:
        return self.loss.at(problem, self.loss.grid.coordinates(parameters))

    def parameters(self, problem: Tensor, t: Tensor) -> Tensor:
        """Parameters of the filters `problem` at given variances, with the best strength where there is one."""
        if "alpha" not in self.loss.grid.family.parametrization.names:
            return t[:, None].expand(-1, len(self.loss.grid.size))
        tried = [torch.zeros_like(t), torch.full_like(t, STRENGTH_MAX), self._strength(problem, t)]
        losses = torch.stack([self._at(problem, torch.stack([t, alpha], dim=-1)) for alpha in tried])
        best = torch.stack(tried).gather(0, losses.argmin(0, keepdim=True))[0]
        return torch.stack([t, best], dim=-1)

    def _strength(self, problem: Tensor, t: Tensor) -> Tensor:
        """Return the best strength at given scales, a linear unknown or the ratio of two, clamped to its range."""
        loss, ends = self.loss, (torch.zeros_like(t), torch.ones_like(t))
        none, full = (loss.grid.plan(loss.grid.coordinates(torch.stack([t, end], dim=-1)))[:, 0] for end in ends)
        if isinstance(loss, MomentLoss):
            amplitudes = loss.amplitudes[problem, None]
            change = amplitudes * (full - none)
            found = loss.solve(change[..., None], loss.shifted[problem] - amplitudes * none)[:, 0]
        else:
            basis = torch.stack([none, full - none, torch.ones_like(none)], dim=-1)
            a, b, _ = loss.solve(basis, loss.targets.taps[problem]).unbind(-1)
            found = torch.nan_to_num(b / a)
        return found.clamp(0.0, STRENGTH_MAX)


def shared_parameters(
    bank: FilterBank, family: Tensor, parameters: Tensor, labels: Tensor, count: int, spec: FitSpec
) -> Tensor:
    """Return the parameters of each filter with the scale of its group.

    `family`: shape (filters,); given families, or -1.
    `parameters`: shape (filters, parameters); those of a fit of each filter by itself: per axis for a criterion that
    compares widths.
    `labels`: shape (filters,); group of each filter, or -1.

    A filter that is alone in its group keeps its own fit. For l1 and l2 each filter counts in units in which its
    amplitude (normalization by moments) or its centred norm (affine) is 1. The sum is tabulated on a fine grid of
    scales and refined in its lowest valleys by golden section.
    """
    if not count:
        return parameters
    if spec.by_variance:
        return _geometric_means(bank, family, parameters, labels, count, spec)
    together = torch.bincount(labels[labels >= 0], minlength=count) > 1
    family = torch.where((labels >= 0) & together[labels.clamp(min=0)], family, -1)
    members = _members(bank, family, spec)
    if not members:
        return parameters
    limit = max(widest(size) for size in bank.sizes)
    position = torch.linspace(0, limit / (1 + limit), _NODES, dtype=torch.float64).to(parameters)
    nodes = (position / (1 - position)).clamp(max=limit)  # about even in the angle between templates

    def summed(t: Tensor) -> Tensor:
        return torch.stack([member.summed(t, labels) for member in members]).sum(0)

    table = summed(nodes[:, None].expand(-1, count))
    valleys = _valleys(table)
    low, high = nodes[(valleys - 1).clamp(min=0)], nodes[(valleys + 1).clamp(max=_NODES - 1)]
    t, value = _golden_section(summed, low, high)
    t, value = torch.cat([t, nodes[table.argmin(0)][None]]), torch.cat([value, table.amin(0)[None]])
    best = t.gather(0, value.argmin(0, keepdim=True))[0]
    result = parameters.clone()
    for member in members:
        everyone = torch.arange(len(member.rows), device=best.device)
        found = member.parameters(everyone, best[labels[member.rows]])
        result[member.rows, : found.shape[1]] = found
    return result


def _members(bank: FilterBank, family: Tensor, spec: FitSpec) -> list[_Member]:
    members = []
    for size in bank.sizes:
        stack, positions = bank.of_size(size)
        positions = positions.to(family.device)
        targets = prepare(stack).targets
        for name, grid in grids_for(size, spec).items():
            mine = (family[positions] == spec.families.index(name)).nonzero()[:, 0]
            if len(mine):
                chosen = targets.select(mine)
                loss = loss_of(spec)(chosen, grid)
                weight, shift = torch.ones_like(chosen.taps[:, 0]), 0.0 if spec.criterion == "l1" else 1.0
                if isinstance(loss, MomentLoss):
                    weight = loss.amplitudes.abs().pow(-loss.norm)
                members.append(_Member(loss, positions[mine], weight, shift))
    return members


def _valleys(table: Tensor) -> Tensor:
    """Nodes of the lowest local minima of each column, shape (valleys, columns)."""
    padded = torch.nn.functional.pad(table, (0, 0, 1, 1), value=torch.inf)
    low = (table <= padded[:-2]) & (table <= padded[2:])
    return torch.where(low, table, torch.inf).argsort(0)[:_VALLEYS]


def _golden_section(function: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Minimise many functions of one variable at once between bounds."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    f_left, f_right = function(left), function(right)
    for _ in range(_GOLDEN_STEPS):
        down = f_left < f_right
        low, high = torch.where(down, low, left), torch.where(down, right, high)
        new = torch.where(down, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        value = function(new)
        left, right = torch.where(down, new, right), torch.where(down, left, new)
        f_left, f_right = torch.where(down, value, f_right), torch.where(down, f_left, value)
    lowest = f_left < f_right
    return torch.where(lowest, left, right), torch.where(lowest, f_left, f_right)


def _geometric_means(
    bank: FilterBank, family: Tensor, parameters: Tensor, labels: Tensor, count: int, spec: FitSpec
) -> Tensor:
    """Geometric mean of all the scales of each group; axes of one tap have none, a strength stays as it is."""
    result = parameters.clone()
    group = labels.clamp(min=0)
    total, number = (parameters.new_zeros(count) for _ in range(2))
    members = []
    for size in bank.sizes:
        positions = bank.of_size(size)[1].to(family.device)
        seen = torch.tensor([taps > 1 for taps in reversed(size)]).to(family.device)
        for name in grids_for(size, spec):
            rows = positions[(family[positions] == spec.families.index(name)) & (labels[positions] >= 0)]
            alone = families(len(size))[name].parametrization
            logs = torch.where(seen, alone.axis_variances(parameters[rows, : len(alone.names)]).log(), 0.0)
            total.index_add_(0, group[rows], logs.sum(-1))
            number.index_add_(0, group[rows], torch.full_like(logs[:, 0], float(seen.sum())))
            members.append((rows, "alpha" in alone.names, len(size)))
    t = (total / number).exp()
    for rows, is_strengthened, axes in members:
        result[rows, : 1 if is_strengthened else axes] = t[group[rows], None]
    return result


def unshared(spec: FitSpec) -> FitSpec:
    """Return the spec of the fit of each filter by itself, from which sharing starts."""
    return replace(spec, scales="per-axis" if spec.by_variance else "common")
