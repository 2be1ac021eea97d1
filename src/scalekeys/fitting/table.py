"""A fit as a table: one row a filter, with the columns of the documentation."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from torch import Tensor

from scalekeys.filters import FilterBank
from scalekeys.fitting.prepare import STATUSES
from scalekeys.scalespace import AXES

if TYPE_CHECKING:
    from scalekeys.fitting.result import Fit


def fit_table(fit: "Fit") -> pa.Table:
    """Return what :meth:`scalekeys.fitting.Fit.to_arrow` documents."""
    columns = _places(fit.bank)
    columns |= {
        "family": _words(list(fit.spec.labels), fit.values.family.cpu().numpy()),
        **{f"sigma_{axis}": _along(fit.sigma, place) for place, axis in enumerate(AXES)},
        "alpha": _numbers(fit.alpha),
        "sigma_outer": _numbers(fit.sigma_outer),
        "angle": _numbers(fit.angle),
        "amplitude": _numbers(fit.amplitude),
        "offset": _numbers(fit.offset),
        "r2": _numbers(fit.r2),
        "r2_response": _numbers(fit.r2_response),
        "evidence": _numbers(fit.evidence),
        "residual_l1": _numbers(fit.residual_l1),
        "residual_l2": _numbers(fit.residual_l2),
        "status": _words(list(STATUSES), fit.values.status.cpu().numpy()),
        **{f"sigma_{axis}_error": _along(fit.sigma_error, place) for place, axis in enumerate(AXES)},
        **{f"sigma_{axis}_status": _words_along(fit.sigma_status, place) for place, axis in enumerate(AXES)},
        "coefficients": _coefficient_lists(fit),
    }
    return pa.table(columns)


def _places(bank: FilterBank) -> dict[str, pa.Array]:
    """Say where each filter stands in its network."""
    layers = bank.layers
    counts = [len(layer) for layer in layers]
    which = np.repeat(np.arange(len(layers)), counts)
    channel = np.concatenate([np.arange(n) for n in counts]) if counts else np.arange(0)

    def per_layer(values: list[int | None]) -> pa.Array:
        return pa.array(values, pa.int32()).take(pa.array(which))

    return {
        "model": _words([bank.model], np.zeros_like(which)),
        "layer": _words([layer.name for layer in layers], which),
        "depth": per_layer([layer.depth for layer in layers]),
        "channel": pa.array(channel, pa.int32()),
        "kernel_depth": per_layer([layer.size[-3] if layer.axes > 2 else None for layer in layers]),
        "kernel_height": per_layer([layer.size[-2] if layer.axes > 1 else None for layer in layers]),
        "kernel_width": per_layer([layer.size[-1] for layer in layers]),
        "stride": per_layer([layer.stride for layer in layers]),
        "dilation": per_layer([layer.dilation for layer in layers]),
    }


def _words(values: list[str], codes: np.ndarray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), mask=codes < 0), pa.array(values, pa.string()))


def _numbers(values: Tensor) -> pa.Array:
    return pa.array(values.detach().cpu().numpy(), pa.float64(), from_pandas=True)


def _along(values: Tensor, axis: int) -> pa.Array:
    """Numbers of one axis, null for an axis that no filter has."""
    return _numbers(values[:, axis]) if axis < values.shape[1] else pa.nulls(len(values), pa.float64())


def _words_along(words: np.ndarray, axis: int) -> pa.Array:
    """Words of one axis, empty for an axis that no filter has."""
    return pa.array(words[:, axis] if axis < words.shape[1] else [""] * len(words)).dictionary_encode()


def _coefficient_lists(fit: "Fit") -> pa.Array:
    """Coefficients of jets, which have no amplitude; null for the other families, whose one coefficient it is."""
    jet = ((fit.values.family >= 0) & fit.amplitude.isnan()).cpu().numpy()
    values = fit.coefficients.cpu().numpy()
    lists = [row if mine else None for row, mine in zip(values, jet, strict=True)] if jet.any() else [None] * len(jet)
    return pa.array(lists, pa.list_(pa.float64()))
