"""Spatial spread of filters: the moments of their absolute values."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import FilterError
from scalekeys.filters.scaling import in_powers_of_two, power_of_two
from scalekeys.shapes import AXES, ArrayLike, as_float_tensor, checked_filters, kernel_dims, over_taps


@dataclass(frozen=True, eq=False)
class Spread:
    """Spread measures of a batch of filters.

    Parameters
    ----------
    l1_norm : Tensor, shape (...)
        Sum of absolute values.
    mean : Tensor, shape (..., D)
        Centre of mass of the absolute values along each axis, ``(x,)``, ``(x, y)`` or ``(x, y, z)``, in pixels from the
        centre; y points up.
    covariance : Tensor, shape (..., D, D)
        Covariance matrix of the absolute values over the axes, in the same order and in pixels squared.
    """

    l1_norm: Float[Tensor, "*batch"]
    mean: Float[Tensor, "*batch axes"]
    covariance: Float[Tensor, "*batch axes axes"]


def spread(filters: ArrayLike, weight: ArrayLike | None = None, *, axes: int = 2) -> Spread:
    r"""Measure the spatial spread of filters.

    Parameters
    ----------
    filters : Tensor or array, shape (..., *sides)
        Filters of any size; for an even side the centre lies between two pixels.
    weight : Tensor or array, broadcastable to the filters, optional
        Non-negative factors of the absolute values, for a measure of the central part: the paper takes the absolute
        values of a template of the same family at scale 1. The l1 norm is weighted with them too.
    axes : int
        How many axes D a filter has: 1, 2 or 3.

    Returns
    -------
    Spread
        ``l1_norm``, ``mean`` and ``covariance``; NaN for a filter that is zero everywhere.

    Raises
    ------
    FilterError
        If a filter cannot have so many axes, the array has fewer, or the weight has another shape or a negative or
        non-finite entry.

    Notes
    -----
    With :math:`w = |h|`, times the weight where one is given, and :math:`p = (x, y)`, or one coordinate for each axis,

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

    A filter in time, whose last tap comes last:

    >>> spread(torch.tensor([0.0, 0.0, 1.0, 1.0]), axes=1).mean
    tensor([1.])
    """
    values = checked_filters(filters, axes)
    scaled, exponent = in_powers_of_two(values, axes=axes)
    weighted = scaled.abs() if weight is None else scaled.abs() * _checked_weight(weight, scaled)
    points = torch.stack(coordinates(*values.shape[-axes:], like=weighted), dim=-1).flatten(0, -2)
    total = weighted.sum(kernel_dims(axes))
    mass = (weighted / over_taps(total, axes)).flatten(-axes)[..., None]
    mean = (mass * points).sum(-2)
    centred = points - mean[..., None, :]
    covariance = torch.einsum("...ti,...tj->...ij", mass * centred, centred)
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


def coordinates(*size: int, like: Tensor) -> tuple[Tensor, ...]:
    """Return the coordinates of the taps of a window along each axis: x (right), y (up), z (with its index).

    Parameters
    ----------
    *size : int
        The sides of the window, in the order of the array.
    like : Tensor
        Whose type and device the coordinates take.

    Returns
    -------
    tuple of Tensor, each of shape `size`
        In pixels from the centre, which lies between two taps of an even side.

    Examples
    --------
    >>> x, y = coordinates(2, 3, like=torch.ones(1))
    >>> print(x[0], y[:, 0])
    tensor([-1.,  0.,  1.]) tensor([ 0.5000, -0.5000])
    """
    axes = []
    for name, dim in zip(AXES, reversed(range(len(size))), strict=False):
        side, index = size[dim], torch.arange(size[dim], dtype=like.dtype, device=like.device)
        along = (side - 1) / 2 - index if name == "y" else index - (side - 1) / 2
        axes.append(over_taps(along, len(size) - 1 - dim).expand(size))
    return tuple(axes)
