"""What stands in the place of each filter: models of the package and their controls, plain or rounded to a budget."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

import scalekeys as sk
from surgery_sections.approximations import (
    HEADER,
    Approximation,
    Basis,
    best,
    coded,
    cosines,
    first,
    in_halves,
    low_rank,
    low_rank_coded,
    most_like,
    principal_components,
    rounded_by_largest,
)
from surgery_sections.scale_space import sparse_basis
from surgery_sections.wide_filters import Group

SPARSE = (5, 9, 14, 20)
"""Terms of the sparse models that compete within a budget."""

_COUNTS = (3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 20, 25)


def _library(model: str, group: Group) -> Approximation:
    fit = group.learned.fit(model)
    return Approximation(group.of(fit.kernels()), int(fit.numbers[group.rows].max()), torch.nan)  # type: ignore[arg-type]


def _noise(make: Callable[..., sk.FilterBank], group: Group) -> Approximation:
    return Approximation(group.of(make(group.learned.bank, seed=0)), 2, torch.nan)


def _keys(group: Group) -> Approximation:
    return Approximation(group.of(sk.assign_keys(group.learned.bank).kernels()), 3, torch.nan)


def _atoms(name: str, group: Group, learned: slice) -> Tensor:
    return cosines(group.side) if name == "cosines" else principal_components(group.filters[learned])


def _first(name: str, count: int, group: Group) -> Approximation | None:
    """Take the constant and the atoms that are strongest in the other half of the filters."""

    def make(learned: slice, own: slice) -> Approximation:
        basis = first(_atoms(name, group, learned), count, group.filters[learned])
        return Approximation(basis.filters(basis.coefficients(group.filters[own])), count, torch.nan)

    return in_halves(group.filters, make)


def _best(name: str, count: int, group: Group) -> Approximation | None:
    """Take the constant and the atoms that are strongest in each filter."""

    def make(learned: slice, own: slice) -> Approximation:
        basis = best(_atoms(name, group, learned), count, group.filters[own])
        return Approximation(basis.filters(basis.coefficients(group.filters[own])), count + 1, torch.nan)

    return in_halves(group.filters, make)


def _low_rank(rank: int, group: Group) -> Approximation:
    return low_rank(group.filters, rank)


PLAIN: Mapping[str, Callable[[Group], Approximation | None]] = {
    "white noise": partial(_noise, sk.white_noise_like),
    "matched noise": partial(_noise, sk.matched_noise_like),
    "published keys": _keys,
    **{name: partial(_library, name) for name in ("ideal8", "jet2", "sparse5", "sparse9")},
    **{f"first {count} components": partial(_first, "components", count) for count in (5, 9, 13)},
    "first 9 cosines": partial(_first, "cosines", 9),
    "best 8 components": partial(_best, "components", 8),
    "best 8 cosines": partial(_best, "cosines", 8),
    "rank 1": partial(_low_rank, 1),
}
"""Not rounded. The constant is one of the cosines and components; which atoms are the best counts as one number."""


def _all(name: str, group: Group, budget: int) -> Approximation | None:
    """Round the coefficients of all atoms, whose widths follow their variance in the other half of the filters."""

    def make(learned: slice, own: slice) -> Approximation | None:
        basis = Basis(_atoms(name, group, learned)[None])
        return coded(basis, group.filters[own], basis.coefficients(group.filters[learned]), budget)

    return in_halves(group.filters, make)


def _equal_taps(group: Group, budget: int) -> Approximation | None:
    taps = torch.eye(group.side**2, dtype=torch.float64)
    return coded(Basis(taps[None]), group.filters, None, budget)


def _by_largest(group: Group, budget: int) -> Approximation | None:
    bits = (budget - HEADER) // group.side**2
    if bits < 2:
        return None
    return Approximation(rounded_by_largest(group.filters, bits), group.side**2, budget, f"{bits} bits a tap")


def _best_cosines(group: Group, budget: int) -> Approximation | None:
    """Round the cosines that are strongest in each filter, as many as explain most."""
    bases = [best(cosines(group.side), count, group.filters) for count in _COUNTS]
    return most_like(group.filters, [coded(basis, group.filters, None, budget) for basis in bases])


def _sparse(group: Group, budget: int) -> Approximation | None:
    bases = [sparse_basis(group.learned.fit(f"sparse{terms}"), group.rows, group.side) for terms in SPARSE]
    return most_like(group.filters, [coded(basis, group.filters, None, budget) for basis in bases])


ROUNDED: Mapping[str, Callable[[Group, int], Approximation | None]] = {
    "sparse": _sparse,
    "components": partial(_all, "components"),
    "cosines": partial(_all, "cosines"),
    "best cosines": _best_cosines,
    "low rank": lambda group, budget: low_rank_coded(group.filters, budget),
    "taps": _equal_taps,
    "taps, largest sets the step": _by_largest,
}
"""Rounded to as many bits a filter as a budget allows."""


def budget_of(side: int, bits: int) -> int:
    """Return the bits of a filter whose taps have so many bits each, with one step."""
    return side**2 * bits + HEADER
