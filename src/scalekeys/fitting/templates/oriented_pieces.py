"""Pieces in which oriented receptive fields are smooth functions of coordinates of their own.

Fields bend where the mixed variance changes its sign, and their search coordinates where the angle passes a multiple of
45 degrees.
"""

from abc import ABC, abstractmethod
from math import pi

import torch
from torch import Tensor

from scalekeys.scalespace.oriented_derivatives import variance_tables
from scalekeys.scalespace.parametrizations import variance_at
from scalekeys.scalespace.second_order import outer

_SECTORS = 4
_SECTOR = pi / _SECTORS
_NEAR = 0.15

Neighbours = list[tuple[Tensor, Tensor, Tensor]]
"""For each kind of edge: numbers of the problems that stand near one, their coordinates beyond, and the piece there."""


class Pieces(ABC):
    """The pieces of one family; coordinates have shape (3, n), and pieces are numbers of shape (n,).

    `bend`: of the search coordinates.
    """

    def __init__(self, bend: float) -> None:
        self.bend = bend

    @abstractmethod
    def enter(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coordinates of a piece, and the piece, of search coordinates."""

    @abstractmethod
    def leave(self, local: Tensor, piece: Tensor) -> Tensor:
        """Return the search coordinates of those of a piece."""

    @abstractmethod
    def bounds(self, piece: Tensor, largest: float) -> tuple[Tensor, Tensor]:
        """Return the ends of pieces, both of shape (3, n), given that of the mean variance."""

    @abstractmethod
    def tables(self, local: Tensor, piece: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return tables of the variances along x, y and the diagonal, and the sign of the mixed variance, (n,)."""

    @abstractmethod
    def neighbours(self, local: Tensor, piece: Tensor) -> Neighbours:
        """Return what stands near edges to other pieces, reflected at them."""

    @abstractmethod
    def distinctive(self, local: Tensor, piece: Tensor) -> Tensor:
        """Return numbers that are near for fields that are alike, shape (numbers, n)."""


class _PiecesOfSmoothing(Pieces):
    """Two pieces by the sign of the mixed variance, in which round fields are nothing special.

    With the mean variance m, the coordinates are its place, r and q of the variances ``m (1 - q) (1 + r)`` along x,
    ``m (1 - q) (1 - r)`` along y, and ``m q`` along the diagonal.
    """

    def enter(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        place, eccentricity, angle = coordinates
        cos, sin = torch.cos(2 * angle), torch.sin(2 * angle)
        slant = cos.abs() + sin.abs()
        q = (eccentricity * sin / slant).abs()
        r = eccentricity * cos / slant / (1 - q).clamp(min=1e-9)
        return torch.stack([place, r.clamp(-1.0, 1.0), q]), (eccentricity * sin < 0).long()

    def leave(self, local: Tensor, piece: Tensor) -> Tensor:
        place, r, q = local
        along = (1 - q) * r
        angle = torch.atan2(torch.where(piece == 1, -q, q), along) / 2
        return torch.stack([place, (along.abs() + q).clamp(max=1.0), torch.where(angle < 0, angle + pi, angle)])

    def bounds(self, piece: Tensor, largest: float) -> tuple[Tensor, Tensor]:
        low, high = torch.tensor([[0.0, -1.0, 0.0], [largest, 1.0, 1.0]], dtype=torch.float64, device=piece.device)
        return low[:, None].repeat(1, len(piece)), high[:, None].repeat(1, len(piece))

    def tables(self, local: Tensor, piece: Tensor) -> tuple[list[Tensor], Tensor]:
        u, r, q = local
        rest, one, zero = 1 - u, torch.ones_like(u), torch.zeros_like(u)
        mean = torch.stack([variance_at(u, self.bend), self.bend / rest**2, 2 * self.bend / rest**3])
        straight = torch.stack([1 - q, -one, zero])
        return [
            outer([mean, torch.stack([1 + r, one, zero]), straight]),
            outer([mean, torch.stack([1 - r, -one, zero]), straight]),
            outer([mean, torch.stack([one, zero, zero]), torch.stack([q, one, zero])]),
        ], torch.where(piece == 1, -1.0, 1.0).to(local)

    def neighbours(self, local: Tensor, piece: Tensor) -> Neighbours:
        at = torch.arange(len(piece), device=piece.device)
        return [(at, local, 1 - piece)]

    def distinctive(self, local: Tensor, piece: Tensor) -> Tensor:
        place, r, q = local
        return torch.stack([place, (1 - q) * r, torch.where(piece == 1, -q, q)])


class _PiecesOfDerivatives(Pieces):
    """Pieces by the sector of the angle, of 45 degrees, and by whether a field is longer along its angle.

    Their coordinates are those of the search, and their numbers twice that of the sector, and 1 more for long fields.
    """

    def enter(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        sector = (coordinates[2] / _SECTOR).long().clamp(0, _SECTORS - 1)
        return coordinates, 2 * sector + (coordinates[1] >= 0)

    def leave(self, local: Tensor, piece: Tensor) -> Tensor:  # noqa: ARG002
        return local

    def bounds(self, piece: Tensor, largest: float) -> tuple[Tensor, Tensor]:
        sector, long = (piece // 2).double(), (piece % 2).double()
        zero = torch.zeros_like(long)
        return (
            torch.stack([zero, long - 1, sector * _SECTOR]),
            torch.stack([zero + largest, long, (sector + 1) * _SECTOR]),
        )

    def tables(self, local: Tensor, piece: Tensor) -> tuple[list[Tensor], Tensor]:
        sector = piece // 2
        outermost = (sector == 0) | (sector == _SECTORS - 1)
        signs = torch.stack([outermost, sector < _SECTORS // 2, piece % 2 == 1]).to(local) * 2 - 1
        return variance_tables(local, signs, self.bend), signs[1] * signs[2]

    def neighbours(self, local: Tensor, piece: Tensor) -> Neighbours:
        sector = piece // 2
        inside = local[2] - sector.to(local) * _SECTOR
        before = inside < _NEAR
        at = (before | (inside > _SECTOR - _NEAR)).nonzero()[:, 0]
        other = (sector[at] + torch.where(before[at], -1, 1)) % _SECTORS
        turned = local[:, at].clone()
        turned[2] = (other.to(local) + 1) * _SECTOR - inside[at]
        round_ = (local[1].abs() < _NEAR).nonzero()[:, 0]
        swapped = local[:, round_].clone()
        swapped[1] = -swapped[1]
        return [(at, turned, 2 * other + piece[at] % 2), (round_, swapped, piece[round_] ^ 1)]

    def distinctive(self, local: Tensor, piece: Tensor) -> Tensor:  # noqa: ARG002
        place, eccentricity, angle = local
        return torch.stack([place, eccentricity, torch.cos(2 * angle), torch.sin(2 * angle)])


def pieces_of(order: int, bend: float) -> Pieces:
    """Return the pieces of a family, by the order of differentiation along its angle."""
    return _PiecesOfDerivatives(bend) if order else _PiecesOfSmoothing(bend)
