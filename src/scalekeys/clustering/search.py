r"""Search for keys in a sample: greedy seeds, Lloyd's iteration, and swaps that leave its local optima.

All restarts run at once, as one program of matrix products.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.clustering.lines import Moves, Rows, Solutions, Weights, moved, power_sums, squares

CANDIDATES = 4
"""Points tried for each new key; the one that explains most is taken."""
_FIRST_STEPS, _SWAP_STEPS, _LAST_STEPS, _TOLERANCE = 15, 3, 60, 1e-7
_AT_ONCE = 2**26  # scalar products in memory


def swaps_for(k: int) -> int:
    """Return how many swaps each restart tries; the docs measure what they are worth."""
    return max(16, 4 * k)


class Draws:
    """Random numbers of several restarts: each has its own stream, whichever others run beside it."""

    def __init__(self, seed: int, restarts: Sequence[int]) -> None:
        self._streams = [torch.Generator().manual_seed(1_000_003 * seed + restart) for restart in restarts]

    def __len__(self) -> int:
        return len(self._streams)

    def choose(self, chances: Float[Tensor, "restarts items"], count: int) -> Int[Tensor, "restarts count"]:
        """Draw items with their chances, with replacement."""
        uniform = torch.stack(
            [torch.rand(count, generator=s, dtype=torch.float64, device="cpu") for s in self._streams]
        )
        ladder = chances.to(torch.float64).cumsum(-1)
        aim = uniform.to(ladder.device) * ladder[:, -1:]
        return torch.searchsorted(ladder, aim, right=True).clamp(max=chances.shape[1] - 1)


def search(
    rows: Rows,
    weights: Weights,
    k: int,
    moves: Moves,
    *,
    seed: int,
    restarts: int,
    swaps: int | None = None,
    advance: Callable[[float], None] | None = None,
) -> tuple[Solutions, Float[Tensor, "solutions"]]:
    """Find keys from several starts.

    `rows`, `weights`: points, as unit vectors, and what they count.
    `moves`: the symmetries.
    `swaps`: how many swaps each restart tries.
    `advance`: called with the share of the work that was done since the last call.
    `keys`: shape (restarts, k, taps); best first.
    `explained`: shape (restarts,); share of the weighted energy that they explain.
    """
    weights = (weights / weights.sum()).to(rows.dtype)
    group = max(1, _AT_ONCE // (len(moves) * max(k, CANDIDATES) * len(rows)))
    rounds = swaps_for(k) if swaps is None else swaps
    keys, explained = [], []
    for first in range(0, restarts, group):
        members = range(first, min(first + group, restarts))
        draws = Draws(seed, members)
        found = _settled(rows, weights, _seeds(rows, weights, k, moves, draws), moves, _FIRST_STEPS)
        for _ in range(rounds):
            found = _swapped(rows, weights, *found, moves, draws)
            if advance is not None:
                advance(len(members) / restarts / rounds)
        found = _settled(rows, weights, found[0], moves, _LAST_STEPS)
        keys.append(found[0])
        explained.append(found[1])
    order = torch.cat(explained).argsort(descending=True, stable=True)
    return torch.cat(keys)[order], torch.cat(explained)[order]


def _seeds(rows: Rows, weights: Weights, k: int, moves: Moves, draws: Draws) -> Solutions:
    """Choose points as first keys, each where much is left, and the best of several: greedy k-means++ for lines."""
    explained = rows.new_zeros(1, len(rows))
    chosen = []
    for _ in range(k):
        point, explained = _best_candidate(rows, weights, explained, moves, draws)
        chosen.append(point)
    return torch.stack(chosen, dim=1)


def _best_candidate(
    rows: Rows, weights: Weights, explained: Float[Tensor, "_ points"], moves: Moves, draws: Draws
) -> tuple[Float[Tensor, "solutions taps"], Float[Tensor, "solutions points"]]:
    """Return a new key for each solution, drawn by what is left of each point, and what is explained with it."""
    left = (weights * (1 - explained)).clamp(min=0) + weights * 1e-9
    candidates = rows[draws.choose(left.expand(len(draws), -1), CANDIDATES)]
    better = torch.maximum(squares(rows, candidates, moves), explained[:, None])
    best = (better @ weights).argmax(-1)
    which = torch.arange(len(best), device=rows.device)
    return candidates[which, best], better[which, best]


def _settled(
    rows: Rows, weights: Weights, keys: Solutions, moves: Moves, steps: int
) -> tuple[Solutions, Float[Tensor, "solutions"]]:
    """Iterate until nothing is gained; return keys and what they explain."""
    before = None
    for _ in range(steps):
        sums, explained = power_sums(rows, weights, keys, moves)
        if before is not None and bool((explained - before <= _TOLERANCE).all()):
            return keys, explained
        keys, before = moved(keys, sums), explained
    return keys, squares(rows, keys, moves).amax(1) @ weights


def _swapped(
    rows: Rows,
    weights: Weights,
    keys: Solutions,
    explained: Float[Tensor, "solutions"],
    moves: Moves,
    draws: Draws,
) -> tuple[Solutions, Float[Tensor, "solutions"]]:
    """Give up one key of each solution for a new one, where that explains more after a few iterations.

    The chance to be given up falls with what the other keys could not take over.
    """
    energy = squares(rows, keys, moves)
    best = energy.amax(1)
    mine = energy >= best[:, None]
    second = torch.where(mine, 0.0, energy).amax(1)
    loss = (mine * (best - second)[:, None]) @ weights
    gone = draws.choose(1 / (loss + 1e-3 * loss.mean(-1, keepdim=True) + 1e-12), 1)[:, 0]
    which = torch.arange(len(keys), device=rows.device)
    new, _ = _best_candidate(rows, weights, torch.where(mine[which, gone], second, best), moves, draws)
    tried = keys.clone()
    tried[which, gone] = new
    for _ in range(_SWAP_STEPS):
        tried = moved(tried, power_sums(rows, weights, tried, moves)[0])
    reached = squares(rows, tried, moves).amax(1) @ weights
    gained = reached > explained + _TOLERANCE
    return torch.where(gained[:, None, None], tried, keys), torch.where(gained, reached, explained)
