"""The coarse search: templates on a grid of scales, and how much a refined search could gain on it."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from math import prod
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from scalekeys.fitting.templates.axis_profiles import has_limit
from scalekeys.fitting.templates.folded import FoldedFamily
from scalekeys.fitting.templates.oriented import OrientedFamily
from scalekeys.fitting.templates.products import FamilyProducts
from scalekeys.fitting.templates.whole import WholeFamily
from scalekeys.scalespace import (
    INFINITE,
    AxisScales,
    Family,
    TemplatePlan,
    Window,
    per_axis,
    place_of,
    smallest_variance,
    template_plan,
)
from scalekeys.scalespace.parametrizations import Oriented
from scalekeys.shapes import Size

Norm: TypeAlias = Literal[1, 2]
_NORMS: tuple[Norm, ...] = get_args(Norm)

INFINITE_SIDES = 8.0
"""A scale above so many sides of the kernel is called infinite."""

_STEP = 0.16  # radians between neighbouring nodes
_PROBES, _OTHERS = 192, 6
_REFINEMENT = 4
_MARGIN = 1.1
_FAR = 1 - 1e-3  # the coordinate of the last node, where a search may go on to infinite scales
_RANK_TOLERANCE = 1e-9
_NO_TURN = 1e-4  # radians from one value of a parameter to the next, which rounding stays below
_CONSTANT = 1e-12  # norm below which a centred template is none


def bend_of(size: Size) -> float:
    """Return the bend of the search coordinates on a window: the variance that stands half-way to infinity."""
    return float(max(size))


def widest(size: Size) -> float:
    """Return the variance of the widest Gaussian on the grid: its scale is the longest side of the window."""
    return float(max(size)) ** 2


def infinite_variance(size: Size) -> float:
    """Return the variance above which a scale is called infinite: the window shows no difference to a larger one."""
    return (INFINITE_SIDES * max(size)) ** 2


@dataclass(frozen=True, eq=False)
class Nodes:
    """Search coordinates of the parameters of a family, whose combinations are the nodes of a grid."""

    values: tuple[Tensor, ...]
    """For each parameter."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of each parameter."""
        return tuple(len(own) for own in self.values)

    @cached_property
    def points(self) -> Tensor:
        """All combinations, shape (parameters, nodes); the last parameter runs fastest."""
        return torch.stack([own.flatten() for own in torch.meshgrid(*self.values, indexing="ij")])

    def neighbours(self, axes: tuple[int, ...] | None = None) -> Tensor:
        """Return the nodes around each node and itself along some parameters (all), by number: (nodes, 3^axes).

        Itself beyond an edge.
        """
        return _neighbours(self.shape, tuple(range(len(self.shape))) if axes is None else axes)

    def unravelled(self, node: Tensor) -> Tensor:
        """Return the place of nodes along each parameter, shape (..., parameters)."""
        return torch.stack(torch.unravel_index(node, self.shape), dim=-1)

    def at(self, position: Tensor) -> Tensor:
        """Return coordinates at positions between nodes that are numbered from 0, shape (positions, parameters)."""
        out = []
        for values, place in zip(self.values, position.double().unbind(-1), strict=True):
            place = place.clamp(0, len(values) - 1)
            below = place.floor().long()
            above = (below + 1).clamp(max=len(values) - 1)
            own = values.to(place)
            out.append(torch.lerp(own[below], own[above], place - below))
        return torch.stack(out, dim=-1)


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Templates of one family at the nodes of a grid."""

    nodes: Nodes
    atoms: Tensor
    """Shape (taps, components * nodes), float32. For angles: centred, orthonormal components, component by component.
    For distances: the templates themselves."""
    reach: Tensor
    """Shape (nodes,), float32. How far the nodes may be from what lies between them. For angles, and filters of unit
    norm: how much the correlation (the energy, for several components) with any template in the cells around a node
    can exceed that of the best of their corners. For distances: the largest distance from a template to the nearest
    node."""


class FamilyGrid:
    """A family on a window with a grid over its parameters; built once (see :func:`family_grid`).

    `family`: with one scale for all axes, where that is asked for.

    The grid ends at a scale as long as the window. Beyond it the templates hardly turn; where a search may go on to
    infinite scales, one node more stands close to them.
    """

    def __init__(self, family: Family, size: Size, window: Window) -> None:
        self.family, self.size, self.window = family, size, window
        self._plan: TemplatePlan = template_plan(family.name, size, window, family.discretization)
        self.bend = bend_of(size)
        self._edge = widest(size) / (self.bend + widest(size))
        self._start = float(place_of(torch.tensor(smallest_variance(family.discretization)).double(), self.bend))
        self._ends = family.parametrization.bounds(self.bend, self._edge, self._start)

    @cached_property
    def _fine_inner_nodes(self) -> Nodes:
        return Nodes(tuple(self._spaced(axis) for axis in range(self.parameters)))

    @cached_property
    def inner_nodes(self) -> Nodes:
        """The nodes up to the longest scale of the grid."""
        return Nodes(tuple(values[::_REFINEMENT] for values in self._fine_inner_nodes.values))

    @cached_property
    def fine_nodes(self) -> Nodes:
        """The nodes of the finer grid."""
        return self._with_far(self._fine_inner_nodes)

    @cached_property
    def nodes(self) -> Nodes:
        """The nodes of the grid, with those close to an infinite scale."""
        return self._with_far(self.inner_nodes)

    @property
    def parameters(self) -> int:
        """How many parameters the family has."""
        return len(self.family.parametrization.names)

    def in_fine_nodes(self, node: Tensor) -> Tensor:
        """Return the place on the finer grid of places on the coarse one, both in numbers of nodes."""
        ends = torch.tensor(self.fine_nodes.shape, device=node.device) - 1
        return (node * _REFINEMENT).minimum(ends)

    def plan(self, coordinates: Tensor) -> Tensor:
        """Evaluate the family at coordinates of shape (n, parameters): shape (n, components, taps).

        On a CPU the length of the recurrence follows the largest variance, on other devices that of the grid: looking
        at a value there would wait for it.
        """
        parameters = self.physical(coordinates)
        bound = None if parameters.device.type == "cpu" else 2 * widest(self.size) + 1
        fields: Tensor = self._plan(parameters, bound).flatten(2)
        return fields

    def physical(self, coordinates: Tensor) -> Tensor:
        """Return the parameters that tables hold at coordinates, both of shape (n, parameters).

        A scale that axes share is given for each of them.
        """
        own = self.family.parametrization
        found = own.parameters(coordinates.T, self.bend)
        return found[list(own.groups)].T if isinstance(own, AxisScales) else found.T

    def coordinates(self, parameters: Tensor) -> Tensor:
        """Return the search coordinates of parameters that tables hold, both of shape (n, parameters)."""
        own = self.family.parametrization
        if isinstance(own, AxisScales):
            first = [own.groups.index(number) for number in range(self.parameters)]
            parameters = parameters[:, first]
        return own.coordinates(parameters.T, self.bend).T

    def is_infinite(self, coordinates: Tensor) -> Tensor:
        """Return which scales of filters are infinite for the window, of the shape of the coordinates."""
        if not self.is_unbounded:
            return torch.zeros_like(coordinates, dtype=torch.bool)
        return coordinates > place_of(coordinates.new_tensor(infinite_variance(self.size)), self.bend)

    def components(self, coordinates: Tensor) -> Tensor:
        """Return the components as models of filters have them, of the shape that :meth:`plan` gives.

        Where a scale is infinite, the template is centred and has norm 1: without that it would vanish in the window.
        """
        infinite = self.is_infinite(coordinates).any(-1)
        if not bool(infinite.any()):
            return self.plan(coordinates)
        fields = self.plan(torch.where(infinite[:, None], 0.0, coordinates))
        rows = coordinates[infinite].T.contiguous()
        unit = self.products.mixed(rows, torch.ones_like(rows[:1]))
        fields[infinite, 0] = unit / torch.linalg.vector_norm(unit, dim=-1, keepdim=True)
        return fields

    @cached_property
    def has_form(self) -> bool:
        """Whether the templates are anything but constant on the window."""
        return bool((self._coarse_bases.norm(dim=-2) > 0.5).any())

    @cached_property
    def turns(self) -> tuple[bool, ...]:
        """Whether each parameter changes the templates."""
        along = (pairwise(self._coarse_bases.movedim(axis, 0)) for axis in range(self.parameters))
        return tuple(max(float(_angles(a, b).max()) for a, b in pairs) > _NO_TURN for pairs in along)

    @cached_property
    def _coarse_bases(self) -> Tensor:
        nodes = Nodes(tuple(self._probes(_OTHERS)))
        bases: Tensor = self._bases(nodes).unflatten(0, nodes.shape)
        return bases

    @cached_property
    def _atoms(self) -> Tensor:
        """Bases at every node, side by side: shape (taps, components * nodes), float32."""
        return _atoms(self._bases(self.nodes))

    @cached_property
    def whole(self) -> WholeFamily:
        """Whole templates with derivatives."""
        return WholeFamily(self.family, self.size, self.window, self.bend)

    @cached_property
    def products(self) -> FamilyProducts:
        """The scalar products of the family."""
        if isinstance(self.family.parametrization, Oriented):
            return OrientedFamily(self.family, self.size, self.window, self.bend)
        return self._products(self.whole, plain=False)

    @cached_property
    def true_whole(self) -> WholeFamily:
        """Whole templates with derivatives that keep every factor that depends on the scale."""
        return WholeFamily(self.family, self.size, self.window, self.bend, plain=True)

    @cached_property
    def true_products(self) -> FamilyProducts:
        """The scalar products of the family with every factor that depends on the scale."""
        return self._products(self.true_whole, plain=True)

    def _products(self, whole: WholeFamily, *, plain: bool) -> FamilyProducts:
        if self.family.parametrization.groups is None:
            return whole
        return FoldedFamily(self.family, self.size, self.window, self.bend, plain=plain)

    @property
    def common(self) -> bool:
        """Whether axes share a scale by choice; some families have one for all anyway."""
        own = self.family.parametrization
        return isinstance(own, AxisScales) and own != per_axis(self.family.axes)

    @property
    def is_unbounded(self) -> bool:
        """Whether a search goes on to infinite scales, where the family has a template of its own."""
        return has_limit(self.family, self.window)

    def bounds(self, limit: float = INFINITE) -> tuple[Tensor, Tensor]:
        """Return the ends of a refined search in its coordinates, which goes up to `limit` where it is unbounded."""
        end = self._edge
        if self.is_unbounded and limit > self._edge:
            infinite = 2 * infinite_variance(self.size)
            end = max(limit, infinite / (self.bend + infinite))
        low, high = self.family.parametrization.bounds(self.bend, end, self._start)
        high = [b if turns else a for a, b, turns in zip(low, high, self.turns, strict=True)]
        return torch.tensor(low, dtype=torch.float64), torch.tensor(high, dtype=torch.float64)

    @cached_property
    def ended(self) -> Tensor:
        """Which parameters have ends: they change the template, and do not come round to where they began."""
        own = self.family.parametrization
        return torch.tensor(
            [turns and name not in own.periodic for name, turns in zip(own.names, self.turns, strict=True)]
        )

    @cached_property
    def angles(self) -> Dictionary:
        """The dictionary for fits with free amplitude and offset."""
        # A smooth function exceeds its linear interpolation by at most 1/8 of its second derivative in units of cells.
        if self.family.parametrization.experience is not None:
            reach = torch.full(self.nodes.points.shape[1:], self.family.parametrization.experience)
            return Dictionary(self.nodes, self._atoms, reach)
        cells = torch.zeros(1)
        for axis in range(self.parameters):
            bends = self._bend(axis)
            for other in range(self.parameters):
                bends = bends if other == axis else _over_cells(bends, other)
            cells = cells + bends
        reach = _around_nodes(_MARGIN / 8 * cells, self.inner_nodes.shape).unflatten(0, self.inner_nodes.shape)
        for axis, (count, inner) in enumerate(zip(self.nodes.shape, self.inner_nodes.shape, strict=True)):
            last = reach.narrow(axis, inner - 1, 1)
            reach = torch.cat([reach, last], dim=axis) if count > inner else reach
        reach = reach.flatten()
        return Dictionary(self.nodes, self._atoms, reach)

    @cached_property
    def fine_angles(self) -> Dictionary:
        """The same on a finer grid, for objectives with kinks, whose valleys are narrow."""
        return Dictionary(
            self.fine_nodes, _atoms(self._bases(self.fine_nodes)), self.angles.reach.max() / _REFINEMENT**2
        )

    @cached_property
    def fine_distances(self) -> dict[Norm, Dictionary]:
        """The same as :attr:`distances` on a finer grid, which shows basins beside each other in a slanted valley."""
        atoms = self._fine_templates.T.float()
        return {p: Dictionary(self._fine_inner_nodes, atoms, torch.tensor(self._fine_distance(p))) for p in _NORMS}

    @cached_property
    def distances(self) -> dict[Norm, Dictionary]:
        """The dictionaries for fits with a fixed amplitude, with distances in the l1 or the l2 norm."""
        atoms = self._templates(self.inner_nodes)
        steps = self._fine_templates[:, None] - atoms[self._corners()]
        covers = {p: steps.norm(p=p, dim=-1).amin(-1).max().float() + self._fine_distance(p) for p in _NORMS}
        return {p: Dictionary(self.inner_nodes, atoms.T.float(), covers[p]) for p in _NORMS}

    @cached_property
    def _fine_templates(self) -> Tensor:
        return self._templates(self._fine_inner_nodes)

    def _fine_distance(self, norm: Norm) -> float:
        """Largest distance from a template to the nearest node of the finer grid: half a step along each axis."""
        grid = self._fine_templates.unflatten(0, self._fine_inner_nodes.shape)
        steps = [grid.diff(dim=axis).norm(p=norm, dim=-1) for axis in range(self.parameters)]
        return sum(float(step.max()) / 2 for step in steps if step.numel())

    def _with_far(self, nodes: Nodes) -> Nodes:
        """Return nodes with one more close to an infinite scale, for parameters that matter."""
        if not self.is_unbounded:
            return nodes
        far = torch.tensor([_FAR], dtype=torch.float64)
        return Nodes(tuple(torch.cat([own, far]) if len(own) > 1 else own for own in nodes.values))

    def _spaced(self, axis: int) -> Tensor:
        """Return values of one parameter from end to end; every fourth is about an angle of one step apart."""
        low, high = (ends[axis] for ends in self._ends)
        if not self.turns[axis]:
            return torch.full((1,), low, dtype=torch.float64)
        probes, others = self._probes(_PROBES)[axis], self._probes(_OTHERS)
        nodes = Nodes((*others[:axis], probes, *others[axis + 1 :]))
        bases = self._bases(nodes).unflatten(0, nodes.shape).movedim(axis, 0)
        steps = torch.stack([_angles(a, b).max() for a, b in pairwise(bases)])
        length = torch.nn.functional.pad(steps.cumsum(0), (1, 0))
        step = _STEP * self.family.parametrization.coarseness * self.family.coefficients**0.5
        cells = max(1, round(float(length[-1]) / step))
        wanted = torch.linspace(0, float(length[-1]), 1 + cells * _REFINEMENT, dtype=torch.float64)
        right = torch.searchsorted(length, wanted).clamp(1, len(length) - 1)
        share = ((wanted - length[right - 1]) / (length[right] - length[right - 1])).clamp(0.0, 1.0)
        values = probes[right - 1] + share * (probes[right] - probes[right - 1])
        values[0], values[-1] = low, high
        return values

    def _probes(self, count: int) -> list[Tensor]:
        return [torch.linspace(low, high, count, dtype=torch.float64) for low, high in zip(*self._ends, strict=True)]

    def _bend(self, axis: int) -> Tensor:
        """Largest second derivative along one parameter, in units of cells, that a correlation (energy) can have.

        Cells along the axis, nodes along the others, in the order of the parameters.
        """
        coarse = self.inner_nodes.values
        nodes = Nodes((*coarse[:axis], self._fine_inner_nodes.values[axis], *coarse[axis + 1 :]))
        cells = len(coarse[axis]) - 1
        if cells == 0:
            return torch.zeros(self.inner_nodes.shape)
        bases = self._bases(nodes).unflatten(0, nodes.shape).movedim(axis, 0)
        bends = torch.stack([_second_difference(*bases[i - 1 : i + 2]) for i in range(1, len(bases) - 1)])
        padding = torch.zeros_like(bends[:1])
        bends = torch.cat([padding, bends]).unflatten(0, (cells, _REFINEMENT))
        # The step of the finer grid changes at a node, where a difference of second order says nothing.
        largest: Tensor = bends[:, 1:].amax(1).movedim(0, axis).float() * _REFINEMENT**2
        return largest

    def _templates(self, nodes: Nodes) -> Tensor:
        """Templates of a family of one component at every node: shape (nodes, taps)."""
        return self.plan(nodes.points.T)[:, 0]

    def _bases(self, nodes: Nodes) -> Tensor:
        """Orthonormal bases of the centred components at every node: shape (nodes, taps, components)."""
        components = self.plan(nodes.points.T).transpose(-1, -2)
        components = components - components.mean(-2, keepdim=True)
        norms = components.norm(dim=-2, keepdim=True)
        components = torch.where(norms > _CONSTANT, components / norms, 0.0)
        if components.shape[-1] == 1:
            only: Tensor = components
            return only
        energies, mixtures = torch.linalg.eigh(components.mT @ components)
        kept = energies > _RANK_TOLERANCE * energies[:, -1:]
        scale = torch.where(kept, energies.clamp(min=torch.finfo(torch.float64).tiny).rsqrt(), 0.0)
        bases: Tensor = components @ (mixtures * scale[:, None])
        return bases

    def _corners(self) -> Tensor:
        """Nodes around each point of the finer grid, by number: shape (finer points, 2^parameters)."""
        corners = torch.zeros(1, 1, dtype=torch.long)
        for count in self.inner_nodes.shape:
            below = torch.arange((count - 1) * _REFINEMENT + 1) // _REFINEMENT
            side = torch.stack([below, (below + 1).clamp(max=count - 1)], dim=-1)
            corners = corners[:, None, :, None] * count + side[None, :, None, :]
            corners = corners.flatten(2).flatten(0, 1)
        return corners


@lru_cache(maxsize=256)
def family_grid(family: Family, size: Size, window: Window) -> FamilyGrid:
    """Return the grid of a family on a window; built once for each combination."""
    return FamilyGrid(family, size, window)


@lru_cache(maxsize=64)
def joined_atoms(grids: tuple[FamilyGrid, ...]) -> Tensor:
    """Return the atoms for angles of several families side by side, for one product with all of them."""
    return torch.cat([grid.angles.atoms for grid in grids], dim=1)


def ravelled(places: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the numbers of nodes from their places along each parameter, shape (..., parameters)."""
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return (places * torch.tensor(strides, device=places.device)).sum(-1)


@lru_cache(maxsize=256)
def _neighbours(shape: tuple[int, ...], axes: tuple[int, ...]) -> Tensor:
    """Return what :meth:`Nodes.neighbours` does for a grid of some shape."""
    places = torch.cartesian_prod(*map(torch.arange, shape)).reshape(-1, len(shape))
    steps = torch.cartesian_prod(*[torch.arange(-1, 2)] * len(axes)).reshape(-1, len(axes))
    around = places[:, None].repeat(1, len(steps), 1)
    for column, axis in enumerate(axes):
        around[..., axis] = (around[..., axis] + steps[:, column]).clamp(0, shape[axis] - 1)
    return ravelled(around, shape)


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


def _around_nodes(cells: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the largest value of the cells within two steps of each node, as far as a climb may lead: (nodes,)."""
    for axis, count in enumerate(shape):
        if cells.shape[axis] < count:  # from cells to nodes
            moved = cells.movedim(axis, 0)
            blank = torch.zeros_like(moved[:1]).expand(2, *moved.shape[1:])
            padded = torch.cat([blank, moved, blank])
            cells = torch.stack([padded[i : i + count] for i in range(4)]).amax(0).movedim(0, axis)
    return cells.flatten()
