r"""Sparse jets: of all derivatives up to an order, the few that explain a filter best.

A filter is modelled by m atoms, :math:`h \sim \sum_k c_k \, \delta_x^{i_k} \delta_y^{j_k} T(\cdot; t_x) T(\cdot; t_y)`,
each a derivative at the scales of the filter, or the constant. Which of them is a number too, as the family of a filter
is, so that m atoms are m + 3 numbers. Atoms are chosen one after another, each as the one that explains most of what is
left (orthogonal least squares), then each is exchanged for the best beside the others.

References
----------
S. Chen, S. A. Billings, W. Luo, "Orthogonal least squares methods and their application to non-linear system
identification", International Journal of Control 50(5):1873-1896, 1989.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.fitting.losses.base import Solution
from scalekeys.fitting.prepare import Targets
from scalekeys.fitting.search.families import Best
from scalekeys.fitting.spec import FitSpec
from scalekeys.fitting.templates.grid import FamilyGrid, family_grid, widest
from scalekeys.scalespace import place_of, smallest_variance, variance_at

_NODES = 10  # of each scale on the grid
_STARTS = 2  # nodes of each filter from which scales are refined
_STEPS = 7  # halvings of the step between scales
_EXCHANGES = 4  # passes over the atoms at most
_DEPENDENT = 1e-7  # share of an atom's energy below which the others already hold it
_SINGULAR = 1e-10
_AT_ONCE = 512  # filters, each with the products of all atoms


def sparse_search(targets: Targets, spec: FitSpec) -> Best:
    """Find the scales at which the best few atoms of each filter explain most.

    Parameters
    ----------
    targets : Targets
        Filters whose centred norm is 1.
    spec : FitSpec
        Of a sparse model.
    """
    parts = [_scales(targets.select(rows), spec) for rows in _rows(targets)]
    coordinates = torch.cat([place for place, _ in parts])
    loss = torch.cat([value for _, value in parts])
    return Best(torch.zeros_like(loss, dtype=torch.long), coordinates, loss)


def sparse_solution(targets: Targets, coordinates: Float[Tensor, "filters parameters"], spec: FitSpec) -> Solution:
    """Choose the atoms of each filter at given scales, and solve for their coefficients."""
    parts = [_solved(targets.select(rows), coordinates[rows], spec) for rows in _rows(targets)]
    coefficients, offset, model = (torch.cat(values) for values in zip(*parts, strict=True))
    return Solution(coefficients, model, offset=offset)


def _rows(targets: Targets) -> list[Tensor]:
    return list(torch.arange(len(targets), device=targets.taps.device).split(_AT_ONCE))


@dataclass(frozen=True, eq=False)
class _Products:
    """Products of unit atoms with each other and with filters, in the sense of the criterion.

    Parameters
    ----------
    gram : Tensor, shape (filters, atoms, atoms)
    aims : Tensor, shape (filters, atoms)
    """

    gram: Float[Tensor, "filters atoms atoms"]
    aims: Float[Tensor, "filters atoms"]

    @classmethod
    def of(cls, atoms: Float[Tensor, "filters atoms taps"], targets: Targets) -> "_Products":
        """Multiply the atoms of each filter, or of all."""
        seen = atoms if targets.metric is None else atoms @ targets.metric
        gram, aims = seen @ atoms.mT, (seen @ targets.taps[..., None])[..., 0]
        return cls(gram.expand(len(targets), -1, -1), aims)


def _grid(size: tuple[int, ...], spec: FitSpec) -> FamilyGrid:
    family = spec.base(spec.families[0], len(size))
    assert family is not None
    return family_grid(family, size, spec.window)


def _atoms(coordinates: Tensor, spec: FitSpec, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the derivatives and the constant in units of their norms, (scales, atoms, taps), and these norms."""
    components = _grid(size, spec).plan(coordinates)
    atoms = torch.cat([components, torch.ones_like(components[:, :1])], dim=1)
    norm = torch.linalg.vector_norm(atoms, dim=-1, keepdim=True)
    norm = torch.where(norm > 0, norm, 1.0)
    return atoms / norm, norm[..., 0]


def _scales(targets: Targets, spec: FitSpec) -> tuple[Tensor, Tensor]:
    """Return scales, and minus the energy explained there: from the best nodes of a grid, by steps that are halved."""
    terms, axes = terms_of(spec), len(targets.size)
    bend = _grid(targets.size, spec).bend
    smallest = smallest_variance(spec.discretization)
    start, end = (t / (1 + t) for t in (smallest, widest(targets.size)))
    values = torch.linspace(start, end, _NODES, dtype=torch.float64).to(targets.taps)
    nodes = torch.cartesian_prod(*[values] * axes).reshape(-1, axes)
    atoms, _ = _atoms(_coordinates(nodes, bend), spec, targets.size)
    grid = [_chosen(_Products.of(mine[None], targets), terms)[1] for mine in atoms]
    index = torch.stack(grid, dim=-1).topk(_STARTS, dim=-1).indices
    several = targets.select(torch.arange(len(targets), device=index.device).repeat_interleave(_STARTS))

    def energy(place: Tensor) -> Tensor:
        mine, _ = _atoms(_coordinates(place, bend), spec, targets.size)
        return _chosen(_Products.of(mine, several), terms)[1]

    place, value = _climbed(nodes[index.flatten()], (start, end), energy)
    value, winner = value.view(-1, _STARTS).max(-1)
    rows = torch.arange(len(value), device=value.device)
    return _coordinates(place.view(-1, _STARTS, axes)[rows, winner], bend), -value


def _coordinates(place: Tensor, bend: float) -> Tensor:
    """Return search coordinates from ``t / (1 + t)``, in which even steps change a kernel about evenly."""
    return place_of(variance_at(place, 1.0), bend)


def _climbed(place: Tensor, ends: tuple[float, float], energy: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Move along each axis as long as that explains more, by steps that are halved; return where to, and what."""
    value, step = energy(place), 0.5 * (ends[1] - ends[0]) / (_NODES - 1)
    moves = torch.cat([torch.eye(place.shape[1]), -torch.eye(place.shape[1])]).to(place)
    for halved in range(_STEPS):
        for move in moves:
            moved = (place + move * step / 2**halved).clamp(*ends)
            new = energy(moved)
            better = new > value
            place, value = torch.where(better[:, None], moved, place), torch.where(better, new, value)
    return place, value


def terms_of(spec: FitSpec) -> int:
    """Return the number of atoms of a sparse model."""
    assert spec.terms is not None
    return spec.terms


class _Residual:
    """Products of what is left of atoms and of filters, once some atoms are taken."""

    def __init__(self, products: _Products) -> None:
        self.gram = products.gram.clone()
        self.aims = products.aims.clone()
        self.least = _DEPENDENT * self.gram.diagonal(dim1=1, dim2=2)
        self.energy = self.aims.new_zeros(len(self.aims))
        self._rows = torch.arange(len(self.aims), device=self.aims.device)

    def best(self) -> Int[Tensor, " filters"]:
        """Return for each filter the atom that explains most of what is left."""
        left = self.gram.diagonal(dim1=1, dim2=2)
        gain = torch.where(left > self.least, self.aims.square() / left, 0.0)
        return gain.argmax(-1)

    def take(self, atom: Int[Tensor, " filters"]) -> None:
        """Take an atom of each filter: make all others, and the filter, orthogonal to it."""
        rows = self._rows
        left = self.gram[rows, atom, atom]
        share = torch.where(left > self.least[rows, atom], 1 / left, 0.0)
        aim, column = self.aims[rows, atom], self.gram[rows, :, atom]
        self.energy += share * aim.square()
        weighted = share[:, None] * column
        self.aims -= weighted * aim[:, None]
        self.gram -= weighted[:, :, None] * column[:, None]


def _chosen(products: _Products, terms: int) -> tuple[Int[Tensor, "filters terms"], Float[Tensor, " filters"]]:
    """Choose atoms one after another; return which, and the energy that they explain together."""
    left = _Residual(products)
    atoms = []
    for _ in range(min(terms, products.aims.shape[1])):
        atoms.append(left.best())
        left.take(atoms[-1])
    return torch.stack(atoms, dim=-1), left.energy


def _exchanged(products: _Products, atoms: Int[Tensor, "filters terms"]) -> Int[Tensor, "filters terms"]:
    """Give up each atom in turn for the one that explains most of what the others leave."""
    atoms = atoms.clone()
    for place in range(atoms.shape[1]):
        left = _Residual(products)
        for other in range(atoms.shape[1]):
            if other != place:
                left.take(atoms[:, other])
        atoms[:, place] = left.best()
    return atoms


def _best_atoms(products: _Products, spec: FitSpec) -> Int[Tensor, "filters terms"]:
    """Choose atoms, then exchange them until that explains no more."""
    atoms, energy = _chosen(products, terms_of(spec))
    for _ in range(_EXCHANGES):
        exchanged = _exchanged(products, atoms)
        new = _energy(products, exchanged)
        better = new > energy
        if not bool(better.any()):
            break
        atoms, energy = torch.where(better[:, None], exchanged, atoms), torch.where(better, new, energy)
    return atoms


def _energy(products: _Products, atoms: Int[Tensor, "filters terms"]) -> Float[Tensor, " filters"]:
    """Return the energy that some atoms of each filter explain together."""
    left = _Residual(_of_atoms(products, atoms))
    for place in range(atoms.shape[1]):
        left.take(torch.full_like(atoms[:, 0], place))
    return left.energy


def _of_atoms(products: _Products, atoms: Int[Tensor, "filters terms"]) -> _Products:
    """Return the products of some atoms of each filter."""
    rows = torch.arange(len(atoms), device=atoms.device)[:, None]
    return _Products(products.gram[rows[..., None], atoms[:, :, None], atoms[:, None]], products.aims[rows, atoms])


def _solved(targets: Targets, coordinates: Tensor, spec: FitSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Return coefficients of the derivatives, the constant, and the model of each filter."""
    atoms, norms = _atoms(coordinates, spec, targets.size)
    products = _Products.of(atoms, targets)
    best = _best_atoms(products, spec)
    weights = torch.zeros_like(products.aims).scatter_add_(1, best, _least_squares(_of_atoms(products, best)))
    model = (weights[:, None] @ atoms)[:, 0]
    weights = weights / norms
    return weights[:, :-1], weights[:, -1], model


def _least_squares(products: _Products) -> Tensor:
    """Return the weights of all atoms together; one that depends on others gets nothing."""
    gram, aims = products.gram, products.aims
    scale = gram.diagonal(dim1=1, dim2=2).clamp(min=torch.finfo(gram.dtype).tiny).rsqrt()
    energies, modes = torch.linalg.eigh(scale[:, :, None] * gram * scale[:, None])
    inverse = torch.where(energies > _SINGULAR, 1 / energies, 0.0)
    weights: Tensor = modes @ (inverse[..., None] * (modes.mT @ (scale * aims)[..., None]))
    return scale * weights[..., 0]
