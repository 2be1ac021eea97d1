"""Lines beside what scikit-learn offers: the same filters, numbers of keys and restarts, in one run and on one thread.

Spherical k-means is KMeans on the centred unit vectors, its centres put to unit norm; `folded` first turns the sign of
each vector to that of its first principal component; `outer products` clusters y y^T, in which squared distances are
those of lines, and takes leading eigenvectors of the centres. `explained` is under the best amplitude and offset for
one key a filter. The subspace of PCA spends k numbers on a filter, and is an upper bound for k shared filters.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

import scalekeys as sk
from clustering_sections.samples import largest_kernels, planted, unit
from fit_sections.record import table

HELP = "beside spherical k-means and principal components"
_OUTER_LIMIT = 5_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="*", help="checkpoints")
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--filters", type=int, default=20_000, help="planted copies of the published keys")
    parser.add_argument("--restarts", type=int, default=10)
    parser.set_defaults(threads=1)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    samples = list(largest_kernels(arguments.sources))
    samples.append(("planted, noise 1:1", planted(sk.master_keys(), arguments.filters, 0, "each")))
    rows = []
    for name, filters in samples:
        vectors = unit(filters).numpy()
        for method, function in _methods(filters, arguments.k, arguments.restarts).items():
            if method.endswith("outer products") and len(vectors) > _OUTER_LIMIT:
                continue
            start = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                keys = function(vectors)
            rows.append({"filters": name, "method": method} | _measures(vectors, keys, method, start))
    return {"comparison": rows}


def show(results: dict[str, Any]) -> None:
    table("the same filters and number of keys", results["comparison"])


def _methods(filters: torch.Tensor, k: int, restarts: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    def lines(_: np.ndarray) -> np.ndarray:
        return sk.cluster(filters, k, restarts=restarts, controls=False).filters.flatten(1).numpy()

    def spherical(vectors: np.ndarray) -> np.ndarray:
        return _unit(KMeans(k, n_init=restarts, random_state=0).fit(vectors).cluster_centers_)

    def folded(vectors: np.ndarray) -> np.ndarray:
        side = np.sign(vectors @ _components(vectors, 1)[0])
        return spherical(vectors * np.where(side == 0, 1, side)[:, None])

    def outer(vectors: np.ndarray) -> np.ndarray:
        taps = vectors.shape[1]
        products = np.einsum("ni,nj->nij", vectors, vectors).reshape(len(vectors), -1)
        centres = KMeans(k, n_init=restarts, random_state=0).fit(products).cluster_centers_
        return np.asarray(np.linalg.eigh(centres.reshape(k, taps, taps))[1][..., -1])

    def components(vectors: np.ndarray) -> np.ndarray:
        return _components(vectors, k)

    return {
        "lines (this project)": lines,
        "spherical k-means": spherical,
        "spherical k-means, folded": folded,
        "k-means of outer products": outer,
        "PCA, best component": components,
        "PCA, subspace": components,
    }


def _components(vectors: np.ndarray, count: int) -> np.ndarray:
    """Principal components of the vectors with both signs, whose mean is zero."""
    return np.asarray(PCA(count, svd_solver="full").fit(np.concatenate([vectors, -vectors])).components_)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _measures(vectors: np.ndarray, keys: np.ndarray, method: str, start: float) -> dict[str, Any]:
    seconds = time.perf_counter() - start
    shares = np.square(vectors @ keys.T)
    explained = shares.sum(1) if method.endswith("subspace") else shares.max(1)
    return {
        "explained %": round(100 * float(explained.mean()), 2),
        "coverage 0.8 %": round(100 * float((explained >= 0.64).mean()), 1),
        "s": round(seconds, 2),
    }
