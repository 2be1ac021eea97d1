"""What the figure says of published networks, some of whose layers are known to be as they were initialised.

The truth is told by a test that knows no receptive field: a layer is *untouched* if all its weights lie within the
bound of PyTorch's initialisation, the root of 1 / taps, and a test of Kolmogorov and Smirnov does not tell them from
its uniform distribution (p above 0.05). Training and weight decay change that distribution, and a structured kernel
has none.
"""

import argparse
import csv
from collections import Counter
from pathlib import Path
from typing import Any

from scipy.stats import kstest

import scalekeys as sk
from fit_sections.record import table
from scalekeys.filters import LayerFilters
from scalekeys.fitting import formation
from scalekeys.fitting.formation import LIKE_NOISE, WORDS

HELP = "published networks, and layers that no training has touched"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, help="of checkpoints, with a table zoo.csv whose column `source` names them"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    with (arguments.folder / "zoo.csv").open() as file:
        sources = list(csv.DictReader(file))
    rows: list[dict[str, Any]] = []
    truth: Counter[tuple[bool, str]] = Counter()
    for source in sources:
        bank = sk.extract(arguments.folder / source["source"])
        found = formation(sk.fit(bank), sk.fit(sk.matched_noise_like(bank)))
        if found.network.white is None or found.network.matched is None:
            continue
        for layer, group in zip(bank, found.layers, strict=True):
            if group.white is not None:
                truth[_is_untouched(layer), group.white.word] += 1
        words = Counter(group.white.word for group in found.layers if group.white is not None)
        white, matched = found.network.white, found.network.matched
        rows.append(
            {
                "network": source["source"],
                "filters": found.network.counted,
                "formation": white.value,
                "from": white.low,
                "to": white.high,
                "beside matched": matched.value,
                "layers": sum(words.values()),
                "like noise": words[LIKE_NOISE],
                "metric": source["metric"] and f"{source['metric_value']} {source['metric']}",
            }
        )
    rows.sort(key=lambda row: row["formation"])
    layers = [
        {"layers": "untouched" if untouched else "others"} | {word: truth[untouched, word] for word in WORDS}
        for untouched in (True, False)
    ]
    return {"networks": rows, "layers": layers}


def show(results: dict[str, Any]) -> None:
    table("networks by formation", results["networks"])
    table("layers whose weights are as PyTorch draws them, and others", results["layers"])


def _is_untouched(layer: LayerFilters) -> bool:
    weights = layer.kernels.flatten().double().numpy()
    bound = layer.kernels[0].numel() ** -0.5
    if abs(weights).max() > bound:
        return False
    return bool(kstest(weights, "uniform", args=(-bound, 2 * bound)).pvalue > 0.05)
