"""Whether noise-free filters give back the family and the scales that made them.

Filters are made with scipy, apart from the package: a family, scales between 0.3 and 1.5 (strengths of `sharpen`
between 0.2 and 1.2), an amplitude and an offset. On 5x5 and 7x7 windows all parameters can be told from the taps. On
3x3 some cannot, by any method, and are left out:

- `sharpen` has three different taps (centre, side, corner) and four unknowns, strength, scale, amplitude and offset;
- the difference of `dx` (`dy`) leaves the taps (p, 0, -p) along its axis at every scale, so that p and the amplitude
  are one unknown: only the scale across it is compared, and no amplitude.

The others have as many different taps as unknowns, or more. `smooth` has four, and ``(side_x - corner) / (centre -
side_y)`` is T(1; tx) / T(0; tx); the same with the axes exchanged gives ty. (Were both scales equal, it would be a
`sharpen` too; they are drawn for each axis.) The one-sided differences have six: along their axis the taps are
``(g, -g, -g')``, the sum of the first two lines gives the offset, and ``g' / g`` grows from 0 to 3 with the scale.
"""

import argparse
from typing import Any

import numpy as np
import torch

import scalekeys as sk
from fit_sections.oracle import NAMES, Array, template
from fit_sections.record import table

HELP = "recover noise-free filters"
_SCALES = (0.3, 1.5)
_STRENGTHS = (0.2, 1.2)
_CENTRED = {"dx": 0, "dy": 1}  # the axis along which a 3x3 window shows no scale


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--filters", type=int, default=500, help="of each family and size")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    rows = [
        _recovered(name, side, dtype, arguments.filters, arguments.seed)
        for side in (3, 5, 7)
        for name in NAMES
        if side > 3 or name != "sharpen"
        for dtype in (torch.float64, torch.float32)
    ]
    return {"families": rows, "summary": _summary(rows)}


def show(results: dict[str, Any]) -> None:
    table("noise-free filters of each family", results["families"])
    table("all families together", results["summary"])


def _recovered(name: str, side: int, dtype: torch.dtype, count: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, side, NAMES.index(name)])
    sigma = rng.uniform(*_SCALES, (count, 2))
    if name == "sharpen":
        sigma[:, 1] = sigma[:, 0]
    alpha = rng.uniform(*_STRENGTHS, count)
    amplitude = rng.uniform(0.1, 10, count) * rng.choice([-1, 1], count)
    offset = rng.normal(size=count)
    filters = amplitude[:, None, None] * _templates(name, sigma, alpha, side) + offset[:, None, None]
    fit = sk.fit(torch.from_numpy(filters).to(dtype))
    right = fit.family == name
    errors = np.abs(fit.sigma.double().numpy() - sigma)[right]
    hidden = _CENTRED.get(name) if side == 3 else None
    if hidden is not None:
        errors = np.delete(errors, hidden, axis=1)
    off = np.abs(fit.amplitude.double().numpy() / amplitude - 1)[right]
    return {
        "size": f"{side}x{side}",
        "family": name,
        "input": str(dtype).removeprefix("torch."),
        "count": count,
        "right_family": float(right.mean()),
        "worst_sigma_error": float(errors.max(initial=0)),
        "median_sigma_error": float(np.median(errors)) if len(errors) else None,
        "worst_amplitude_error": float(off.max(initial=0)) if hidden is None else None,
        "worst_alpha_error": float(np.abs(fit.alpha.numpy() - alpha)[right].max(initial=0))
        if name == "sharpen"
        else None,
        "worst_unexplained": float((1 - fit.r2.double()).max()),
    }


def _templates(name: str, sigma: Array, alpha: Array, side: int) -> Array:
    second = alpha if name == "sharpen" else sigma[:, 1] ** 2
    pairs = np.stack([sigma[:, 0] ** 2, second], axis=-1)
    return np.array([template(name, pair, side)[::-1] for pair in pairs])


def _summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    groups = dict.fromkeys((row["size"], row["input"]) for row in rows)
    result = []
    for size, kind in groups:
        mine = [row for row in rows if (row["size"], row["input"]) == (size, kind)]
        result.append(
            {
                "size": size,
                "input": kind,
                "families": len(mine),
                "right_family": float(np.mean([row["right_family"] for row in mine])),
                "worst_sigma_error": max(row["worst_sigma_error"] for row in mine),
            }
        )
    return result
