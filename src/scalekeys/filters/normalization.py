"""Normalisation by moments: the DC offset of a filter, and the response that fixes its amplitude."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scalekeys.errors import ModelError
from scalekeys.filters.scaling import in_powers_of_two, power_of_two
from scalekeys.filters.spread import coordinates, spread
from scalekeys.scalespace import Family, family
from scalekeys.shapes import ArrayLike, FilterStack, checked_filters, kernel_dims, over_taps

_BYTES = 2**26  # of the largest array


@dataclass(frozen=True, eq=False)
class Normalized:
    """Filters ``h = amplitude N + offset`` that are normalised by moments.

    Parameters
    ----------
    filters : Tensor, shape (..., *sides)
        The normalised filters N; infinite or NaN where the amplitude is zero.
    amplitude, offset : Tensor, shape (...)
        The divisor, and the constant that was subtracted before the division.
    """

    filters: Float[Tensor, "..."]
    amplitude: Float[Tensor, "*batch"]
    offset: Float[Tensor, "*batch"]


def dc_offset(filters: ArrayLike, *, axes: int = 2) -> Float[Tensor, "..."]:
    r"""Return the constant whose removal concentrates a filter most.

    Parameters
    ----------
    filters : Tensor or array, shape (..., *sides)
    axes : int
        How many axes D a filter has: 1, 2 or 3.

    Returns
    -------
    Tensor, shape (...)
        The C that minimises :math:`\sqrt{\det V(|h - C|)}` exactly; NaN for a constant filter. It is one of the values
        of the filter.

    Raises
    ------
    FilterError
        If a filter cannot have so many axes, or the array has fewer.

    Notes
    -----
    Between two neighbouring values of the filter, :math:`w = |h - C|` is linear in C. So is the matrix
    :math:`A = \sum w\, \tilde p \tilde p^T` of order D + 1, with :math:`\tilde p = (1, x, y)` or one coordinate for
    each axis, and :math:`\det V = \det A / (\sum w)^{D+1}`. The root of degree D + 1 of the determinant is concave on
    positive definite matrices of that order; a concave function over a positive linear one is quasi-concave, and takes
    its minimum at an end of the interval. So only the values of the filter have to be tried.

    References
    ----------
    Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026, for the objective.

    Examples
    --------
    >>> from scalekeys.filters import master_keys
    >>> dc_offset(master_keys()[6:])
    tensor([-0.0118, -0.0386], dtype=torch.float64)
    """
    values = checked_filters(filters, axes)
    flat = values.reshape(-1, *values.shape[-axes:])
    at_once = max(1, _BYTES // (8 * flat[0].numel() ** 2)) if len(flat) else 1
    return torch.cat([_dc_offset(chunk) for chunk in flat.split(at_once)]).reshape(values.shape[:-axes])


def _dc_offset(filters: FilterStack) -> Float[Tensor, "filters"]:
    scaled, _ = in_powers_of_two(filters, axes=filters.ndim - 1)
    flat = scaled.flatten(1)
    # An axis of one tap has no spread: the determinant over the others decides. Two equal taps are two equal
    # candidates: the first is taken.
    size = [side for side in filters.shape[1:] if side > 1]
    points = [flat.new_ones(flat.shape[1]), *(axis.flatten() for axis in coordinates(*size, like=scaled))]
    pairs = torch.triu_indices(len(points), len(points), device=flat.device)
    monomials = torch.stack(points)[pairs].prod(0)
    kinks = (flat[:, None, :] - flat[:, :, None]).abs()
    moments = _symmetric(kinks @ monomials.T, pairs)
    mass, mean = moments[..., 0, 0], moments[..., 0, 1:] / moments[..., :1, 0]
    covariance = moments[..., 1:, 1:] / mass[..., None, None] - mean[..., :, None] * mean[..., None, :]
    determinant = torch.where(mass > 0, _determinant(covariance), torch.inf)
    best = determinant.argmin(-1, keepdim=True)
    constant = torch.isinf(determinant).all(-1) | ~flat.isfinite().all(-1)
    return torch.where(constant, torch.nan, filters.flatten(1).gather(-1, best)[:, 0])


def _symmetric(triangle: Float[Tensor, "*batch pairs"], pairs: Int[Tensor, "2 pairs"]) -> Float[Tensor, "*batch n n"]:
    """Return symmetric matrices by the entries of their upper triangles."""
    n = int(pairs.amax()) + 1
    where = torch.empty(n, n, dtype=torch.long, device=pairs.device)
    where[pairs[0], pairs[1]] = where[pairs[1], pairs[0]] = torch.arange(pairs.shape[1], device=pairs.device)
    return triangle[..., where]


def _determinant(matrices: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    """Return the determinants of small matrices, by expansion along their first rows."""
    columns = range(matrices.shape[-1])
    if not columns:
        return matrices.new_ones(matrices.shape[:-2])
    terms = [
        (-1) ** first * matrices[..., 0, first] * _determinant(matrices[..., 1:, [c for c in columns if c != first]])
        for first in columns
    ]
    return torch.stack(terms).sum(0)


def moment_normalization(filters: ArrayLike, name: str, *, axes: int = 2) -> Normalized:
    r"""Normalise filters by moments, in the way that fits a family.

    Parameters
    ----------
    filters : Tensor or array, shape (..., *sides)
    name : str
        The family, which decides the moment.
    axes : int
        How many axes a filter has: 1, 2 or 3.

    Returns
    -------
    Normalized

    Raises
    ------
    FilterError
        If a filter cannot have so many axes, or the array has fewer.
    ModelError
        If no family of so many axes has this name, or it is a jet, which has no single moment.

    Notes
    -----
    A derivative is divided by its response to a unit ramp along its axis, :math:`\sum h(x, y) (-x - m_x)` or the same
    along another axis, with the centre of mass :math:`(m_x, m_y)` of :math:`|h|`; nothing is subtracted. From a
    smoothing or a sharpening the :func:`dc_offset` is subtracted, and the rest is divided by its sum.

    References
    ----------
    Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026, the section on normalisation.

    Examples
    --------
    >>> from scalekeys.filters import master_keys
    >>> float(moment_normalization(master_keys()[7], "smooth").filters.sum())
    1.0...
    """
    values = checked_filters(filters, axes)
    scaled, exponent = in_powers_of_two(values, axes=axes)
    amplitude, offset = _moments(scaled, family(name, axes), axes)
    normalized = (scaled - over_taps(offset, axes)) / over_taps(amplitude, axes)
    magnitude = power_of_two(exponent)
    return Normalized(*(part.to(values) for part in (normalized, amplitude * magnitude, offset * magnitude)))


def _moments(filters: Tensor, model: Family, axes: int) -> tuple[Tensor, Tensor]:
    """Amplitude and offset of filters in the sense of a family."""
    if model.mixed:
        raise ModelError(f"normalization 'moment' has no meaning for {model.name!r}, whose coefficients are all free")
    dims = kernel_dims(axes)
    if not any(model.order):
        offset = dc_offset(filters, axes=axes)
        return (filters - over_taps(offset, axes)).sum(dims), offset
    axis = next(axis for axis, order in enumerate(model.order) if order)
    ramp = -coordinates(*filters.shape[-axes:], like=filters)[axis]
    centre = over_taps(spread(filters, axes=axes).mean[..., axis], axes)
    return (filters * (ramp - centre)).sum(dims), filters.new_zeros(filters.shape[:-axes])
