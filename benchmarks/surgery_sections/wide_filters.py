"""The filters of a network that are larger than 3x3, what models give in their place, and the network with these."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

import scalekeys as sk
from scalekeys.filters import KEEP, FilterBank, Replacement
from scalekeys.fitting import Fit
from surgery_sections.approximations import Approximation, r2_of


@dataclass(frozen=True, eq=False)
class Learned:
    """The filters of a network, and the fits to them, which are kept."""

    network: nn.Module
    _fits: dict[str, Fit] = field(default_factory=dict)

    @cached_property
    def bank(self) -> FilterBank:
        return sk.extract(self.network)

    def fit(self, model: str) -> Fit:
        if model not in self._fits:
            self._fits[model] = sk.fit(self.bank, model)
        return self._fits[model]

    @cached_property
    def groups(self) -> list["Group"]:
        """The filters of each side above 3 that vary and are not negligible."""
        found: dict[int, list[Tensor]] = {}
        for layer, part in self.bank.parts():
            varies = layer.kernels.flatten(1).amax(1) > layer.kernels.flatten(1).amin(1)
            usable = (varies & ~self.bank.negligible[part]).nonzero()[:, 0] + part.start
            if layer.size[0] > 3:
                found.setdefault(layer.size[0], []).append(usable)
        return [Group(self, side, torch.cat(rows)) for side, rows in sorted(found.items())]


@dataclass(frozen=True, eq=False)
class Group:
    """Filters of one side: their rows in the bank, and their taps."""

    learned: Learned
    side: int
    rows: Tensor

    @cached_property
    def filters(self) -> Tensor:
        return self.of(self.learned.bank)

    def of(self, bank: FilterBank) -> Tensor:
        """Return these rows of a bank with the same layers: (filters, taps), float64."""
        flat = [layer.kernels.flatten(1).double() for layer in bank.layers if layer.size[0] == self.side]
        own = [torch.arange(part.start, part.stop) for layer, part in bank.parts() if layer.size[0] == self.side]
        return torch.cat(flat)[torch.isin(torch.cat(own), self.rows)]


def replacement(learned: Learned, made: Mapping[int, Approximation], name: str) -> Replacement:
    """Put approximations, by the side of the filters, in the place of the filters; those of 3x3 stay."""
    bank = learned.bank
    stacks = [layer.kernels.clone() for layer in bank]
    model = np.full(len(bank), KEEP, dtype=object)
    numbers, r2 = torch.zeros(len(bank), dtype=torch.long), torch.ones(len(bank), dtype=torch.float64)
    for group in learned.groups:
        one = made[group.side]
        model[group.rows.numpy()] = name
        numbers[group.rows], r2[group.rows] = one.numbers, r2_of(group.filters, one.filters)
        for (_, part), stack in zip(bank.parts(), stacks, strict=True):
            inside = (group.rows >= part.start) & (group.rows < part.stop)
            if inside.any():
                kernels = one.filters[inside].view(-1, group.side, group.side)
                stack[group.rows[inside] - part.start] = kernels.to(stack)
    return Replacement(bank, bank.with_filters(stacks), model, numbers, r2)
