"""Approximations of small kernels: bases, low rank, rounding, each with its numbers and, once rounded, its bits.

Every basis is orthonormal, so that one quantiser serves all models: a filter has one step for all its coefficients, and
a coefficient has a width in bits. Where a place in the basis means the same in every filter, widths follow the
variance of the coefficients (reverse water-filling); elsewhere all are equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import comb, log2

import torch
from torch import Tensor

HEADER = 8
"""Bits of a step: seven for its size, in steps of a quarter of an octave, one for whether 0 is a level."""

_STEPS = 40  # a quarter of an octave each, below the largest coefficient
_WIDEST = 8


@dataclass(frozen=True, eq=False)
class Basis:
    """An orthonormal basis for each filter, or one for all.

    Parameters
    ----------
    atoms : Tensor, shape (filters or 1, taps, coefficients)
    side : float
        Bits that say which basis it is: scales, indices.
    numbers : int
        Beside the coefficients: scales, and which atoms.
    """

    atoms: Tensor
    side: float = 0.0
    numbers: int = 0

    def coefficients(self, filters: Tensor) -> Tensor:
        return (self.atoms.mT @ filters[..., None])[..., 0]

    def filters(self, coefficients: Tensor) -> Tensor:
        return (self.atoms @ coefficients[..., None])[..., 0]


@dataclass(frozen=True, eq=False)
class Approximation:
    """Filters (filters, taps) in the place of others."""

    filters: Tensor
    numbers: int
    bits: float
    what: str = ""


def r2_of(filters: Tensor, others: Tensor) -> Tensor:
    """Return the share of the energy of each centred filter that another explains."""
    centred = filters - filters.mean(-1, keepdim=True)
    return 1 - (filters - others).square().sum(-1) / centred.square().sum(-1).clamp(min=1e-300)


def orthonormal(atoms: Tensor) -> Tensor:
    """Make atoms (..., taps, atoms) orthonormal, the first first."""
    norm = torch.linalg.vector_norm(atoms, dim=-2, keepdim=True)
    result: Tensor = torch.linalg.qr(atoms / norm.clamp(min=1e-300))[0]
    return result


def cosines(side: int) -> Tensor:
    """Return the discrete cosines of two axes, (taps, taps), in order of their frequency; the first is constant."""
    places = torch.arange(side, dtype=torch.float64)
    waves = torch.cos(torch.pi / side * (places[:, None] + 0.5) * places)
    waves = waves / torch.linalg.vector_norm(waves, dim=0)
    order = sorted(product(range(side), repeat=2), key=lambda pair: (sum(pair), pair))
    return torch.stack([torch.outer(waves[:, row], waves[:, column]).flatten() for row, column in order], dim=-1)


def principal_components(filters: Tensor) -> Tensor:
    """Return the constant and the principal components of filters, centred and of unit norm: (taps, taps)."""
    centred = filters - filters.mean(-1, keepdim=True)
    unit = torch.nn.functional.normalize(centred, dim=-1)
    _, vectors = torch.linalg.eigh(unit.mT @ unit)
    constant = torch.ones(filters.shape[-1], 1).to(filters)
    return orthonormal(torch.cat([constant, vectors.flip(-1)[:, :-1]], dim=-1))


def first(atoms: Tensor, count: int, learning: Tensor) -> Basis:
    """Take the constant and the atoms that are strongest in the filters from which is learned."""
    strength = torch.nn.functional.normalize(learning @ atoms, dim=-1).square().sum(0)
    strength[0] = torch.inf
    return Basis(atoms[:, strength.argsort(descending=True)[:count]][None])


def best(atoms: Tensor, count: int, filters: Tensor) -> Basis:
    """Take the constant and those atoms that are strongest in each filter."""
    strength = (filters @ atoms).abs()
    strength[:, 0] = torch.inf
    chosen = strength.topk(count, dim=-1).indices.sort(-1).values
    side = log2(comb(atoms.shape[-1] - 1, count - 1))
    return Basis(atoms.T[chosen].mT, side=side, numbers=1)


def rounded(values: Tensor, widths: Tensor) -> Tensor:
    """Round coefficients (filters, coefficients) to levels of so many bits, with the best step for each filter."""
    top = 2.0 ** (torch.ceil(4 * torch.log2(values.abs().amax(-1, keepdim=True).clamp(min=1e-300))) / 4)
    found, least = torch.zeros_like(values), values.square().sum(-1)
    half = 2.0**widths / 2
    for number, zero in product(range(-4, _STEPS), (False, True)):
        step = top * 2.0 ** (-number / 4)
        scaled = values / step
        if zero:
            level = torch.minimum(torch.maximum(scaled.round(), 1 - half), half - 1)
        else:
            level = torch.minimum(torch.maximum(scaled.floor(), -half), half - 1) + 0.5
        tried = torch.where(widths > 0, level, 0.0) * step
        error = (values - tried).square().sum(-1)
        found, least = torch.where((error < least)[:, None], tried, found), torch.minimum(error, least)
    return found


def rounded_by_largest(filters: Tensor, bits: int) -> Tensor:
    """Round to symmetric levels, the outermost of which is the largest weight of a filter."""
    most: int = 2 ** (bits - 1) - 1
    step = filters.abs().amax(-1, keepdim=True).clamp(min=1e-300) / most
    return (filters / step).round() * step


def widths_by_variance(coefficients: Tensor, available: int) -> Tensor:
    """Share bits out among places, so that the step is about the same in all that get any."""
    strength = torch.nn.functional.normalize(coefficients, dim=-1).square().mean(0).sqrt().clamp(min=1e-9).log2()

    def at(level: float) -> Tensor:
        return (strength - level).round().clamp(0, _WIDEST)

    levels = torch.linspace(float(strength.max()) + 1, float(strength.min()) - _WIDEST, 4_001).tolist()
    within = [level for level in levels if float(at(level).sum()) <= available]
    return at(within[-1])


def coded(basis: Basis, filters: Tensor, learning: Tensor | None, budget: int) -> Approximation | None:
    """Round what a basis needs for each filter to a budget of bits; None if it is too small.

    Parameters
    ----------
    basis : Basis
    filters : Tensor, shape (filters, taps)
    learning : Tensor or None
        Coefficients of other filters, whose variance says how wide each is; None where a place in the basis does not
        mean the same in every filter.
    budget : int
        Bits for each filter.
    """
    values = basis.coefficients(filters)
    available = int(budget - basis.side - HEADER)
    count = values.shape[-1]
    if learning is not None:
        if available < 1:
            return None
        widths = widths_by_variance(learning, available)
    else:
        if available < count:
            return None
        widths = torch.full((count,), float(min(available // count, _WIDEST)))
    used = int((widths > 0).sum())
    words = f"{used} coefficients of {widths[widths > 0].min():.0f} to {widths.max():.0f} bits"
    made = basis.filters(rounded(values, widths.to(values)))
    return Approximation(made, used + basis.numbers, float(widths.sum()) + basis.side + HEADER, words)


def low_rank(filters: Tensor, rank: int) -> Approximation:
    """Keep the first singular values of each kernel."""
    kernels = _square(filters)
    left, strength, right = torch.linalg.svd(kernels)
    made = left[..., :rank] * strength[..., None, :rank] @ right[..., :rank, :]
    return Approximation(made.flatten(1), rank * (2 * kernels.shape[-1] - rank), torch.nan)


def low_rank_coded(filters: Tensor, budget: int) -> Approximation | None:
    """Round both factors of each kernel; the second makes up for the rounding of the first."""
    kernels, found = _square(filters), []
    side = kernels.shape[-1]
    for rank in (1, 2, 3):
        bits = min((budget - 2 * HEADER) // (2 * rank * side), _WIDEST)
        if bits < 1:
            continue
        left, strength, _ = torch.linalg.svd(kernels)
        widths = torch.full((rank * side,), float(bits)).to(filters)
        factor = rounded((left[..., :rank] * strength[..., None, :rank].sqrt()).flatten(1), widths)
        factor = factor.view(-1, side, rank)
        other = rounded((torch.linalg.pinv(factor) @ kernels).flatten(1), widths).view(-1, rank, side)
        made = (factor @ other).flatten(1)
        total = 2 * HEADER + 2 * rank * side * bits
        found.append(Approximation(made, rank * (2 * side - rank), total, f"rank {rank}, {bits} bits"))
    return most_like(filters, found)


def most_like(filters: Tensor, found: Sequence[Approximation | None]) -> Approximation | None:
    """Return the approximation with the largest mean r2: no image and no label decides."""
    there = [one for one in found if one is not None]
    return max(there, key=lambda one: float(r2_of(filters, one.filters).clamp(min=-1).mean()), default=None)


def in_halves(filters: Tensor, make: Callable[[slice, slice], Approximation | None]) -> Approximation | None:
    """Approximate every other filter by what is learned from the rest, and the reverse: ``make(learned, own)``."""
    halves = (slice(0, None, 2), slice(1, None, 2))
    one, other = (make(learned, own) for own, learned in (halves, halves[::-1]))
    if one is None or other is None:
        return None
    made = torch.empty_like(filters)
    made[halves[0]], made[halves[1]] = one.filters, other.filters
    return Approximation(made, max(one.numbers, other.numbers), (one.bits + other.bits) / 2, one.what)


def _square(filters: Tensor) -> Tensor:
    side = round(filters.shape[-1] ** 0.5)
    return filters.view(-1, side, side)
