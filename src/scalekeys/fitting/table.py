"""A fit as a table: one row a filter, with the columns of the documentation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from scalekeys.filters import FilterBank
from scalekeys.fitting.prepare import STATUSES
from scalekeys.scalespace import AXES

if TYPE_CHECKING:
    from scalekeys.fitting.result import Fit

INTEGER = pa.int32()
_PARAMETERS = ("alpha", "sigma_outer", "angle", "sigma_along", "sigma_across")
_NUMBERS = ("amplitude", "offset", "r2", "r2_response", "evidence", "residual_l1", "residual_l2")


def fit_table(fit: "Fit", mixed: np.ndarray) -> pa.Table:
    """Return one row a filter.

    `mixed`: shape (filters,); whose coefficients are listed; the others have an amplitude.
    """
    values, blank = fit.values, torch.full_like(fit.r2, torch.nan)
    columns = _places(fit.bank)
    columns |= {
        "family": word_column(list(fit.spec.labels), values.family.cpu().numpy()),
        **{f"sigma_{axis}": _along(fit.sigma, place) for place, axis in enumerate(AXES)},
        **{name: number_column(fit.parameter_columns.get(name, blank)) for name in _PARAMETERS},
        **{name: number_column(getattr(fit, name)) for name in _NUMBERS},
        "status": word_column(list(STATUSES), values.status.cpu().numpy()),
        **{f"sigma_{axis}_error": _along(fit.sigma_error, place) for place, axis in enumerate(AXES)},
        **{f"sigma_{axis}_status": _words_along(fit.sigma_status, place) for place, axis in enumerate(AXES)},
        "coefficients": _lists(values.coefficients.cpu().numpy(), mixed),
    }
    return pa.table(columns)


def _places(bank: FilterBank) -> dict[str, pa.Array]:
    """Say where each filter stands in its network."""
    layers = bank.layers
    which = bank.layer_of
    channel = np.concatenate([np.arange(0), *(np.arange(len(layer)) for layer in layers)])

    def per_layer(values: Sequence[float | None], dtype: pa.DataType = INTEGER) -> pa.Array:
        return pa.array(values, dtype).take(pa.array(which))

    return {
        "model": word_column([bank.model], np.zeros_like(which)),
        "layer": word_column([layer.name for layer in layers], which),
        "depth": per_layer([layer.depth for layer in layers]),
        "channel": pa.array(channel, pa.int32()),
        "kernel_depth": per_layer([layer.size[-3] if layer.axes > 2 else None for layer in layers]),
        "kernel_height": per_layer([layer.size[-2] if layer.axes > 1 else None for layer in layers]),
        "kernel_width": per_layer([layer.size[-1] for layer in layers]),
        "stride": per_layer([layer.stride for layer in layers]),
        "dilation": per_layer([layer.dilation for layer in layers]),
        "pitch": per_layer([layer.mean_pitch for layer in layers], pa.float64()),
    }


def word_column(values: list[str], codes: np.ndarray) -> pa.DictionaryArray:
    """Return words by their codes; null where a code is negative."""
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), mask=codes < 0), pa.array(values, pa.string()))


def number_column(values: Tensor) -> pa.Array:
    """Return numbers; null where one is NaN."""
    return pa.array(values.detach().cpu().numpy(), pa.float64(), from_pandas=True)


def _along(values: Tensor, axis: int) -> pa.Array:
    """Numbers of one axis, null for an axis that no filter has."""
    return number_column(values[:, axis]) if axis < values.shape[1] else pa.nulls(len(values), pa.float64())


def _words_along(words: np.ndarray, axis: int) -> pa.Array:
    """Words of one axis, empty for an axis that no filter has."""
    return pa.array(words[:, axis] if axis < words.shape[1] else [""] * len(words)).dictionary_encode()


def _lists(values: np.ndarray, wanted: np.ndarray) -> pa.Array:
    """Return lists of the rows that are wanted, null for the others."""
    lists = [row if mine else None for row, mine in zip(values, wanted, strict=True)] if wanted.any() else None
    return pa.array(lists or [None] * len(wanted), pa.list_(pa.float64()))
