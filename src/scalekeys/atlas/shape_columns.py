"""Columns that describe the shape of single filters: where a filter lies, whether it separates, and its nearest key."""

import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import pad

from scalekeys.atlas.schema import SHAPE_MEASURES
from scalekeys.errors import FilterError
from scalekeys.filters import FilterBank, assign_keys, separability, spread
from scalekeys.fitting.table import number_column, word_column
from scalekeys.shapes import AXES, FilterStack

_RANKS = 3


def shape_columns(bank: FilterBank) -> dict[str, pa.Array]:
    """Return columns that describe the shape of filters; empty where a filter is dead or a column has no meaning.

    Parameters
    ----------
    bank : FilterBank

    Returns
    -------
    dict of str to pyarrow.Array
        ``centre_x``, ``centre_y`` and ``centre_z``: the mean of :func:`scalekeys.filters.spread`, in pixels. ``rank1``
        to ``rank3``: what :func:`scalekeys.filters.separability` gives of kernels of two axes with two taps or more.
        ``key`` and ``key_correlation``: the family of the nearest published key, and the absolute correlation with it,
        by :func:`scalekeys.filters.assign_keys`.

    Examples
    --------
    >>> from scalekeys.filters import master_keys
    >>> columns = shape_columns(FilterBank.from_tensor(master_keys()))
    >>> print(*columns)
    centre_x centre_y centre_z rank1 rank2 rank3 key key_correlation
    >>> print(*columns["key"].to_pylist())
    dy+ dx- dy- dx+ dx dy sharpen smooth
    """
    numbers = torch.full((len(bank), len(SHAPE_MEASURES)), torch.nan, dtype=torch.float64)
    for size in bank.sizes:
        filters, positions = bank.of_size(size)
        numbers[positions] = torch.cat([_centre(filters), _shares(filters)], dim=-1).double().cpu()
    numbers[bank.negligible] = torch.nan
    return dict(zip(SHAPE_MEASURES, map(number_column, numbers.T), strict=True)) | _keys(bank)


def _centre(filters: FilterStack) -> Tensor:
    """Return the centre of each filter, shape (filters, 3); NaN along axes that the kernel does not have."""
    mean = spread(filters, axes=filters.ndim - 1).mean
    return pad(mean, (0, len(AXES) - mean.shape[-1]), value=torch.nan)


def _shares(filters: FilterStack) -> Tensor:
    """Return what rank 1 to 3 hold of each filter, shape (filters, 3); NaN for kernels without two axes to separate."""
    sides = filters.shape[1:]
    if len(sides) != 2 or min(sides) < 2:
        return filters.new_full((len(filters), _RANKS), torch.nan)
    return separability(filters)[:, torch.arange(_RANKS).clamp(max=min(sides) - 1)]


def _keys(bank: FilterBank) -> dict[str, pa.Array]:
    """Return the nearest published key of each filter; nothing where no kernel has two axes."""
    try:
        assigned = assign_keys(bank)
    except FilterError:
        return {}
    key = word_column(list(assigned.names), assigned.index.numpy())
    return {"key": key, "key_correlation": number_column(assigned.r2.sqrt())}
