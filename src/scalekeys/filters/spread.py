"""Spatial spread of filters: the moments of their absolute values."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import FilterError
from scalekeys.filters.scaling import in_powers_of_two, power_of_two
from scalekeys.shapes import ArrayLike, as_float_tensor


@dataclass(frozen=True, eq=False)
class Spread:
    """Spread measures of a batch of filters.

    Parameters
    ----------
    l1_norm : Tensor, shape (...)
        Sum of absolute values.
    mean : Tensor, shape (..., 2)
        Centre of mass ``(x, y)`` of the absolute values, in pixels from the centre; y points up.
    covariance : Tensor, shape (..., 2, 2)
        Covariance matrix of the absolute values over (x, y), in pixels squared.
    """

    l1_norm: Float[Tensor, "*batch"]
    mean: Float[Tensor, "*batch 2"]
    covariance: Float[Tensor, "*batch 2 2"]


def spread(filters: ArrayLike, weight: ArrayLike | None = None) -> Spread:
    r"""Measure the spatial spread of filters.

    Parameters
    ----------
    filters : Tensor or array, shape (..., rows, cols)
        Filters of any size; for an even side the centre lies between two pixels.
    weight : Tensor or array, broadcastable to the filters, optional
        Non-negative factors of the absolute values, for a measure of the central part: the paper takes the absolute
        values of a template of the same family at scale 1. The l1 norm is weighted with them too.

    Returns
    -------
    Spread
        ``l1_norm``, ``mean`` and ``covariance``; NaN for a filter that is zero everywhere.

    Raises
    ------
    FilterError
        If there are fewer than two axes, or the weight has another shape or a negative or non-finite entry.

    Notes
    -----
    With :math:`w = |h|`, times the weight where one is given, and :math:`p = (x, y)`,

    .. math:: M = \frac{\sum p\,w}{\sum w}, \qquad V = \frac{\sum p\,p^T w}{\sum w} - M M^T .

    References
    ----------
    Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026, the section on spatial spread measures.

    Examples
    --------
    >>> from scalekeys.filters import master_keys
    >>> spread(master_keys()[4]).mean
    tensor([ 0.0569, -0.0409], dtype=torch.float64)

    Weighted with a template of its own family:

    >>> from scalekeys.scalespace import template
    >>> window = template("dx", torch.ones(2, dtype=torch.float64), 7).abs()
    >>> spread(master_keys()[4], weight=window).covariance.diagonal()
    tensor([1.7..., 0.3...], dtype=torch.float64)
    """
    values = as_float_tensor(filters)
    if values.ndim < 2:
        raise FilterError(f"filters must have shape (..., rows, cols), got {tuple(values.shape)}")
    scaled, exponent = in_powers_of_two(values)
    size = scaled.abs() if weight is None else scaled.abs() * _checked_weight(weight, scaled)
    x, y = coordinates(values.shape[-2], values.shape[-1], like=size)
    total = size.sum((-2, -1))
    points = torch.stack([x.expand_as(size), y.expand_as(size)], dim=-1)
    mass = (size / total[..., None, None])[..., None]
    mean = (mass * points).sum((-3, -2))
    centred = points - mean[..., None, None, :]
    covariance = torch.einsum("...rci,...rcj->...ij", mass * centred, centred)
    covariance = (covariance + covariance.mT) / 2
    return Spread(*(part.to(values) for part in (total * power_of_two(exponent), mean, covariance)))


def _checked_weight(weight: ArrayLike, filters: Tensor) -> Tensor:
    factor = as_float_tensor(weight).to(filters)
    try:
        factor = factor.expand(filters.shape)
    except RuntimeError:
        shapes = f"{tuple(factor.shape)} for filters of shape {tuple(filters.shape)}"
        raise FilterError(f"the weight must be broadcastable to the filters, got {shapes}") from None
    if not bool(((factor >= 0) & factor.isfinite()).all()):
        raise FilterError("the weight must be finite and at least 0 everywhere")
    return factor


def coordinates(rows: int, cols: int, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coordinates x (right) and y (up) of the pixels of a window, each of shape (rows, cols)."""
    x = torch.arange(cols, dtype=like.dtype, device=like.device) - (cols - 1) / 2
    y = (rows - 1) / 2 - torch.arange(rows, dtype=like.dtype, device=like.device)
    return x.expand(rows, cols), y[:, None].expand(rows, cols)
