r"""Lines through the origin: how well they explain points, and the two steps that improve them.

The objective is the share of energy that keys leave, :math:`\sum_i w_i (1 - \max_j \langle y_i, u_j \rangle^2)`, for
unit vectors :math:`y_i` and unit keys :math:`u_j`. All functions take several solutions at once: ``keys`` has shape
(solutions, keys, taps). With symmetries, every key stands for all its images.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Rows = Float[Tensor, "points taps"]
Weights = Float[Tensor, "points"]
Solutions = Float[Tensor, "solutions keys taps"]
Moves = Int[Tensor, "transforms taps"]


def images(keys: Solutions, moves: Moves) -> Float[Tensor, "solutions keys transforms taps"]:
    """Return every key under every symmetry."""
    return keys[..., moves]


def back(images: Float[Tensor, "*batch transforms taps"], moves: Moves) -> Float[Tensor, "*batch transforms taps"]:
    """Undo each symmetry on its own image."""
    return images.gather(-1, moves.argsort(-1).expand_as(images))


def scalar_products(rows: Rows, keys: Solutions, moves: Moves) -> Float[Tensor, "solutions keys transforms points"]:
    """Return the scalar products of all points with all images of all keys."""
    columns = images(keys, moves)
    return (columns.flatten(0, -2) @ rows.T).view(*columns.shape[:-1], -1)


def squares(rows: Rows, keys: Solutions, moves: Moves) -> Float[Tensor, "solutions keys points"]:
    """Return what the best image of each key explains of each point."""
    products = scalar_products(rows, keys, moves).square_()
    return products[:, :, 0] if len(moves) == 1 else products.amax(2)


def power_sums(
    rows: Rows, weights: Weights, keys: Solutions, moves: Moves
) -> tuple[Solutions, Float[Tensor, "solutions"]]:
    """Apply the scatter matrix of its points to each key: one step of the power method, which never explains less.

    `sums`: shape (solutions, keys, taps); zero for a key without points.
    `explained`: shape (solutions,); energy that the given keys explain.
    """
    products = scalar_products(rows, keys, moves)
    energy = products.square()
    best = energy.amax((1, 2))
    kept = torch.where(energy >= best[:, None, None], products, 0.0).mul_(weights)
    sums = back((kept.flatten(0, 2) @ rows).view(*products.shape[:-1], -1), moves).sum(2)
    return sums, best @ weights


def moved(keys: Solutions, sums: Solutions) -> Solutions:
    """Return keys along their sums; a key without points stays."""
    norm = torch.linalg.vector_norm(sums, dim=-1, keepdim=True)
    return torch.where(norm > 0, sums / torch.where(norm > 0, norm, 1.0), keys)


@dataclass(frozen=True, eq=False)
class Assignment:
    """Which key, and which image of it, is nearest to each point, and the scalar product with that image."""

    key: Int[Tensor, "points"]
    transform: Int[Tensor, "points"]
    product: Float[Tensor, "points"]


def assign(rows: Rows, keys: Float[Tensor, "keys taps"], moves: Moves) -> Assignment:
    """Assign each point to the key that explains most of it."""
    products = scalar_products(rows, keys[None], moves)[0].flatten(0, 1)
    best = products.abs().argmax(0)
    product = products.gather(0, best[None])[0]
    return Assignment(best // len(moves), best % len(moves), product)


def scatter(
    rows: Rows, weights: Weights, nearest: Assignment, count: int, moves: Moves
) -> Float[Tensor, "keys taps taps"]:
    """Return the weighted scatter matrix of the points of each key, each in the frame of its key."""
    if len(moves) > 1:
        rows = rows.gather(1, moves.argsort(-1)[nearest.transform])
    total = rows.new_zeros(count, rows.shape[1], rows.shape[1])
    for key in range(count):
        mine = nearest.key == key
        own = rows[mine]
        total[key] = (own * weights[mine, None]).T @ own
    return total
