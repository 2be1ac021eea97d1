"""Objectives as functions: what the optima are the optima of."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scalekeys.filters import moment_normalization, spread
from scalekeys.paper.study import Study
from scalekeys.scalespace import FAMILIES, Window, template


@dataclass(frozen=True, eq=False)
class OffsetCurve:
    """``sqrt(det V(|h - C|))`` of one filter as a function of C."""

    offsets: Tensor
    values: Tensor
    """`offsets` and `values`: shape (points,)."""
    kinks: Tensor
    """Shape (taps,). The values of the filter inside the range, where the curve has its kinks."""
    kink_values: Tensor
    """Shape (taps,)."""


def offset_curve(study: Study, index: int, *, points: int = 801) -> OffsetCurve:
    """Return the objective of the DC offset of a filter around its optimum.

    Parameters
    ----------
    study : Study
    index : int
        The filter, from 0.
    points : int
    """
    h = study.filters[index]
    best = study.dc_offset[study.names[index]]
    reach = 1.5 * max(abs(best), 0.02 * float(h.abs().max()))
    offsets = torch.linspace(best - reach, best + reach, points, dtype=h.dtype)
    kinks = h.flatten()[(h.flatten() - best).abs() <= reach].sort().values
    return OffsetCurve(offsets, offset_objective(h, offsets), kinks, offset_objective(h, kinks))


def offset_objective(h: Tensor, offsets: Tensor) -> Tensor:
    """Return ``sqrt(det V(|h - C|))`` for each of several C, shape (points,)."""
    covariance = spread(h - offsets[:, None, None]).covariance
    determinant: Tensor = torch.linalg.det(covariance)
    return determinant.clamp(min=0).sqrt()


def norm_at(
    study: Study,
    index: int,
    horizontal: Tensor | float,
    vertical: Tensor | float,
    norm: int,
    window: Window = "published",
) -> Tensor:
    """Return the l1 or l2 norm of ``K - N`` at given parameters, broadcast against each other.

    Parameters
    ----------
    study : Study
    index : int
        The filter, from 0.
    horizontal, vertical : Tensor or float
        sigma_x and sigma_y; for a family with a strength, sigma and alpha.
    norm : {1, 2}
    window : {"exact", "published"}
    """
    name = study.families[index]
    first, second = torch.broadcast_tensors(
        torch.as_tensor(horizontal, dtype=torch.float64), torch.as_tensor(vertical, dtype=torch.float64)
    )
    if "alpha" in FAMILIES[name].parameters:
        kernels = template(name, torch.stack([first, first], dim=-1), study.size, alpha=second, window=window)
    else:
        kernels = template(name, torch.stack([first, second], dim=-1), study.size, window=window)
    difference = kernels - moment_normalization(study.filters[index], name).filters
    value: Tensor = torch.linalg.vector_norm(difference.flatten(-2), ord=norm, dim=-1)
    return value
