"""The coarse search: a dictionary of templates on a grid of scales, with the angle by which it can miss."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from scalekeys.scalespace import FAMILIES, Window, template_plan

ALPHA_MAX = 10.0
"""Largest strength of `sharpen`; beyond it the template is a pure Laplacian to within a percent."""

_SIGMA_NODES = 16
_ALPHA_NODES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, ALPHA_MAX)
_REFINEMENT = 4


def max_sigma(size: tuple[int, int]) -> float:
    """Return the largest scale that is searched: the longer side of the window, where a Gaussian looks flat."""
    return float(max(size))


@dataclass(frozen=True, eq=False)
class FamilyGrid:
    """The templates of one family on a grid of its two parameters.

    Parameters
    ----------
    family : str
    nodes : (Tensor, Tensor)
        Grid values of the first and second parameter: ``(t_x, t_y)``, or ``(t, alpha)``.
    atoms : Tensor, shape (taps, first * second), float32
        Centred templates of unit norm, one a column.
    cover : float
        Largest angle (radians) from any template of the family to the nearest atom.
    upper : Tensor, shape (2,)
        Largest parameters that are searched.
    """

    family: str
    nodes: tuple[Tensor, Tensor]
    atoms: Tensor
    cover: float
    upper: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Number of grid values of the first and the second parameter."""
        return len(self.nodes[0]), len(self.nodes[1])

    def parameters(self, flat: Tensor) -> Tensor:
        """Parameters of atoms given by their column."""
        first, second = flat // self.shape[1], flat % self.shape[1]
        return torch.stack([self.nodes[0].to(flat.device)[first], self.nodes[1].to(flat.device)[second]], dim=-1)


@lru_cache(maxsize=256)
def family_grid(name: str, size: tuple[int, int], window: Window) -> FamilyGrid:
    """Return the grid of a family on a window; built once for each combination."""
    variances = _variance_nodes(_SIGMA_NODES, max_sigma(size) ** 2)
    second = torch.tensor(_ALPHA_NODES, dtype=torch.float64) if FAMILIES[name].has_alpha else variances
    nodes = (variances, second)
    atoms = _unit_templates(name, size, window, nodes)
    finer = _unit_templates(name, size, window, (_subdivide(variances), _subdivide(second)))
    cosine = (finer.T @ atoms).abs().amax(-1).min()
    cover = float(torch.arccos(cosine.clamp(max=1.0)))
    return FamilyGrid(name, nodes, atoms.float(), cover, torch.stack([variances[-1], second[-1]]))


def _variance_nodes(count: int, maximum: float) -> Tensor:
    """Variances from 0 to `maximum`, even in ``t / (1 + t)``: about even in the angle between templates."""
    position = torch.linspace(0, maximum / (1 + maximum), count, dtype=torch.float64)
    return (position / (1 - position)).clamp(max=maximum)


def _subdivide(nodes: Tensor) -> Tensor:
    """Insert evenly spaced points between neighbouring nodes."""
    weights = torch.arange(_REFINEMENT, dtype=nodes.dtype) / _REFINEMENT
    between = nodes[:-1, None] + weights * nodes.diff()[:, None]
    return torch.cat([between.flatten(), nodes[-1:]])


def _unit_templates(name: str, size: tuple[int, int], window: Window, nodes: tuple[Tensor, Tensor]) -> Tensor:
    """Centred templates of unit norm at every pair of nodes: shape (taps, pairs)."""
    templates = template_plan(name, size, window)(torch.cartesian_prod(*nodes))[:, 0].flatten(1)
    templates = templates - templates.mean(-1, keepdim=True)
    return torch.nn.functional.normalize(templates, dim=-1).T
