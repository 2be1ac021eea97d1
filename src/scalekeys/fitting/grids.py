"""The coarse search: templates on a grid of scales, and how much a refined search could gain on it."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from scalekeys.fitting.columns import Columns
from scalekeys.fitting.dense import Dense
from scalekeys.fitting.products import FamilyProducts
from scalekeys.fitting.separable import Separable
from scalekeys.scalespace import FAMILIES, Order, TemplatePlan, Window, template_plan

Norm: TypeAlias = Literal[1, 2]

ALPHA_MAX = 10.0
"""Largest strength of `sharpen`; beyond it the template is a pure Laplacian to within a percent."""

_STEP = 0.16  # radians between neighbouring nodes
_PROBES, _OTHERS = 192, 6
_REFINEMENT = 4
_MARGIN = 1.1
_RANK_TOLERANCE = 1e-9


def max_sigma(size: tuple[int, int]) -> float:
    """Return the largest scale that is searched: the longer side of the window, where a Gaussian looks flat."""
    return float(max(size))


def variance_nodes(count: int, maximum: float, bend: float = 1.0) -> Tensor:
    """Variances from 0 to `maximum`, even in ``t / (bend + t)``: about even in the angle between templates."""
    position = torch.linspace(0, maximum / (bend + maximum), count, dtype=torch.float64)
    return (bend * position / (1 - position)).clamp(max=maximum)


@dataclass(frozen=True, eq=False)
class Nodes:
    """Values of the two parameters of a family, whose pairs are the nodes of a grid.

    Parameters
    ----------
    first, second : Tensor, shape (values,)
    """

    first: Tensor
    second: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Number of values of the first and the second parameter."""
        return len(self.first), len(self.second)

    @cached_property
    def pairs(self) -> Tensor:
        """All pairs, shape (nodes, 2); the second parameter runs fastest."""
        return torch.cartesian_prod(self.first, self.second)

    @cached_property
    def neighbours(self) -> Tensor:
        """The nodes around each node and itself, by number, shape (nodes, 9); itself beyond an edge."""
        rows, cols = self.shape
        row, col = (torch.arange(n) for n in (rows, cols))
        steps = torch.arange(-1, 2)
        near_row, near_col = (row[:, None] + steps).clamp(0, rows - 1), (col[:, None] + steps).clamp(0, cols - 1)
        return (near_row[:, None, :, None] * cols + near_col[None, :, None, :]).reshape(rows * cols, 9)

    def at(self, position: Tensor) -> Tensor:
        """Return parameters at positions between the nodes, which are numbered from 0: shape (positions, 2)."""
        out = []
        for values, place in zip((self.first, self.second), position.double().unbind(-1), strict=True):
            logs = torch.log1p(values).to(place)
            place = place.clamp(0, len(logs) - 1)
            below = place.floor().long()
            above = (below + 1).clamp(max=len(logs) - 1)
            out.append(torch.expm1(torch.lerp(logs[below], logs[above], place - below)))
        return torch.stack(out, dim=-1)


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Templates of one family at the nodes of a grid.

    Parameters
    ----------
    nodes : Nodes
    atoms : Tensor, shape (taps, components * nodes), float32
        For angles: centred, orthonormal components, component by component. For distances: the templates themselves.
    reach : Tensor, shape (nodes,), float32
        How far the nodes may be from what lies between them. For angles, and filters of unit norm: how much the
        correlation (the energy, for several components) with any template in the cells around a node can exceed that
        of the best of their corners. For distances: the largest distance from a template to the nearest node.
    """

    nodes: Nodes
    atoms: Tensor
    reach: Tensor


class FamilyGrid:
    """A family on a window with a grid over its two parameters; built once (see :func:`family_grid`).

    Parameters
    ----------
    name : str
    size : (int, int)
    window : {"exact", "published"}
    common : bool
        Whether both axes share one scale; the grid then has one node in its second parameter.
    """

    def __init__(self, name: str, size: tuple[int, int], window: Window, common: bool) -> None:
        self.family, self.size = FAMILIES[name], size
        self._plan: TemplatePlan = template_plan(name, size, window, common=common)
        self.max_variance = max_sigma(size) ** 2
        self._single = common and not self.family.isotropic
        fine = self._spaced(0), torch.zeros(1, dtype=torch.float64) if self._single else self._spaced(1)
        self.fine_nodes = Nodes(*fine)
        self.nodes = Nodes(*(values[::_REFINEMENT] for values in fine))

    def in_fine_nodes(self, node: Tensor) -> Tensor:
        """Return the place on the finer grid of nodes of the coarse one, both in numbers of nodes: shape (nodes, 2)."""
        return node * _REFINEMENT

    @cached_property
    def columns(self) -> Columns:
        """The templates with the problems last."""
        return Columns.of([self._plan], self.max_variance)

    @staticmethod
    @lru_cache(maxsize=64)
    def joint_columns(grids: tuple["FamilyGrid", ...]) -> Columns:
        """Return the templates of several families that are outer products, with a scale for each axis."""
        return Columns.of([grid._plan for grid in grids], grids[0].max_variance)

    def plan(self, parameters: Tensor, order: Order = 0) -> Tensor:
        """Evaluate the family, see :class:`scalekeys.scalespace.TemplatePlan`.

        On a CPU the length of the recurrence follows the largest variance, on other devices that of the search: looking
        at a value there would wait for it.
        """
        return self._plan(parameters, None if parameters.device.type == "cpu" else self.max_variance, order)

    @cached_property
    def products(self) -> FamilyProducts:
        """The scalar products of the family."""
        return Dense(self.plan, self.size) if self.family.two_scales else Separable(self._plan, self.max_variance)

    @property
    def common(self) -> bool:
        """Whether both axes share one scale by choice; an isotropic family has one scale for both anyway."""
        return self._plan.common and not self.family.isotropic

    @property
    def upper(self) -> Tensor:
        """Largest parameters that are searched."""
        return torch.tensor([self._largest(0), 0.0 if self._single else self._largest(1)], dtype=torch.float64)

    def expanded(self, parameters: Tensor) -> Tensor:
        """Parameters of the family without a common scale: ``(t, t)`` for ``(t, unused)``."""
        if self.common:
            return parameters[:, :1].expand(-1, 2).clone()
        return parameters

    @cached_property
    def angles(self) -> Dictionary:
        """The dictionary for fits with free amplitude and offset."""
        # A smooth function exceeds its linear interpolation by at most 1/8 of its second derivative in units of cells.
        cells = _over_cells(self._bend(0), 1) + _over_cells(self._bend(1), 0)
        reach = _around_nodes(_MARGIN / 8 * cells, self.nodes.shape)
        return Dictionary(self.nodes, _atoms(self._bases(self.nodes)), reach)

    @cached_property
    def fine_angles(self) -> Dictionary:
        """The same on a finer grid, for objectives with kinks, whose valleys are narrow."""
        return Dictionary(
            self.fine_nodes, _atoms(self._bases(self.fine_nodes)), self.angles.reach.max() / _REFINEMENT**2
        )

    def distances(self, norm: Norm) -> Dictionary:
        """Return the dictionary for fits with a fixed amplitude, with distances in the l1 or the l2 norm."""
        return self._distances[norm]

    @cached_property
    def fine_distances(self) -> Dictionary:
        """The same on a finer grid with distances in the l1 norm, for objectives with kinks."""
        return Dictionary(self.fine_nodes, self._fine_templates.T.float(), torch.tensor(self._fine_distance(1)))

    @cached_property
    def _distances(self) -> dict[Norm, Dictionary]:
        atoms = self._templates(self.nodes)
        steps = self._fine_templates[:, None] - atoms[self._corners()]
        norms: tuple[Norm, Norm] = (1, 2)
        covers = {p: steps.norm(p=p, dim=-1).amin(-1).max().float() + self._fine_distance(p) for p in norms}
        return {p: Dictionary(self.nodes, atoms.T.float(), covers[p]) for p in norms}

    @cached_property
    def _fine_templates(self) -> Tensor:
        return self._templates(self.fine_nodes)

    def _fine_distance(self, norm: Norm) -> float:
        """Largest distance from a template to the nearest node of the finer grid: half a step along each axis."""
        grid = self._fine_templates.unflatten(0, self.fine_nodes.shape)
        steps = [grid.diff(dim=axis).norm(p=norm, dim=-1) for axis in (0, 1)]
        return sum(float(step.max()) / 2 for step in steps if step.numel())

    def _largest(self, axis: int) -> float:
        return ALPHA_MAX if axis == 1 and self.family.has_alpha else self.max_variance

    def _spaced(self, axis: int) -> Tensor:
        """Return values of one parameter from zero to the largest; every fourth is about an angle of one step apart."""
        probes = variance_nodes(_PROBES, self._largest(axis), self._largest(axis) ** 0.5)
        others = variance_nodes(_OTHERS, self._largest(1 - axis))
        pairs = Nodes(probes, others) if axis == 0 else Nodes(others, probes)
        bases = self._bases(pairs).unflatten(0, pairs.shape).movedim(axis, 0)
        steps = torch.stack([_angles(a, b) for a, b in pairwise(bases)]).amax(-1)
        length = torch.nn.functional.pad(steps.cumsum(0), (1, 0))
        if float(length[-1]) < _RANK_TOLERANCE:  # this parameter changes nothing
            return torch.zeros(1, dtype=torch.float64)
        cells = max(1, round(float(length[-1]) / (_STEP * len(self.family.components) ** 0.5)))
        wanted = torch.linspace(0, float(length[-1]), 1 + cells * _REFINEMENT, dtype=torch.float64)
        right = torch.searchsorted(length, wanted).clamp(1, len(length) - 1)
        share = ((wanted - length[right - 1]) / (length[right] - length[right - 1])).clamp(0.0, 1.0)
        values = probes[right - 1] + share * (probes[right] - probes[right - 1])
        values[0], values[-1] = 0.0, self._largest(axis)
        return values

    def _bend(self, axis: int) -> Tensor:
        """Largest second derivative along one parameter, in units of cells, that a correlation (energy) can have.

        Shape (cells, nodes) along the axis and the other one, in the order of the parameters.
        """
        fine, coarse = self.fine_nodes, self.nodes
        nodes = Nodes(fine.first, coarse.second) if axis == 0 else Nodes(coarse.first, fine.second)
        cells = coarse.shape[axis] - 1
        if cells == 0:
            return torch.zeros(1, coarse.shape[1 - axis]).movedim(0, axis)
        bases = self._bases(nodes).unflatten(0, nodes.shape).movedim(axis, 0)
        bends = torch.stack([_second_difference(*bases[i - 1 : i + 2]) for i in range(1, len(bases) - 1)])
        bends = torch.nn.functional.pad(bends, (0, 0, 1, 0)).unflatten(0, (cells, _REFINEMENT))
        # The step of the finer grid changes at a node, where a difference of second order says nothing.
        largest: Tensor = bends[:, 1:].amax(1).movedim(0, axis).float() * _REFINEMENT**2
        return largest

    def _templates(self, nodes: Nodes) -> Tensor:
        """Templates of a family of one component at every pair of nodes: shape (pairs, taps)."""
        return self.plan(nodes.pairs)[:, 0, 0].flatten(1)

    def _bases(self, nodes: Nodes) -> Tensor:
        """Orthonormal bases of the centred components at every pair of nodes: shape (pairs, taps, components)."""
        components = self.plan(nodes.pairs)[:, 0].flatten(2).transpose(-1, -2)
        components = components - components.mean(-2, keepdim=True)
        components = components / components.norm(dim=-2, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        if components.shape[-1] == 1:
            only: Tensor = components
            return only
        energies, mixtures = torch.linalg.eigh(components.mT @ components)
        kept = energies > _RANK_TOLERANCE * energies[:, -1:]
        scale = torch.where(kept, energies.clamp(min=torch.finfo(torch.float64).tiny).rsqrt(), 0.0)
        bases: Tensor = components @ (mixtures * scale[:, None])
        return bases

    def _corners(self) -> Tensor:
        """Nodes around each point of the finer grid, by flat index: shape (finer pairs, 4)."""
        low, high = zip(*(_neighbours(count) for count in self.nodes.shape), strict=True)
        sides = [torch.stack(pair, dim=-1) for pair in zip(low, high, strict=True)]
        first, second = torch.meshgrid(*(torch.arange(len(side)) for side in sides), indexing="ij")
        a, b = sides[0][first.flatten()], sides[1][second.flatten()]
        return (a[:, :, None] * self.nodes.shape[1] + b[:, None, :]).flatten(1)


@lru_cache(maxsize=256)
def family_grid(name: str, size: tuple[int, int], window: Window, common: bool = False) -> FamilyGrid:
    """Return the grid of a family on a window; built once for each combination."""
    return FamilyGrid(name, size, window, common)


@lru_cache(maxsize=64)
def joined_atoms(grids: tuple[FamilyGrid, ...]) -> Tensor:
    """Return the atoms for angles of several families side by side, for one product with all of them."""
    return torch.cat([grid.angles.atoms for grid in grids], dim=1)


def _atoms(bases: Tensor) -> Tensor:
    """Lay bases, shape (nodes, taps, components), side by side: shape (taps, components * nodes)."""
    return bases.permute(1, 2, 0).flatten(1).float()


def _angles(first: Tensor, second: Tensor) -> Tensor:
    """Angle between subspaces (root of the summed squared sines), given orthonormal bases (..., taps, components)."""
    shared = (first.mT @ second).square().sum((-2, -1))
    rank = torch.maximum(first.square().sum((-2, -1)), second.square().sum((-2, -1)))
    return (rank - shared).clamp(min=0.0).sqrt()


def _second_difference(before: Tensor, here: Tensor, after: Tensor) -> Tensor:
    """Norm of the second difference of unit vectors (with the signs that fit) or of projectors, given their bases."""
    if here.shape[-1] == 1:
        before, after = (side * torch.sign((side * here).sum(-2, keepdim=True)) for side in (before, after))
        length: Tensor = torch.linalg.vector_norm(before - 2 * here + after, dim=(-2, -1))
        return length
    bases, weights = (before, here, after), (1.0, -2.0, 1.0)
    total = torch.zeros(here.shape[:-2], dtype=here.dtype)
    for a, wa in zip(bases, weights, strict=True):
        for b, wb in zip(bases, weights, strict=True):
            total += wa * wb * (a.mT @ b).square().sum((-2, -1))
    return total.clamp(min=0.0).sqrt()


def _over_cells(edges: Tensor, axis: int) -> Tensor:
    """Return the larger of the values at both sides of each cell along an axis."""
    count = edges.shape[axis]
    if count == 1:
        return edges
    return torch.maximum(edges.narrow(axis, 0, count - 1), edges.narrow(axis, 1, count - 1))


def _around_nodes(cells: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the largest value of the cells within two steps of each node, as far as a climb may lead: (nodes,)."""
    for axis, count in enumerate(shape):
        if cells.shape[axis] < count:  # from cells to nodes
            padded = torch.nn.functional.pad(cells.movedim(axis, 0), (0, 0, 2, 2), value=0.0)
            cells = torch.stack([padded[i : i + count] for i in range(4)]).amax(0).movedim(0, axis)
    return cells.flatten()


def _neighbours(count: int) -> tuple[Tensor, Tensor]:
    """Nodes below and above each value of the finer grid over `count` nodes."""
    below = torch.arange((count - 1) * _REFINEMENT + 1) // _REFINEMENT
    return below, (below + 1).clamp(max=count - 1)
