"""Keys by accuracy: candidates are eliminated greedily, and networks evaluated with the few that remain.

Candidates are 64 keys that ``sk.cluster`` finds for the filters of the network. They are eliminated on one half of the
images, and what remains is evaluated on the other half, then the reverse; nothing is trained. Beside the elimination by
accuracy stand those by outputs and by responses, random draws of the candidates, keys that ``sk.cluster`` finds for
fewer keys, the eight published keys, the eight families at their published scales (method B), and noise in the place of
the candidates. Every filter is replaced by its best key by the paper's rule. The networks are evaluated with the mean
and the variance of each channel behind the depthwise layers matched to the original on the first half.

What was done is kept in the folder ``--keep``, from which an interrupted run goes on.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import scalekeys as sk
from fit_sections.record import Progress, table
from scalekeys.clustering.elimination import measurements
from scalekeys.networks import Evaluation
from scalekeys.networks.measuring.key_elimination import By
from scalekeys.paper import method_templates
from scalekeys.training.data.cifar import packed
from scalekeys.training.network_source import open_network
from surgery_sections.halves import Halves

HELP = "greedy elimination of candidate keys by accuracy, beside random draws, clusters and noise"
COUNTS = (32, 16, 8, 6)
"""How many of 64 candidates remain: 50 %, 25 %, 12.5 % (the eight), and 10 %."""

CIFAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10_jpeg.npz"
_NETWORKS = ("mcunet", "cifar")
_ELIMINATIONS = ("accuracy", "outputs", "responses")


@dataclass(frozen=True)
class KeySet:
    """Keys to evaluate: one stack for each half of the images on which they were chosen."""

    source: str
    count: int
    seed: int | None
    keys: Sequence[Tensor]

    @property
    def name(self) -> str:
        return f"{self.source} {self.count}" + ("" if self.seed is None else f" seed {self.seed}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", choices=_NETWORKS, default=_NETWORKS)
    parser.add_argument("--candidates", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3, help="of random draws and of noise")
    parser.add_argument("--images", type=int, default=1000, help="test images of CIFAR-10")
    parser.add_argument("--by", nargs="+", choices=_ELIMINATIONS, default=_ELIMINATIONS)
    parser.add_argument("--keep", required=True, help="folder for what was done")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    results: dict[str, list[dict[str, Any]]] = {"original": [], "curve": [], "comparisons": []}
    for network in arguments.networks:
        halves, store = _halves(network, arguments.images), _Store(Path(arguments.keep) / network)
        candidates = sk.cluster(sk.extract(halves.network), arguments.candidates, controls=False).filters
        sets = list(_sets(halves, candidates, arguments, store))
        progress = Progress(f"{network}: evaluations", len(sets))
        found = {}
        for one in sets:
            found[one.name] = _evaluated(halves, one, store)
            progress.advance(1)
        results["original"].append({"network": network} | halves.original.to_dict())
        results["curve"] += [_row(network, halves, one, found[one.name]) for one in sets]
        results["comparisons"] += _comparisons(network, sets, found)
    return results


def show(results: dict[str, Any]) -> None:
    table("originals", [{name: row[name] for name in ("network", "count", "top1")} for row in results["original"]])
    table("top-1 in percent with so many keys, on images that chose nothing", results["curve"])
    table("differences on the same images, in points of top-1", results["comparisons"])


class _Store:
    """What was done, one JSON file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        path = self._folder / f"{name.replace(' ', '-')}.json"
        if not path.exists():
            text = json.dumps(compute())
            path.with_suffix(".part").write_text(text)
            path.with_suffix(".part").replace(path)
        return json.loads(path.read_text())


def _halves(network: str, images: int) -> Halves:
    if network == "mcunet":
        return Halves.of_mcunet()
    opened = open_network("builtin:cifar-convnext")
    assert opened.preprocessing is not None
    found, _ = packed(CIFAR, "test")
    mean, std = (
        torch.tensor(numbers)[:, None, None] for numbers in (opened.preprocessing.mean, opened.preprocessing.std)
    )
    pixels, labels = found[torch.arange(images)]
    return Halves(opened.module, (pixels.float() / 255 - mean) / std, labels)


def _sets(halves: Halves, candidates: Tensor, arguments: argparse.Namespace, store: _Store) -> Iterator[KeySet]:
    """Give all keys that are evaluated: eliminated ones, and everything that stands beside them."""
    bank, everything = sk.extract(halves.network), len(candidates)
    yield KeySet("candidates", everything, None, [candidates] * 2)
    for by in arguments.by:
        chosen = [
            store.get(f"elimination {by} {half}", partial(_eliminated, halves, candidates, by, half)) for half in (0, 1)
        ]
        for count in COUNTS:
            yield KeySet(f"by {by}", count, None, [candidates[torch.tensor(order[:count])] for order in chosen])
    for count in COUNTS:
        found = sk.cluster(bank, count, controls=False).filters
        yield KeySet("clusters", count, None, [found] * 2)
    yield KeySet("published", 8, None, [sk.master_keys()] * 2)
    yield KeySet("families B", 8, None, [method_templates("B")] * 2)
    like = sk.FilterBank.from_tensor(candidates)
    for seed in range(arguments.seeds):
        order = torch.randperm(everything, generator=torch.Generator().manual_seed(seed))
        white, matched = (
            make(like, seed=seed).layers[0].kernels for make in (sk.white_noise_like, sk.matched_noise_like)
        )
        for count in COUNTS:
            yield KeySet("random draw", count, seed, [candidates[order[:count]]] * 2)
        for source, noise in (("white noise", white), ("matched noise", matched)):
            yield KeySet(source, 8, seed, [noise[:8]] * 2)


def _eliminated(halves: Halves, candidates: Tensor, by: By, half: int) -> list[int]:
    """Return the candidates from the one that remains longest, as one half of the images tells."""
    total = measurements(len(candidates), COUNTS[-1])
    progress = Progress(f"elimination by {by}, half {half}", total)
    found = sk.eliminate_keys(
        halves.network, candidates, halves.labelled(half), keep=COUNTS[-1], by=by, progress=progress.advance
    )
    return found.order.tolist()


def _evaluated(halves: Halves, one: KeySet, store: _Store) -> Evaluation:
    """Evaluate the network with some keys."""

    def correct() -> list[list[bool]]:
        bank = sk.extract(halves.network)
        found = halves.matched([sk.replace(halves.network, sk.assign_keys(bank, keys)) for keys in one.keys])
        return [found.correct1.tolist(), found.correct5.tolist()]

    top1, top5 = store.get(one.name, correct)
    return Evaluation(torch.tensor(top1), torch.tensor(top5), halves.original.labels, halves.original.classes)


def _row(network: str, halves: Halves, one: KeySet, found: Evaluation) -> dict[str, Any]:
    bank = sk.extract(halves.network)
    correlations = torch.cat([sk.assign_keys(bank, keys).r2 for keys in one.keys]).sqrt()
    correlations = correlations[correlations.isfinite()]
    difference = found.difference(halves.original)
    return {
        "network": network,
        "keys": one.source,
        "count": one.count,
        "seed": one.seed,
        "top1": _percent(found.top1),
        "less_original": _percent(difference.value),
        "from": _percent(difference.interval[0]),
        "to": _percent(difference.interval[1]),
        **{f"coverage {x} %": _percent(float((correlations >= x).double().mean())) for x in (0.8, 0.9, 0.95)},
    }


def _comparisons(network: str, sets: Sequence[KeySet], found: dict[str, Evaluation]) -> list[dict[str, Any]]:
    """Compare the eliminations with everything of as many keys, and with each other."""
    mine = [one for one in sets if one.source.startswith("by ")]
    rows = []
    for one in mine:
        others = (other for other in sets if other.count == one.count and other.source > one.source)
        for other in others:
            difference = found[one.name].difference(found[other.name])
            low, high = difference.interval
            rows.append(
                {
                    "network": network,
                    "keys": one.source,
                    "count": one.count,
                    "against": other.source,
                    "seed": other.seed,
                }
                | {"points": _percent(difference.value), "from": _percent(low), "to": _percent(high)}
            )
    return rows


def _percent(share: float) -> float:
    return round(100 * share, 1)
