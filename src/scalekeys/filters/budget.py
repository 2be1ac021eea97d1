"""Allocation of numbers: the choice of a model for each filter, within a budget."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.errors import FilterError
from scalekeys.filters.replacement import KEEP, Replacement, taps_of
from scalekeys.threads import one_thread

_HALVINGS = 60


def within_budget(
    candidates: Sequence[Replacement], losses: Sequence[Float[Tensor, " filters"]], budget: int
) -> Replacement:
    r"""Choose a model for each filter, or keep it, so that the losses are small and the numbers within a budget.

    `candidates`: of the same bank; a candidate does not apply to filters that it keeps.
    `losses`: of shape (filters,); the loss of each candidate for each filter; a filter that is kept has no loss.
    `budget`: total number of numbers.
    Raises FilterError if even the fewest numbers are more than the budget.

    Among all choices with as many numbers, the one that minimises :math:`\sum loss + \lambda \sum numbers` has the
    smallest loss (Everett's theorem), and it can be made for each filter separately. Lambda is found by bisection, as
    the smallest value that keeps the budget. A remainder of the budget, smaller than the numbers of one filter, is not
    used.

    H. Everett, "Generalized Lagrange multiplier method for solving problems of optimum allocation of resources",
    Operations Research 11(3):399-417, 1963.

    >>> import scalekeys as sk
    >>> few, many = (sk.replacement(sk.fit(sk.master_keys(), name)) for name in ("sparse2", "jet2"))
    >>> left = [(1 - one.r2) for one in (few, many)]
    >>> within_budget([few, many], left, 60)
    Replacement(8 of 8 filters, 60 numbers for 392 taps)
    """
    bank = candidates[0].bank
    taps = taps_of(bank)
    numbers = torch.stack([*(torch.where(one.replaced, one.numbers, taps) for one in candidates), taps])
    cost = [torch.where(one.replaced, loss.double().cpu(), 0.0) for one, loss in zip(candidates, losses, strict=True)]
    choice = _cheapest(torch.stack([*cost, torch.zeros_like(cost[0])]), numbers, budget)
    return _joined(candidates, choice)


@one_thread()
def _cheapest(cost: Tensor, numbers: Tensor, budget: int) -> Int[Tensor, " filters"]:
    """Return the best choice for each filter under the price of a number that keeps to the budget."""
    fewest = int(numbers.amin(0).sum())
    if fewest > budget:
        raise FilterError(f"a budget of {budget} numbers is less than the {fewest} that these models need; raise it")

    def chosen(price: float) -> Tensor:
        return (cost + price * numbers).argmin(0)

    def total(choice: Tensor) -> int:
        return int(numbers.gather(0, choice[None]).sum())

    least = chosen(0.0)
    if total(least) <= budget:
        return least
    low, high = 0.0, 1.0
    while total(chosen(high)) > budget:
        low, high = high, 4 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if total(chosen(middle)) > budget else (low, middle)
    return chosen(high)


def _joined(candidates: Sequence[Replacement], choice: Tensor) -> Replacement:
    """Take each filter from the candidate chosen for it; the last choice is to keep it."""
    bank = candidates[0].bank
    taps = taps_of(bank)
    stacks = []
    for index, (layer, part) in enumerate(bank.parts()):
        mine = choice[part].to(layer.kernels.device)
        several = torch.stack([*(one.filters.layers[index].kernels for one in candidates), layer.kernels])
        stacks.append(several[mine, torch.arange(len(layer), device=mine.device)])
    kept = np.full(len(bank), KEEP, dtype=object)
    rows = np.arange(len(bank))
    ones = torch.ones(len(bank), dtype=torch.float64)
    return Replacement(
        bank=bank,
        filters=bank.with_filters(stacks),
        model=np.stack([*(one.model.astype(object) for one in candidates), kept])[choice.numpy(), rows].astype(str),
        numbers=torch.stack([*(one.numbers for one in candidates), taps])[choice, torch.from_numpy(rows)],
        r2=torch.stack([*(one.r2 for one in candidates), ones])[choice, torch.from_numpy(rows)],
    )
