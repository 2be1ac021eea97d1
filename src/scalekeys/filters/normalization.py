"""Normalisation by moments: the DC offset of a filter, and the response that fixes its amplitude."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import FilterError, ModelError
from scalekeys.filters.scaling import in_powers_of_two, power_of_two
from scalekeys.filters.spread import coordinates, spread
from scalekeys.scalespace import Family, family
from scalekeys.shapes import ArrayLike, as_float_tensor

_BYTES = 2**26  # of the largest array


@dataclass(frozen=True, eq=False)
class Normalized:
    """Filters ``h = amplitude N + offset`` that are normalised by moments.

    Parameters
    ----------
    filters : Tensor, shape (..., rows, cols)
        The normalised filters N; infinite or NaN where the amplitude is zero.
    amplitude, offset : Tensor, shape (...)
        What was divided by and, before, subtracted.
    """

    filters: Float[Tensor, "*batch rows cols"]
    amplitude: Float[Tensor, "*batch"]
    offset: Float[Tensor, "*batch"]


def dc_offset(filters: ArrayLike) -> Float[Tensor, "*batch"]:
    r"""Return the constant whose removal concentrates a filter most.

    Parameters
    ----------
    filters : Tensor or array, shape (..., rows, cols)

    Returns
    -------
    Tensor, shape (...)
        The C that minimises :math:`\sqrt{\det V(|h - C|)}` exactly; NaN for a constant filter. It is one of the values
        of the filter.

    Raises
    ------
    FilterError
        If there are fewer than two axes.

    Notes
    -----
    Between two neighbouring values of the filter, :math:`w = |h - C|` is linear in C. So is the matrix
    :math:`A = \sum w\, \tilde p \tilde p^T` with :math:`\tilde p = (1, x, y)`, and
    :math:`\det V = \det A / (\sum w)^3`. The cube root of a determinant is concave on positive definite matrices; a
    concave function over a positive linear one is quasi-concave, and takes its minimum at an end of the interval. So
    only the values of the filter have to be tried.

    References
    ----------
    Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026, for the objective.

    Examples
    --------
    >>> from scalekeys.filters import master_keys
    >>> dc_offset(master_keys()[6:])
    tensor([-0.0118, -0.0386], dtype=torch.float64)
    """
    values = as_float_tensor(filters)
    if values.ndim < 2:
        raise FilterError(f"filters must have shape (..., rows, cols), got {tuple(values.shape)}")
    flat = values.reshape(-1, *values.shape[-2:])
    at_once = max(1, _BYTES // (8 * flat[0].numel() ** 2)) if len(flat) else 1
    return torch.cat([_dc_offset(chunk) for chunk in flat.split(at_once)]).reshape(values.shape[:-2])


def _dc_offset(filters: Tensor) -> Tensor:
    scaled, _ = in_powers_of_two(filters)
    flat = scaled.flatten(1)
    x, y = (axis.flatten() for axis in coordinates(filters.shape[1], filters.shape[2], like=scaled))
    monomials = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], dim=-1)
    kinks = (flat[:, None, :] - flat[:, :, None]).abs()
    mass, mx, my, mxx, mxy, myy = (kinks @ monomials).unbind(-1)
    vxx, vxy, vyy = mxx / mass - (mx / mass) ** 2, mxy / mass - mx * my / mass**2, myy / mass - (my / mass) ** 2
    determinant = torch.where(mass > 0, vxx * vyy - vxy * vxy, torch.inf)
    # Two equal taps are two equal candidates: the first is taken. In a window of one row the determinant is zero
    # throughout, and the spread along the row decides.
    if 1 in filters.shape[1:]:
        determinant = torch.where(mass > 0, vxx + vyy, torch.inf)
    best = determinant.argmin(-1, keepdim=True)
    constant = torch.isinf(determinant).all(-1) | ~flat.isfinite().all(-1)
    return torch.where(constant, torch.nan, filters.flatten(1).gather(-1, best)[:, 0])


def moment_normalization(filters: ArrayLike, name: str) -> Normalized:
    r"""Normalise filters by moments, in the way that fits a family.

    Parameters
    ----------
    filters : Tensor or array, shape (..., rows, cols)
    name : str
        The family, which decides the moment.

    Returns
    -------
    Normalized

    Raises
    ------
    FilterError
        If there are fewer than two axes.
    ModelError
        If the family is unknown, or a jet, which has no single moment.

    Notes
    -----
    A derivative is divided by its response to a unit ramp along its axis, :math:`\sum h(x, y) (-x - m_x)` or the same
    in y, with the centre of mass :math:`(m_x, m_y)` of :math:`|h|`; nothing is subtracted. From a smoothing or a
    sharpening the :func:`dc_offset` is subtracted, and the rest is divided by its sum.

    References
    ----------
    Lindeberg, Babaiee, Kiasari, JMIV 68(3):22, 2026, the section on normalisation.

    Examples
    --------
    >>> from scalekeys.filters import master_keys
    >>> float(moment_normalization(master_keys()[7], "smooth").filters.sum())
    1.0...
    """
    values = as_float_tensor(filters)
    if values.ndim < 2:
        raise FilterError(f"filters must have shape (..., rows, cols), got {tuple(values.shape)}")
    scaled, exponent = in_powers_of_two(values)
    amplitude, offset = _moments(scaled, family(name))
    normalized = (scaled - offset[..., None, None]) / amplitude[..., None, None]
    magnitude = power_of_two(exponent)
    return Normalized(*(part.to(values) for part in (normalized, amplitude * magnitude, offset * magnitude)))


def _moments(filters: Tensor, model: Family) -> tuple[Tensor, Tensor]:
    """Amplitude and offset of filters in the sense of a family."""
    if model.is_jet:
        raise ModelError(f"normalization 'moment' has no meaning for {model.name!r}, whose coefficients are all free")
    if model.order == (0, 0):
        offset = dc_offset(filters)
        return (filters - offset[..., None, None]).sum((-2, -1)), offset
    axis = 0 if model.order[0] else 1
    ramp = -coordinates(filters.shape[-2], filters.shape[-1], like=filters)[axis]
    centre = spread(filters).mean[..., axis, None, None]
    return (filters * (ramp - centre)).sum((-2, -1)), filters.new_zeros(filters.shape[:-2])
