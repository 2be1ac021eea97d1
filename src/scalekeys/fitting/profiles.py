"""The profiles of templates along one axis, folded by their symmetries."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scalekeys.fitting.series import KernelSeries, kernel_series


class Profile(NamedTuple):
    """A profile at n variances, each part with two derivatives in t.

    Parameters
    ----------
    taps : Tensor, shape (3, folded taps, n)
    total, centre : Tensor, shape (3, n)
        The sum over the window, and the central tap.
    """

    taps: Tensor
    total: Tensor
    centre: Tensor


class AxisProfiles:
    """The distinct profiles of a family along one axis, folded by their symmetries.

    Parameters
    ----------
    operators : array, shape (3, components, terms, taps, wide)
        See :meth:`scalekeys.scalespace.TemplatePlan.operators`.
    maximum : float
        Largest variance.

    Attributes
    ----------
    of_term : dict
        Which profile a term ``(component, term)`` has along this axis.
    fold_of : tuple of int
        Which fold a profile has.
    folds : list of Tensor, each of shape (folded taps, taps)
        Orthonormal rows: a profile is its folded taps times its fold.
    """

    def __init__(self, operators: np.ndarray, maximum: float) -> None:
        half = _folded_about_zero(operators)
        distinct: list[np.ndarray] = []
        self.of_term: dict[tuple[int, int], int] = {}
        for component, term in np.ndindex(operators.shape[1:3]):
            rows = half[:, component, term]
            if not rows.any():
                continue
            known = [index for index, other in enumerate(distinct) if np.array_equal(other, rows)]
            self.of_term[component, term] = known[0] if known else len(distinct)
            if not known:
                distinct.append(rows)
        self.folds: list[Tensor] = []
        fold_of, folded = [], []
        for rows in distinct:
            fold = _fold(rows[0])
            same = [index for index, other in enumerate(self.folds) if torch.equal(other, fold)]
            fold_of.append(same[0] if same else len(self.folds))
            if not same:
                self.folds.append(fold)
            folded.append(np.einsum("gt,dtw->dgw", fold.numpy(), rows))
        self.fold_of = tuple(fold_of)
        # Below the folded taps of a profile stand their sum over the window and the central tap.
        ends = [
            np.stack([fold.sum(1).numpy(), fold[:, fold.shape[1] // 2].numpy()])
            for fold in (self.folds[k] for k in fold_of)
        ]
        extended = [np.concatenate([taps, end @ taps], axis=1) for taps, end in zip(folded, ends, strict=True)]
        self._counts = [part.shape[1] for part in extended]
        self._matrix = torch.from_numpy(np.concatenate(extended, axis=1)).flatten(0, 1)
        self.series: KernelSeries = kernel_series(half.shape[-1] - 1, maximum)
        self._crossings = {
            (a, b): self.folds[fold_of[a]] @ self.folds[fold_of[b]].T
            for a in range(len(fold_of))
            for b in range(len(fold_of))
        }

    def __call__(self, t: Tensor) -> list["Profile"]:
        """Return the profiles at variances t."""
        values = self.series(t, self._matrix).unflatten(0, (3, -1))
        return [Profile(rows[:, :-2], rows[:, -2], rows[:, -1]) for rows in values.split(self._counts, dim=1)]

    def same_as(self, other: "AxisProfiles") -> bool:
        """Return whether the profiles along another axis are the same ones, in the same order."""
        return self._matrix.shape == other._matrix.shape and torch.equal(self._matrix, other._matrix)

    def orthogonal(self, first: int, second: int) -> bool:
        """Return whether two profiles are orthogonal at all scales, by symmetry."""
        return not self._crossings[first, second].abs().max() > 1e-12

    def padded(self, taps: int) -> Tensor:
        """Return the rows that make the only profile from T, with its folded taps filled up with zeros.

        Shape (3, taps + 2, radius + 1): taps, then total and centre, each with two derivatives.
        """
        rows = self._matrix.unflatten(0, (3, -1))
        own = self._counts[0] - 2
        blank = rows.new_zeros(3, taps - own, rows.shape[-1])
        return torch.cat([rows[:, :own], blank, rows[:, own:]], dim=1)

    def gram(self, profiles: list[Profile], first: int, second: int) -> Tensor:
        """Return the scalar product of two profiles at the same t, with derivatives: (3, n)."""
        a, b = profiles[first].taps, profiles[second].taps
        if first == second:
            return squared(a)
        if self.fold_of[first] != self.fold_of[second]:
            b = torch.einsum("gh,dhn->dgn", self._crossings[first, second].to(b), b)
        value = (a[0] * b[0]).sum(0)
        slope = (a[0] * b[1] + a[1] * b[0]).sum(0)
        bend = (a[0] * b[2] + a[2] * b[0] + 2 * a[1] * b[1]).sum(0)
        return torch.stack([value, slope, bend])


def squared(profile: Tensor) -> Tensor:
    """Return the squared length of a profile (3, taps, n), with derivatives: (3, n)."""
    with_value = (profile * profile[0]).sum(1)
    bend = with_value[2] + profile[1].square().sum(0)
    return torch.stack([with_value[0], 2 * with_value[1], 2 * bend])


def _folded_about_zero(operators: np.ndarray) -> np.ndarray:
    """Let the operators act on ``T(0 ..)`` alone, since T is even."""
    centre = operators.shape[-1] // 2
    half = operators[..., centre:].copy()
    half[..., 1:] += operators[..., centre - 1 :: -1]
    return half


def _fold(rows: np.ndarray) -> Tensor:
    """Return orthonormal rows, each of which joins the taps with the same value, or the opposite one, at all scales."""
    groups: list[tuple[np.ndarray, np.ndarray]] = []
    for tap, row in enumerate(rows):
        if not row.any():
            continue
        sign = 1.0
        for reference, members in groups:
            if np.array_equal(row, reference) or np.array_equal(row, -reference):
                sign = 1.0 if np.array_equal(row, reference) else -1.0
                members[tap] = sign
                break
        else:
            members = np.zeros(len(rows))
            members[tap] = 1.0
            groups.append((row, members))
    fold = np.stack([members / np.sqrt((members**2).sum()) for _, members in groups])
    return torch.from_numpy(fold)
