"""Refinement of keys on all points: the search's iteration first, then exact leading eigenvectors."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.clustering.lines import Assignment, Solutions, assign, moved, power_sums, scatter
from scalekeys.clustering.points import Points

_POWER_PASSES, _EXACT_PASSES = 20, 40
_POWER_TOLERANCE, _EXACT_TOLERANCE = 1e-6, 1e-9
_EXPLAINED = 1 - 1e-6


def best_of(points: Points, keys: Solutions, advance: Callable[[float], None]) -> Float[Tensor, "keys taps"]:
    """Iterate over all points with several solutions, and return the keys of the one that explains most."""
    weights = (points.weights / points.weights.sum()).to(keys.dtype)
    before = None
    for _ in range(_POWER_PASSES):
        sums, explained = torch.zeros_like(keys, dtype=torch.float64), torch.zeros(len(keys), device=keys.device)
        explained = explained.to(torch.float64)
        for part, rows in points.passes():
            of_part = power_sums(rows, weights[part], keys, points.moves)
            sums, explained = sums + of_part[0], explained + of_part[1]
        advance(1 / _POWER_PASSES)
        if before is not None and bool((explained - before <= _POWER_TOLERANCE).all()):
            break
        keys, before = moved(keys, sums.to(keys.dtype)), explained
    return keys[explained.argmax()]


@dataclass(frozen=True, eq=False)
class _Pass:
    """What one pass over all points tells: a matrix for each key, the share explained, and the point with most left."""

    scatter: Float[Tensor, "keys taps taps"]
    explained: float
    worst: Float[Tensor, "taps"]
    left: float
    labels: Tensor


def refined(points: Points, keys: Float[Tensor, "keys taps"], advance: Callable[[float], None]) -> Tensor:
    """Alternate assignment and leading eigenvectors until nothing changes; return keys in float64.

    Scalar products are those of float32 until the last pass, which is in float64 throughout.
    """
    keys, before = keys.to(torch.float64), None
    for _ in range(_EXACT_PASSES):
        now = _pass(points, keys, torch.float32)
        keys = _leading(now, keys)
        advance(1 / _EXACT_PASSES)
        if before is not None and (
            bool((now.labels == before.labels).all()) or now.explained - before.explained <= _EXACT_TOLERANCE
        ):
            break
        before = now
    return _leading(_pass(points, keys, torch.float64), keys)


def _pass(points: Points, keys: Tensor, dtype: torch.dtype) -> _Pass:
    taps = keys.shape[1]
    total = torch.zeros(len(keys), taps, taps, dtype=torch.float64, device=keys.device)
    shares = points.weights / points.weights.sum()
    labels, explained, worst, most_left = [], 0.0, keys[0], -1.0
    for part, rows in points.passes(dtype):
        nearest = assign(rows, keys.to(dtype), points.moves)
        total += scatter(rows, shares[part].to(dtype), nearest, len(keys), points.moves)
        energy = nearest.product.to(torch.float64).square()
        explained += float(energy @ shares[part])
        labels.append((nearest.key * len(points.moves) + nearest.transform).to(torch.int32))
        left, which = (shares[part] * (1 - energy)).max(0)
        if float(left) > most_left and float(energy[which]) < _EXPLAINED:
            most_left, worst = float(left), rows[which].to(torch.float64)
    return _Pass(total, explained, worst, most_left, torch.cat(labels))


def _leading(now: _Pass, keys: Tensor) -> Tensor:
    """Return the leading eigenvector of each matrix; the first key without points moves to the point with most left."""
    values, vectors = torch.linalg.eigh(now.scatter)
    empty = values[:, -1] <= 0
    new = torch.where(empty[:, None], keys, vectors[..., -1])
    if bool(empty.any()) and now.left > 0:
        new[empty.nonzero()[0, 0]] = now.worst
    return new


def assigned(points: Points, keys: Float[Tensor, "keys taps"]) -> Assignment:
    """Assign all points in float64."""
    parts = [assign(rows, keys, points.moves) for _, rows in points.passes(torch.float64)]
    return Assignment(*(torch.cat([getattr(part, name) for part in parts]) for name in ("key", "transform", "product")))
