"""Separability of filters: how much of a kernel a few outer products of a column and a row hold."""

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.filters.scaling import in_powers_of_two
from scalekeys.shapes import ArrayLike, checked_filters, over_taps
from scalekeys.threads import one_thread


@one_thread()
def separability(filters: ArrayLike) -> Float[Tensor, "*batch ranks"]:
    r"""Measure how much of each filter its best approximations of rank 1, 2, ... hold.

    A filter of rank 1 is separable: a column filter and a row filter, one after the other, compute the same.

    Parameters
    ----------
    filters : Tensor or array, shape (..., rows, cols)
        Filters of two axes.

    Returns
    -------
    Tensor, shape (..., min(rows, cols))
        The share of the squared norm that the best approximation of each rank holds, from rank 1 upwards: growing, and
        1 at the end. NaN for a filter that is zero or not finite.

    Raises
    ------
    FilterError
        If the array has fewer than two dimensions, or no real numbers.

    Notes
    -----
    With the singular values :math:`s_1 \ge s_2 \ge \ldots` of the matrix of a filter, the share of rank r is
    :math:`\sum_{i \le r} s_i^2 / \sum_i s_i^2`. The mean of the filter is not subtracted, since a network executes the
    filter with its mean.

    References
    ----------
    Eckart, Young, Psychometrika 1(3):211-218, 1936: no matrix of rank r comes closer than the first r terms of the
    singular value decomposition.

    Examples
    --------
    >>> from scalekeys.filters import master_keys
    >>> separability(master_keys()[7])[:3]
    tensor([0.9484, 0.9995, 0.9999], dtype=torch.float64)

    A product of a column and a row is of rank 1:

    >>> separability(torch.tensor([1.0, 2.0, 1.0])[:, None] * torch.tensor([-1.0, 1.0]))
    tensor([1., 1.])
    """
    values = checked_filters(filters, 2)
    scaled, _ = in_powers_of_two(values)
    finite = over_taps(scaled.isfinite().all(-1).all(-1), 2)
    energy = torch.linalg.svdvals(torch.where(finite, scaled, 0.0)).square().cumsum(-1)
    shares: Tensor = (energy / energy[..., -1:]).to(values)
    return shares
