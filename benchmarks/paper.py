"""The paper's figures: how long they take, how close they come, and what the criteria cost on a network's filters.

    python benchmarks/paper.py ../shared/weights/mcunet-320kb-1mb_imagenet.pth

``scalekeys paper`` runs as a user runs it, with article, figures and tables, several times; the wall time is the
median.
The l1 and l2 optima of the eight filters are compared with a scipy search from many starts. The criteria are timed on
the same random choice of a network's 7 x 7 filters, each as a multiple of least squares with a scale for each axis in
the same run. Results are printed and saved as JSON beside this file.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import optimize

import scalekeys as sk
from fit_sections.command import SCALEKEYS
from scalekeys.fitting import CRITERIA
from scalekeys.paper import compare, norm_at, study, worst_deviations

RESULTS = Path(__file__).parent / "results" / "paper.json"
STARTS = 20


def wall_times(repeats: int) -> list[float]:
    """Seconds of the whole command, in fresh processes."""
    walls = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            arguments = ["paper", "-o", f"{folder}/article", "--json", f"{folder}/paper.json"]
            command = [*SCALEKEYS, *arguments]
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            walls.append(time.perf_counter() - start)
    return walls


def against_scipy(seed: int) -> dict[str, float]:
    """Largest relative amount by which a scipy search from many starts beats ours; negative where it never does."""
    result, rng = study(), np.random.default_rng(seed)
    worst = {}
    for method, norm in (("C1", 1), ("D1", 2)):
        ours = result.objective(method)
        excess = []
        for index in range(len(result.filters)):

            def loss(p: np.ndarray, index: int = index, norm: int = norm) -> float:
                return float(norm_at(result, index, abs(float(p[0])), abs(float(p[1])), norm))

            best = min(
                optimize.minimize(loss, rng.exponential(0.8, 2), method="Nelder-Mead", options={"maxiter": 150}).fun
                for _ in range(STARTS)
            )
            excess.append(float(ours[index]) / best - 1)
        worst[method] = max(excess)
    return worst


def criteria(source: str, count: int, seed: int) -> dict[str, float]:
    """Seconds of each combination on filters of a network, as multiples of the first."""
    filters, _ = sk.extract(source).of_size((7, 7))
    chosen = filters[torch.randperm(len(filters), generator=torch.Generator().manual_seed(seed))[:count]]
    times = {}
    for criterion, normalization, scales in itertools.product(
        ("l2", *(name for name in CRITERIA if name != "l2")), ("affine", "moment"), ("per-axis", "common", "shared")
    ):
        options: dict[str, Any] = {"criterion": criterion, "normalization": normalization, "scales": scales}
        sk.fit(chosen[:8], **options)  # dictionaries are built once
        start = time.perf_counter()
        sk.fit(chosen, **options)
        times[f"{criterion}, {normalization}, {scales}"] = time.perf_counter() - start
    unit = times["l2, affine, per-axis"]
    return {name: seconds / unit for name, seconds in times.items()} | {"unit_s": unit}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--filters", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    walls = wall_times(arguments.repeats)
    worst = worst_deviations(compare(study()))
    results = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("scalekeys", "torch", "numpy", "scipy", "matplotlib")},
        "wall_s": statistics.median(walls),
        "wall_s_range": [min(walls), max(walls)],
        "worst_deviation": {
            table: {
                "filter": one.filter,
                "quantity": one.quantity,
                "published": one.published,
                "computed": one.computed,
                "deviation": one.deviation,
            }
            for table, one in worst.items()
        },
        "excess_over_scipy": against_scipy(arguments.seed),
        "seconds_by_criterion": criteria(arguments.source, arguments.filters, arguments.seed),
        "filters": arguments.filters,
        "seed": arguments.seed,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
