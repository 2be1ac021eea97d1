r"""Sparse jets: of all derivatives up to an order, the few that explain a filter best.

A filter is modelled by m atoms and an offset,
:math:`h \sim b + \sum_k c_k \, \delta_x^{i_k} \delta_y^{j_k} T(\cdot; t_x) T(\cdot; t_y)`, each atom a derivative at
the scales of the filter. Which of them is a number too, as the family of a filter is, so that m atoms are m + 4 numbers
on two axes. Atoms are chosen one after another, each as the one that explains most of what is left (orthogonal least
squares), then single ones are exchanged, each time those two whose exchange gains most.

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
from scalekeys.fitting.templates.whole import orthogonal_to_constants
from scalekeys.scalespace import place_of, smallest_variance, variance_at

_NODES = 10  # of each scale on the grid
_STARTS = 2  # nodes of each filter from which scales are refined
_STEPS = 7  # halvings of the step between scales
_ON_THE_WAY = 1  # exchanges of atoms while scales are searched
_EXCHANGES = 30  # exchanges of atoms at the end, at most
_DEPENDENT = 1e-7  # share of an atom's energy below which the others already hold it
_SINGULAR = 1e-10
_AT_ONCE = 512  # filters, each with the products of all atoms


def sparse_search(targets: Targets, spec: FitSpec) -> Best:
    """Find the scales at which the best few atoms of each filter explain most.

    `targets`: filters whose centred norm is 1.
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
    """Products of unit atoms with each other and with filters, in the sense of the criterion."""

    gram: Float[Tensor, "filters atoms atoms"]
    aims: Float[Tensor, "filters atoms"]

    @classmethod
    def of(cls, atoms: Float[Tensor, "filters atoms taps"], targets: Targets) -> "_Products":
        """Multiply the atoms of each filter, or of all, less what a constant holds of them."""
        if targets.metric is None:
            gram, aims = atoms @ atoms.mT, (atoms @ targets.centred[..., None])[..., 0]
            return cls(gram.expand(len(targets), -1, -1), aims)
        seen = atoms @ targets.metric
        ones, total = seen.sum(-1), targets.metric.sum((-2, -1))
        aim = orthogonal_to_constants(targets.centred[:, None], targets.metric)
        gram = seen @ atoms.mT - ones[..., None] * ones[..., None, :] / total[:, None, None]
        return cls(gram, (seen @ aim.mT)[..., 0])


def _grid(size: tuple[int, ...], spec: FitSpec) -> FamilyGrid:
    family = spec.base(spec.families[0], len(size))
    assert family is not None
    return family_grid(family, size, spec.window)


def _atoms(coordinates: Tensor, spec: FitSpec, size: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the centred derivatives in units of their norms, (scales, atoms, taps), these norms, and their means."""
    components = _grid(size, spec).plan(coordinates)
    mean = components.mean(-1, keepdim=True)
    norm = torch.linalg.vector_norm(components - mean, dim=-1, keepdim=True)
    norm = torch.where(norm > 0, norm, 1.0)
    return (components - mean) / norm, norm[..., 0], mean[..., 0]


def _scales(targets: Targets, spec: FitSpec) -> tuple[Tensor, Tensor]:
    """Return scales, and minus the energy explained there: from the best nodes of a grid, by steps that are halved."""
    assert spec.terms is not None
    terms, axes = spec.terms, len(targets.size)
    bend = _grid(targets.size, spec).bend
    smallest = smallest_variance(spec.discretization)
    start, end = (t / (1 + t) for t in (smallest, widest(targets.size)))
    values = torch.linspace(start, end, _NODES, dtype=torch.float64).to(targets.taps)
    nodes = torch.cartesian_prod(*[values] * axes).reshape(-1, axes)
    atoms = _atoms(_coordinates(nodes, bend), spec, targets.size)[0]
    grid = [_best_atoms(_Products.of(mine[None], targets), terms, _ON_THE_WAY)[1] for mine in atoms]
    index = torch.stack(grid, dim=-1).topk(_STARTS, dim=-1).indices
    several = targets.select(torch.arange(len(targets), device=index.device).repeat_interleave(_STARTS))

    def energy(place: Tensor) -> Tensor:
        mine = _atoms(_coordinates(place, bend), spec, targets.size)[0]
        return _best_atoms(_Products.of(mine, several), terms, _ON_THE_WAY)[1]

    place, value = _climbed(nodes[index.flatten()], (start, end), energy)
    value, winner = value.view(-1, _STARTS).max(-1)
    rows = torch.arange(len(value), device=value.device)
    return _coordinates(place.view(-1, _STARTS, axes)[rows, winner], bend), -value


def _coordinates(place: Tensor, bend: float) -> Tensor:
    """Return search coordinates from ``t / (1 + t)``, in which even steps change a kernel about evenly."""
    return place_of(variance_at(place, 1.0), bend)


def _climbed(place: Tensor, ends: tuple[float, float], energy: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Move by steps that are halved as long as that explains more; return where to, and what.

    All axes are tried from the same place, and those that gain by themselves also together, so that the order of the
    axes does not matter.
    """
    value, axes = energy(place), torch.eye(place.shape[1]).to(place)
    step = 0.5 * (ends[1] - ends[0]) / (_NODES - 1)
    for halved in range(_STEPS):
        length = step / 2**halved
        best, most, together = place, value, place
        for axis in axes:
            own, gain = torch.zeros_like(place), value
            for move in (axis, -axis):
                moved = (place + length * move).clamp(*ends)
                new = energy(moved)
                own, gain = torch.where((new > gain)[:, None], moved - place, own), torch.maximum(new, gain)
            best, most = torch.where((gain > most)[:, None], place + own, best), torch.maximum(gain, most)
            together = together + own
        if len(axes) > 1:
            new = energy(together)
            best, most = torch.where((new > most)[:, None], together, best), torch.maximum(new, most)
        place, value = best, most
    return place, value


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

    def where(self, mask: Tensor, other: "_Residual") -> "_Residual":
        """Return this for the filters of the mask, and the other for the rest."""
        for name in ("gram", "aims", "energy"):
            mine, others = getattr(self, name), getattr(other, name)
            setattr(self, name, torch.where(mask.reshape(-1, *(1,) * (mine.ndim - 1)), mine, others))
        return self


def _best_atoms(
    products: _Products, terms: int, exchanges: int
) -> tuple[Int[Tensor, "filters terms"], Float[Tensor, " filters"]]:
    """Choose atoms one after another, then exchange single ones; return which, and the energy they explain together."""
    left = _Residual(products)
    chosen = []
    for _ in range(min(terms, products.aims.shape[1])):
        chosen.append(left.best())
        left.take(chosen[-1])
    atoms = torch.stack(chosen, dim=-1)
    for _ in range(exchanges):
        exchanged = _exchanged(products, atoms, left)
        new = _Residual(products)
        for atom in exchanged.unbind(-1):
            new.take(atom)
        better = new.energy > left.energy
        if not bool(better.any()):
            break
        atoms, left = torch.where(better[:, None], exchanged, atoms), new.where(better, left)
    return atoms, left.energy


def _exchanged(
    products: _Products, atoms: Int[Tensor, "filters terms"], left: _Residual
) -> Int[Tensor, "filters terms"]:
    """Exchange the atom whose exchange for another gains most, given what all of them leave.

    With the inverse B of the products of the atoms, atom k adds ``(B aims)_k^2 / B_kk`` to what the others explain, and
    its part that is orthogonal to them has the products ``(G B)_ik / B_kk`` with atom i.
    """
    taken = _of_atoms(products, atoms)
    ridge = _SINGULAR * torch.eye(atoms.shape[1]).to(taken.gram)
    inverse = torch.linalg.inv(taken.gram + ridge * taken.gram.diagonal(dim1=1, dim2=2)[:, None])
    own = inverse.diagonal(dim1=1, dim2=2)[:, None]
    part = products.gram.gather(2, atoms[:, None].expand(-1, products.gram.shape[1], -1)) @ inverse
    share = taken.aims[:, None] @ inverse
    without = left.gram.diagonal(dim1=1, dim2=2)[..., None] + part.square() / own
    gain = torch.where(
        without > left.least[..., None], (left.aims[..., None] + part * share / own).square() / without, 0.0
    )
    net = (gain - share.square() / own).flatten(1)
    best = net.argmax(-1, keepdim=True)
    return atoms.scatter(1, best % atoms.shape[1], best // atoms.shape[1])


def _of_atoms(products: _Products, atoms: Int[Tensor, "filters terms"]) -> _Products:
    """Return the products of some atoms of each filter."""
    rows = torch.arange(len(atoms), device=atoms.device)[:, None]
    return _Products(products.gram[rows[..., None], atoms[:, :, None], atoms[:, None]], products.aims[rows, atoms])


def _solved(targets: Targets, coordinates: Tensor, spec: FitSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Return coefficients of the derivatives, the constant, and the model of each filter."""
    atoms, norms, means = _atoms(coordinates, spec, targets.size)
    products = _Products.of(atoms, targets)
    assert spec.terms is not None
    best, _ = _best_atoms(products, spec.terms, _EXCHANGES)
    weights = torch.zeros_like(products.aims).scatter_add_(1, best, _least_squares(_of_atoms(products, best)))
    model = (weights[:, None] @ atoms)[:, 0]
    constant = targets.means
    if targets.metric is not None:
        ones = targets.metric.sum(-1)
        constant = constant + ((targets.centred - model) * ones).sum(-1) / ones.sum(-1)
    weights = weights / norms
    return weights, constant - (weights * means).sum(-1), model + constant[:, None]


def _least_squares(products: _Products) -> Tensor:
    """Return the weights of all atoms together; one that depends on others gets nothing."""
    gram, aims = products.gram, products.aims
    scale = gram.diagonal(dim1=1, dim2=2).clamp(min=torch.finfo(gram.dtype).tiny).rsqrt()
    energies, modes = torch.linalg.eigh(scale[:, :, None] * gram * scale[:, None])
    inverse = torch.where(energies > _SINGULAR, 1 / energies, 0.0)
    weights: Tensor = modes @ (inverse[..., None] * (modes.mT @ (scale * aims)[..., None]))
    return scale * weights[..., 0]
