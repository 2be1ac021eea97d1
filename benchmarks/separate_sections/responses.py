"""What two outer products lose of the responses of MCUNet's layers: fitted to responses, beside the nearest ones.

The 500 images of ``imagenet_sample`` in two halves: outer products are fitted on the first one, and what they lose is
measured on the same half (``fitted``) and on the other one, which they have not seen (``unseen``).
"""

import argparse
from statistics import median
from typing import Any

import scalekeys as sk
from fit_sections.record import table
from scalekeys.networks.changing.separate.factors import low_rank, most_rank
from scalekeys.networks.changing.separate.separable_conv import products
from scalekeys.shapes import size_text
from surgery_sections.halves import Halves

HELP = "responses that two outer products lose, fitted to responses or nearest"
RANK = 2


def add_arguments(_: argparse.ArgumentParser) -> None:
    pass


def run(_: argparse.Namespace) -> dict[str, Any]:
    halves = Halves.of_mcunet()
    seen = [sk.patch_covariance(halves.network, half).layers for half in halves.each()]
    rows = []
    for layer in sk.extract(halves.network):
        if most_rank(layer.size) < RANK:
            continue
        kernels = layer.kernels.double().flatten(1)
        near, fitted = (
            products(low_rank(layer.kernels, RANK, covariance).factors).reshape(kernels.shape)
            for covariance in (None, seen[0][layer.name])
        )
        row: dict[str, Any] = {"layer": layer.name, "kernel": size_text(layer.size)}
        for name, covariances in zip(("fitted", "unseen"), seen, strict=True):
            lost = [_variance(kernels - one, covariances[layer.name]) for one in (near, fitted)]
            row[name] = round(lost[1] / _variance(kernels, covariances[layer.name]), 5)
            row[f"{name}, nearest by this"] = round(lost[0] / lost[1], 2)
        rows.append(row)
    ratios = {name: sorted(row[f"{name}, nearest by this"] for row in rows) for name in ("fitted", "unseen")}
    return {"rows": rows} | {name: [own[0], median(own), own[-1]] for name, own in ratios.items()}


def show(results: dict[str, Any]) -> None:
    table(f"share of the variance of the responses lost by {RANK} outer products", results["rows"])


def _variance(filters: Any, covariance: Any) -> float:
    return float((filters[:, None] @ covariance @ filters[..., None]).sum())
