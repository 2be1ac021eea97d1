"""Columns that describe the shape of single filters: where a filter lies, whether it separates, and its nearest key."""

import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import pad

from scalekeys.atlas.schema import SHAPE_MEASURES
from scalekeys.errors import FilterError
from scalekeys.filters import FilterBank, assign_keys, separability, spread
from scalekeys.fitting.table import number_column, word_column
from scalekeys.shapes import AXES, FilterStack, Size

_RANKS = 3


def shape_columns(bank: FilterBank) -> dict[str, pa.Array]:
    """Return columns that describe the shape of filters; empty where a filter is dead or a column has no meaning.

    Returns ``centre_x``, ``centre_y`` and ``centre_z``: the mean of :func:`scalekeys.filters.spread`, in pixels. Of
    kernels of two axes with two taps or more: ``rank1``, ``rank2`` and ``rank3``, what
    :func:`scalekeys.filters.separability` gives, and ``rank1_centred``, the same without the mean of the filter;
    ``key`` and ``key_correlation``, the family of the nearest published key, and the absolute correlation with it, by
    :func:`scalekeys.filters.assign_keys`.

    >>> from scalekeys.filters import master_keys
    >>> columns = shape_columns(FilterBank.from_tensor(master_keys()))
    >>> print(*columns)
    centre_x centre_y centre_z rank1 rank2 rank3 rank1_centred key key_correlation
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
    """Return what rank 1 to 3 hold of each filter, and rank 1 of the centred filter: shape (filters, 4)."""
    if not _is_plane(filters.shape[1:]):
        return filters.new_full((len(filters), _RANKS + 1), torch.nan)
    values = filters.double()
    varies = values.amax((1, 2), keepdim=True) > values.amin((1, 2), keepdim=True)
    centred = torch.where(varies, values - values.mean((1, 2), keepdim=True), 0.0)
    ranks = torch.arange(_RANKS).clamp(max=min(filters.shape[1:]) - 1)
    return torch.cat([separability(values)[:, ranks], separability(centred)[:, :1]], dim=-1)


def _is_plane(size: Size) -> bool:
    """Tell whether a kernel has two axes, of two taps or more."""
    return len(size) == 2 and min(size) > 1


def _keys(bank: FilterBank) -> dict[str, pa.Array]:
    """Return the nearest published key of each filter; nothing where no kernel has two axes."""
    try:
        assigned = assign_keys(bank)
    except FilterError:
        return {}
    plane = torch.cat([torch.full((len(layer),), _is_plane(layer.size)) for layer in bank])
    index = torch.where(plane, assigned.index, -1)
    correlation = torch.where(plane, assigned.r2.sqrt(), torch.nan)
    key = word_column(list(assigned.names), index.numpy())
    return {"key": key, "key_correlation": number_column(correlation)}
