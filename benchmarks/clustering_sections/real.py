"""The keys of networks: what they explain, whom they cover, and which published key is among them.

The filters of the largest kernel size. `nearest found` is the largest correlation with any found key. `filters` is the
share of filters that correlate by 0.8 or more with the published key itself.
"""

import argparse
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

import scalekeys as sk
from clustering_sections.samples import largest_kernels, unit
from fit_sections.record import table
from scalekeys.clustering import KChoice, Keys
from scalekeys.clustering.published import likeness, published_rows

HELP = "keys of networks beside the published ones"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", help="checkpoints")
    parser.add_argument("--k", type=int, default=8)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, list[dict[str, Any]]] = {"keys": [], "published": [], "models": [], "curves": []}
    for network, filters in largest_kernels(arguments.sources):
        choice = sk.choose_k(filters)
        results["curves"] += _curve(network, choice)
        for k in sorted({arguments.k, choice.best, 16}):
            keys, seconds = _timed(filters, k)
            results["keys"].append({"network": network} | _share(keys, choice.best, seconds))
            if k == arguments.k:
                results["models"] += _models(network, keys)
            results["published"] += _published(network, keys, unit(filters))
        results["keys"].append(_share_of_published(network, unit(filters), filters.shape[1:]))
    return results


def show(results: dict[str, Any]) -> None:
    table("keys", results["keys"])
    table("published keys", results["published"])
    table("models of the keys", results["models"])
    table("numbers of keys", results["curves"])


def _curve(network: str, choice: KChoice) -> list[dict[str, Any]]:
    names = list(choice.table.columns)
    return [{"network": network} | dict(zip(names, row, strict=True)) for row in choice.table.round(4).values.tolist()]


def _timed(filters: Tensor, k: int) -> tuple[Keys, float]:
    start = time.perf_counter()
    sk.cluster(filters, k, controls=False)
    seconds = time.perf_counter() - start
    return sk.cluster(filters, k), seconds


def _share(keys: Keys, best: int, seconds: float) -> dict[str, Any]:
    return {
        "keys": f"{len(keys)}, found" + (" (recommended)" if len(keys) == best else ""),
        "filters": int(keys.counts.sum()),
        "explained %": round(100 * keys.explained, 1),
        "white noise %": round(100 * keys.white_noise, 1),
        "matched noise %": round(100 * keys.matched_noise, 1),
        "coverage 0.8 %": round(100 * keys.coverage(0.8), 1),
        "coverage 0.9 %": round(100 * keys.coverage(0.9), 1),
        "s": round(seconds, 2),
    }


def _share_of_published(network: str, rows: Tensor, size: torch.Size) -> dict[str, Any]:
    """Use the published keys in place of found ones."""
    best = (rows @ published_rows(tuple(size)).T).abs().amax(1)
    return {
        "network": network,
        "keys": "8, published",
        "filters": len(rows),
        "explained %": round(100 * float(best.square().mean()), 1),
        "white noise %": None,
        "matched noise %": None,
        "coverage 0.8 %": round(100 * float((best >= 0.8).double().mean()), 1),
        "coverage 0.9 %": round(100 * float((best >= 0.9).double().mean()), 1),
        "s": None,
    }


def _published(network: str, keys: Keys, rows: Tensor) -> list[dict[str, Any]]:
    matches = keys.match_published().dropna().set_index("published").correlation
    nearest = likeness(keys.filters.flatten(1), keys.window, "none")[0].abs().amax(0)
    direct = (rows @ published_rows(keys.window).T).abs() >= 0.8
    return [
        {
            "network": network,
            "found": len(keys),
            "published": number + 1,
            "family": sk.MASTER_KEY_FAMILIES[number],
            "matched": round(abs(float(matches.get(number + 1, np.nan))), 3) if number + 1 in matches.index else None,
            "nearest found": round(float(nearest[number]), 3),
            "filters %": round(100 * float(direct[:, number].double().mean()), 1),
        }
        for number in range(8)
    ]


def _models(network: str, keys: Keys) -> list[dict[str, Any]]:
    fits = {"ideal8": keys.fit("ideal8"), "auto": keys.fit("auto")}
    return [
        {"network": network, "key": key, "members": int(keys.counts[key])}
        | {name: f"{fit.family[key]} ({float(fit.r2[key]):.2f})" for name, fit in fits.items()}
        for key in range(len(keys))
    ]
