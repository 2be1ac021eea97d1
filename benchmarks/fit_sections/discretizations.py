"""Which discretization of the Gaussian derivatives explains filters best, beside both controls.

Every filter of a sample is fitted once in each discretization, and so are white noise and matched noise in its place. A
gain is r2 in a discretization minus r2 with the discrete analogue of the Gaussian. The interval of its mean comes from
resampled layers, since the filters of one layer are not independent.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import scalekeys as sk
from fit_sections.record import Progress, table
from scalekeys.filters import FilterBank
from scalekeys.scalespace import DISCRETIZATIONS

HELP = "which discretization explains filters best"
_RESAMPLED = 2_000
_SHARE = 0.95
_FEW = 20  # filters of one size in one network, below which it is left out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", help="checkpoints")
    parser.add_argument("--model", default="ideal", help="families that compete")
    parser.add_argument("--filters", type=int, default=24, help="of each layer, at most; evenly spread")
    parser.add_argument("--seed", type=int, default=0, help="of noise and of resampling")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    progress = Progress("fits", len(arguments.sources) * 3 * len(DISCRETIZATIONS))
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for source in arguments.sources:
        network, whole = Path(source).stem, sk.extract(source)
        kinds = {
            "filters": whole,
            "matched noise": sk.matched_noise_like(whole, seed=arguments.seed),
            "white noise": sk.white_noise_like(whole, seed=arguments.seed),
        }
        r2 = {}
        for kind, filters in kinds.items():
            sample = _sample(filters, arguments.filters)
            for name in DISCRETIZATIONS:
                r2[kind, name] = sk.fit(sample, arguments.model, discretization=name).r2.numpy()
                progress.advance(1)
        bank = _sample(whole, arguments.filters)
        layer = np.repeat(np.arange(len(bank.layers)), [len(one.kernels) for one in bank])
        for size in bank.sizes:
            own = np.asarray(bank.of_size(size)[1])
            own = own[np.isfinite(r2["filters", "discrete"][own])]
            if len(own) >= _FEW:
                key = (network, "x".join(map(str, size)))
                found[key] = {"layer": layer[own], "r2": {each: values[own] for each, values in r2.items()}}
    generator = np.random.default_rng(arguments.seed)
    rows = [row for key, one in found.items() for row in _rows(*key, one, generator)]
    compared = sum(row["discretization"] != "discrete" for row in rows)
    return {"compared": compared, "gains": rows}


def show(results: dict[str, Any]) -> None:
    table(f"r2 by discretization, {results['compared']} gains of each kind compared", results["gains"])


def _sample(bank: FilterBank, most: int) -> FilterBank:
    """Return at most so many filters of each layer, evenly spread."""
    layers = []
    for layer in bank:
        count = len(layer.kernels)
        chosen = np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
        layers.append(replace(layer, kernels=layer.kernels[chosen]))
    return replace(bank, layers=tuple(layers))


def _rows(network: str, kernel: str, one: dict[str, Any], generator: np.random.Generator) -> list[dict[str, Any]]:
    layers = len(np.unique(one["layer"]))
    rows = []
    for name in DISCRETIZATIONS:
        row: dict[str, Any] = {"network": network, "kernel": kernel, "layers": layers, "filters": len(one["layer"])}
        row |= {"discretization": name}
        for kind in ("filters", "matched noise", "white noise"):
            values = one["r2"][kind, name]
            gain = values - one["r2"][kind, "discrete"]
            low, high = _interval(gain, one["layer"], generator)
            row |= {f"{kind}: median r2": _rounded(np.nanmedian(values))}
            row |= {f"{kind}: mean gain": _rounded(np.nanmean(gain)), f"{kind}: from": low, f"{kind}: to": high}
        rows.append(row)
    return rows


def _interval(gain: np.ndarray, layer: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """Return the interval of a mean over resampled layers."""
    keep = np.isfinite(gain)
    _, place = np.unique(layer[keep], return_inverse=True)
    sums, counts = np.bincount(place, gain[keep]), np.bincount(place)
    drawn = generator.integers(0, len(sums), (_RESAMPLED, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - _SHARE) / 2, (1 + _SHARE) / 2])
    return _rounded(low), _rounded(high)


def _rounded(value: float) -> float:
    return round(float(value), 5)
