"""The coarse search: templates on a grid of scales, and how far a finer grid could be from it."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from scalekeys.scalespace import FAMILIES, Order, TemplatePlan, Window, template_plan

Norm: TypeAlias = Literal[1, 2]

ALPHA_MAX = 10.0
"""Largest strength of `sharpen`; beyond it the template is a pure Laplacian to within a percent."""

_NODES = {False: 16, True: 48}  # variances on the grid, with a scale for each axis and with a common one
_ALPHA_NODES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, ALPHA_MAX)
_REFINEMENT = 4
_RANK_TOLERANCE = 1e-9


def max_sigma(size: tuple[int, int]) -> float:
    """Return the largest scale that is searched: the longer side of the window, where a Gaussian looks flat."""
    return float(max(size))


def variance_nodes(count: int, maximum: float) -> Tensor:
    """Variances from 0 to `maximum`, even in ``t / (1 + t)``: about even in the angle between templates."""
    position = torch.linspace(0, maximum / (1 + maximum), count, dtype=torch.float64)
    return (position / (1 - position)).clamp(max=maximum)


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

    @property
    def pairs(self) -> Tensor:
        """All pairs, shape (nodes, 2); the second parameter runs fastest."""
        return torch.cartesian_prod(self.first, self.second)

    def subdivided(self) -> "Nodes":
        """Insert evenly spaced values between neighbours."""
        return Nodes(_subdivide(self.first), _subdivide(self.second))


@dataclass(frozen=True, eq=False)
class Dictionary:
    """Templates of one family at the nodes of a grid.

    Parameters
    ----------
    nodes : Nodes
    atoms : Tensor, shape (taps, nodes * components), float32
        For angles: centred, orthonormal components, node by node. For distances: the templates themselves.
    cover : float
        Largest angle (radians), or distance, from any template of the family to the nearest node, as measured on a
        finer grid, and half a step of that grid.
    """

    nodes: Nodes
    atoms: Tensor
    cover: float


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
        self.family = FAMILIES[name]
        self._plan: TemplatePlan = template_plan(name, size, window, common=common)
        self.max_variance = max_sigma(size) ** 2
        single = common or self.family.has_alpha
        variances = variance_nodes(_NODES[common and not self.family.has_alpha], self.max_variance)
        second = torch.tensor(_ALPHA_NODES if self.family.has_alpha else (0.0,), dtype=torch.float64)
        self.nodes = Nodes(variances, second if single else variances)

    def plan(self, parameters: Tensor, order: Order = 0) -> Tensor:
        """Evaluate the family, see :class:`scalekeys.scalespace.TemplatePlan`.

        On a CPU the length of the recurrence follows the largest variance, on other devices that of the search: looking
        at a value there would wait for it.
        """
        return self._plan(parameters, None if parameters.device.type == "cpu" else self.max_variance, order)

    @property
    def common(self) -> bool:
        """Whether both axes share one scale by choice; a family with a strength has one scale anyway."""
        return self._plan.common and not self.family.has_alpha

    @property
    def upper(self) -> Tensor:
        """Largest parameters that are searched."""
        return torch.stack([self.nodes.first[-1], self.nodes.second[-1]])

    def expanded(self, parameters: Tensor) -> Tensor:
        """Parameters of the family without a common scale: ``(t, t)`` for ``(t, unused)``."""
        if self.common:
            return parameters[:, :1].expand(-1, 2).clone()
        return parameters

    @cached_property
    def angles(self) -> Dictionary:
        """The dictionary for fits with free amplitude and offset."""
        atoms = self._bases(self.nodes)
        cover = float(_angles(self._fine_bases[:, None], atoms[self._corners()]).amin(-1).max()) + self._fine_angle
        return Dictionary(self.nodes, atoms.permute(1, 0, 2).flatten(1).float(), cover)

    @cached_property
    def fine_angles(self) -> Dictionary:
        """The same on a finer grid, for objectives with kinks, whose valleys are narrow."""
        atoms = self._fine_bases.permute(1, 0, 2).flatten(1).float()
        return Dictionary(self.nodes.subdivided(), atoms, self._fine_angle)

    def distances(self, norm: Norm) -> Dictionary:
        """Return the dictionary for fits with a fixed amplitude, with distances in the l1 or the l2 norm."""
        return self._distances[norm]

    @cached_property
    def fine_distances(self) -> Dictionary:
        """The same on a finer grid with distances in the l1 norm, for objectives with kinks."""
        return Dictionary(self.nodes.subdivided(), self._fine_templates.T.float(), self._fine_distance(1))

    @cached_property
    def _distances(self) -> dict[Norm, Dictionary]:
        atoms = self._templates(self.nodes)
        steps = self._fine_templates[:, None] - atoms[self._corners()]
        norms: tuple[Norm, Norm] = (1, 2)
        covers = {p: float(steps.norm(p=p, dim=-1).amin(-1).max()) + self._fine_distance(p) for p in norms}
        return {p: Dictionary(self.nodes, atoms.T.float(), covers[p]) for p in norms}

    @cached_property
    def _fine_bases(self) -> Tensor:
        return self._bases(self.nodes.subdivided())

    @cached_property
    def _fine_templates(self) -> Tensor:
        return self._templates(self.nodes.subdivided())

    @cached_property
    def _fine_angle(self) -> float:
        """Largest angle from a template to the nearest node of the finer grid: half a step along each axis."""
        grid = self._fine_bases.unflatten(0, self.nodes.subdivided().shape)
        steps = [_angles(grid[1:], grid[:-1]), _angles(grid[:, 1:], grid[:, :-1])]
        return sum(float(step.max()) / 2 for step in steps if step.numel())

    def _fine_distance(self, norm: Norm) -> float:
        """Largest distance from a template to the nearest node of the finer grid: half a step along each axis."""
        grid = self._fine_templates.unflatten(0, self.nodes.subdivided().shape)
        steps = [grid.diff(dim=axis).norm(p=norm, dim=-1) for axis in (0, 1)]
        return sum(float(step.max()) / 2 for step in steps if step.numel())

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
        left, singular, _ = torch.linalg.svd(components, full_matrices=False)
        kept = torch.where(singular[:, None] > _RANK_TOLERANCE * singular[:, :1, None], left, 0.0)
        spare = len(self.family.components) - kept.shape[-1]  # more components than taps
        return torch.nn.functional.pad(kept, (0, spare))

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


def _angles(first: Tensor, second: Tensor) -> Tensor:
    """Largest principal angle between subspaces that are given by orthonormal bases, shape (..., taps, components)."""
    if first.shape[-1] == 1:
        return torch.arccos((first * second).sum((-2, -1)).abs().clamp(max=1.0))
    cosines = torch.linalg.svdvals(first.transpose(-1, -2) @ second)
    # A basis that lost a direction is padded with zeros, whose singular values say nothing.
    ranks = torch.minimum(
        *(basis.square().sum((-2, -1)).round().long() for basis in torch.broadcast_tensors(first, second))
    )
    smallest = cosines.gather(-1, (ranks - 1).clamp(min=0)[..., None])[..., 0]
    return torch.arccos(smallest.clamp(max=1.0))


def _subdivide(nodes: Tensor) -> Tensor:
    """Insert evenly spaced points between neighbouring nodes."""
    weights = torch.arange(_REFINEMENT, dtype=nodes.dtype) / _REFINEMENT
    between = nodes[:-1, None] + weights * nodes.diff()[:, None]
    return torch.cat([between.flatten(), nodes[-1:]])


def _neighbours(count: int) -> tuple[Tensor, Tensor]:
    """Nodes below and above each point that :func:`_subdivide` makes of `count` nodes."""
    below = torch.arange((count - 1) * _REFINEMENT + 1) // _REFINEMENT
    return below, (below + 1).clamp(max=count - 1)
