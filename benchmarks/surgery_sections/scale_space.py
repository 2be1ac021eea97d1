"""The derivatives of a sparse model as a basis for each filter, at scales that are rounded to a few bits."""

from math import comb, log2

import torch
from torch import Tensor

from scalekeys.fitting import Fit
from scalekeys.scalespace import template_plan
from surgery_sections.approximations import Basis, orthonormal

SCALE_BITS = 5
"""Of each scale."""

_FAR = 8.0  # sides of a kernel: a scale that stands for infinity


def scale_nodes(side: int) -> Tensor:
    """Return the variances that a scale may have: even steps of t / (1 + t) up to the side, and one far beyond."""
    last = side**2 / (1 + side**2)
    even = torch.linspace(0, last, 2**SCALE_BITS - 1, dtype=torch.float64)
    return torch.cat([even / (1 - even), torch.tensor([(_FAR * side) ** 2], dtype=torch.float64)])


def sparse_basis(fit: Fit, rows: Tensor, side: int) -> Basis:
    """Return the constant and those derivatives that a sparse fit has chosen for each filter, at its scales."""
    scales = _rounded_scales(fit.values.parameters[rows, :2], side)
    atoms = template_plan("jet6", (side, side))(scales).flatten(2)
    terms = fit.spec.terms or 0
    chosen = (fit.coefficients[rows] != 0).double().topk(terms, dim=-1).indices.sort(-1).values
    derivatives = atoms.gather(1, chosen[..., None].expand(-1, -1, atoms.shape[-1]))
    mine = torch.cat([torch.ones_like(atoms[:, :1]), derivatives], dim=1).mT
    side_bits = 2 * SCALE_BITS + log2(comb(atoms.shape[1], terms))
    return Basis(orthonormal(mine), side=side_bits, numbers=3)


def _rounded_scales(variances: Tensor, side: int) -> Tensor:
    nodes = scale_nodes(side)
    place = _nearest((variances / (1 + variances)).nan_to_num(1.0), nodes / (1 + nodes))
    return (place / (1 - place)).to(variances)


def _nearest(values: Tensor, nodes: Tensor) -> Tensor:
    nodes = nodes.to(values)
    return nodes[(values[..., None] - nodes).abs().argmin(-1)]
