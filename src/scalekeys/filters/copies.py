"""Copies: filters that equal another filter of their layer, up to a factor and an offset."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.filters.bank import FilterBank
from scalekeys.shapes import FilterStack
from scalekeys.threads import one_thread

COPY = 0.99
"""Filters that correlate by more than this are one filter, up to a factor and an offset."""

NUMBERS = 3
"""What a copy takes: which filter it copies, a factor and an offset."""


@dataclass(frozen=True, eq=False)
class Copies:
    """The copies among the filters of a bank, as a model of these filters alone.

    Parameters
    ----------
    bank : FilterBank
        The filters.
    original : Tensor of int64, shape (filters,)
        The position in its layer of the filter that each filter copies; -1 for a filter that is not a copy.
    r2 : Tensor, shape (filters,), float64
        The square of the correlation with the copied filter; NaN for a filter that is not a copy.
    """

    bank: FilterBank
    original: Int[Tensor, "filters"]
    r2: Float[Tensor, "filters"]

    def __repr__(self) -> str:
        return f"Copies({int((self.original >= 0).sum())} of {len(self.bank)} filters)"

    @property
    def family(self) -> np.ndarray:
        """``"copy"``, or an empty string for a filter that is no copy; shape (filters,)."""
        return np.where(self.original.numpy() >= 0, "copy", "")

    @property
    def numbers(self) -> Int[Tensor, "filters"]:
        """How many numbers describe a copy: which filter it copies, a factor and an offset; shape (filters,)."""
        return torch.full((len(self.bank),), NUMBERS)

    def kernels(self) -> FilterBank:
        """Return the filters, each copy made from the filter that it copies."""
        stacks = []
        for layer, rows in self.bank.parts():
            original = self.original[rows]
            flat, copy = layer.kernels.detach().cpu().double().flatten(1), original >= 0
            mean = flat.mean(1, keepdim=True)
            centred = flat - mean
            others = centred[original[copy]]
            factor = (centred[copy] * others).sum(1, keepdim=True) / others.square().sum(1, keepdim=True)
            flat[copy] = factor * others + mean[copy]
            stacks.append(flat.view(layer.kernels.shape).to(layer.kernels))
        return self.bank.with_filters(stacks)


def copies(bank: FilterBank) -> Copies:
    """Find filters that are copies of one before them in their layer, up to a factor and an offset.

    Parameters
    ----------
    bank : FilterBank
        Dead filters are not copies, and neither are filters of three taps or fewer, because a copy takes three numbers.

    Examples
    --------
    >>> from scalekeys.filters import master_keys, replacement
    >>> keys = master_keys()
    >>> replacement(copies(FilterBank.from_tensor(torch.cat([keys, 1 - 2 * keys]))))
    Replacement(8 of 16 filters, 416 numbers for 784 taps)
    """
    original = torch.full((len(bank),), -1)
    r2 = torch.full((len(bank),), torch.nan, dtype=torch.float64)
    dead = bank.negligible
    for layer, rows in bank.parts():
        if layer.kernels[0].numel() > NUMBERS:
            live = (~dead[rows]).nonzero().flatten()
            place, correlation = originals(layer.kernels.detach().cpu()[live])
            found = place >= 0
            original[rows][live[found]] = live[place[found]]
            r2[rows][live[found]] = correlation[found].square()
    return Copies(bank, original, r2)


@one_thread()
def originals(filters: FilterStack) -> tuple[Int[Tensor, "filters"], Float[Tensor, "filters"]]:
    """Return which filter before it each filter copies, -1 for one that copies none, and how they correlate.

    A filter that is a copy itself is never copied, so that what a copy loses is bounded.
    """
    flat = filters.double().flatten(1)
    unit = torch.nn.functional.normalize(flat - flat.mean(1, keepdim=True), dim=1)
    likeness = (unit @ unit.T).nan_to_num(0.0).abs()
    place, correlation = torch.full((len(flat),), -1), torch.zeros(len(flat), dtype=torch.float64)
    for index in (likeness > COPY).tril(-1).any(1).nonzero().flatten().tolist():
        before = likeness[index, :index].masked_fill(place[:index] >= 0, 0.0)
        if before.max() > COPY:
            correlation[index], place[index] = before.max(0)
    return place, correlation
