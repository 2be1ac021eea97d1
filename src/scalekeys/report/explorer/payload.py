"""What the explorer knows of a network: every kernel in 16 bits a tap, and its fit in a few bytes.

The bytes of a layer are runs, in this order: kernels, in steps of a power of two over the largest step (int16, or int8
for kernels of few taps; the smallest number is a tap that is not finite); the exponents of these powers (int8); family
and status together, and r2 (one byte each); the parameters of the fit (uint16).
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalekeys.filters import LayerFilters
from scalekeys.fitting import Fit
from scalekeys.report.explorer.tables import family_table, operator_table

MOST_FILTERS = 50_000
"""Filters that the explorer holds at most; of a larger network it takes the first of each layer, an equal share."""

MOST_TAPS = 5_000_000
"""Taps that the explorer holds at most."""

_FEW_TAPS = 7
"""Taps of a kernel below which a tap has 8 bits, so that all that is written takes about four letters a tap."""

_PLACES = 65535
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Payload:
    """The data of the explorer.

    Parameters
    ----------
    data : dict
        What goes into the page as JSON.
    shown, left_out : int
        How many filters it holds, and how many it does not.
    """

    data: dict[str, Any]
    shown: int
    left_out: int


def payload_of(fit: Fit, formed: Sequence[float | None] = ()) -> Payload:
    """Return what the explorer knows of a fit.

    Parameters
    ----------
    fit : Fit
        The fit of a bank.
    formed : sequence of float or None
        How far each layer has formed, see :func:`scalekeys.formation`; nothing where that was not measured.

    Examples
    --------
    >>> import scalekeys as sk
    >>> payload = payload_of(sk.fit(sk.master_keys()))
    >>> payload.shown, payload.left_out, payload.data["layers"][0]["size"]
    (8, 0, [7, 7])
    """
    layers = fit.bank.layers
    counts = np.array([len(layer) for layer in layers], dtype=int)
    taps = sum(len(layer) * layer.kernels[0].numel() for layer in layers)
    share = min(1.0, MOST_FILTERS / max(counts.sum(), 1), MOST_TAPS / max(taps, 1))
    kept = np.diff(np.floor(share * np.cumsum(counts) + _ROUNDING).astype(int), prepend=0)
    looks = sorted(set(zip(fit.family.tolist(), fit.status.tolist(), strict=True)))
    packed = [
        _packed_layer(fit, layer, part.start, int(count), looks) | {"formation": standing}
        for (layer, part), count, standing in zip(fit.bank.parts(), kept, formed or [None] * len(layers), strict=True)
    ]
    axes = sorted({layer.axes for layer in layers})
    sparse = tuple(label for label in fit.spec.labels if fit.spec.terms)
    data = {
        "model": fit.bank.model,
        "looks": [list(look) for look in looks],
        "layers": packed,
        "operators": operator_table(),
        "families": {str(own): family_table(own, sparse) for own in axes},
    }
    return Payload(data, int(kept.sum()), int((counts - kept).sum()))


def _packed_layer(
    fit: Fit, layer: LayerFilters, start: int, count: int, looks: list[tuple[str, str]]
) -> dict[str, Any]:
    """Return one layer: what is written of it, and its bytes."""
    part = slice(start, start + count)
    steps, exponents = _in_steps(layer, count)
    found = dict(zip(looks, range(len(looks)), strict=True))
    look = [found[own] for own in zip(fit.family[part].tolist(), fit.status[part].tolist(), strict=True)]
    r2 = np.nan_to_num(np.asarray(fit.r2[part].cpu().numpy()), nan=0.0)
    numbers = _parameters(fit, part, layer)
    return {
        "name": layer.name,
        "size": list(layer.size),
        "depth": layer.depth,
        "count": count,
        "of": len(layer),
        "bits": 8 * steps.itemsize,
        "numbers": numbers.shape[1],
        "bytes": base64.b64encode(
            steps.tobytes()
            + exponents.astype(np.int8).tobytes()
            + np.array(look, dtype=np.uint8).tobytes()
            + np.rint(255 * r2.clip(0, 1)).astype(np.uint8).tobytes()
            + numbers.astype("<u2").tobytes()
        ).decode("ascii"),
    }


def _in_steps(layer: LayerFilters, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first kernels of a layer in steps, shape (count, taps), and the exponents of their powers of two."""
    kernels = np.asarray(layer.kernels[:count].detach().double().cpu().numpy()).reshape(count, -1)
    kind = np.dtype("<i2" if kernels.shape[1] >= _FEW_TAPS else "<i1")
    full = np.iinfo(kind).max
    known = np.isfinite(kernels)
    values = np.where(known, kernels, 0.0)
    exponents = np.frexp(np.abs(values).max(1))[1].clip(-127, 127)
    steps = np.rint(full * np.ldexp(values, -exponents[:, None])).clip(-full, full)
    return np.where(known, steps, -full - 1).astype(kind), exponents


def _parameters(fit: Fit, part: slice, layer: LayerFilters) -> np.ndarray:
    """Return the parameters of the fits as places from 0 to 65535, see :func:`_place`; shape (filters, parameters)."""
    family, values = (np.asarray(own[part].cpu().numpy()) for own in (fit.values.family, fit.values.parameters))
    places = np.zeros(values.shape)
    used = 0
    for index in np.unique(family[family >= 0]).tolist():
        own = fit.spec.base(fit.spec.families[index], layer.axes)
        assert own is not None  # a fitted filter has a family with its number of axes
        rows = np.flatnonzero(family == index)
        for column, name in enumerate(own.parameters):
            places[rows, column] = _place(name, values[rows, column], max(layer.size))
        used = max(used, len(own.parameters))
    return np.asarray(np.rint(_PLACES * places[:, :used].clip(0, 1)))


def _place(name: str, values: np.ndarray, side: int) -> np.ndarray:
    """Return where parameters stand between 0 and 1: a scale beside the side of the kernel, a strength, an angle."""
    if name == "angle":
        return values / np.pi
    middle, own = (1.0, values) if name == "alpha" else (float(side), np.sqrt(values.clip(min=0)))
    return np.where(np.isinf(own), 1.0, own / (middle + np.where(np.isinf(own), 0.0, own)))
