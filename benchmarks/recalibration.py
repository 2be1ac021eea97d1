"""What replacing every depthwise filter costs, and how much of it new statistics give back.

    python benchmarks/recalibration.py ../shared/weights/mcunet-320kb-1mb_imagenet.pth --models ideal8 jet2

The 500 images of ``../shared/data`` are cut into two halves, every other image: statistics are taken on images of one
half, filters are fitted to responses on 100 of them, and the network is evaluated on the other half; and the other way
round; figures are of all 500 images, each evaluated with statistics and fits of the half that does not hold it. Some of
the images may be training images of the network, so that differences count and levels do not. Beside
``sk.recalibrate`` stands ``torch.optim.swa_utils.update_bn``. Results are printed and replace those of the same models
in ``results/recalibration.json``.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

import imagenet_sample
import mcunet
import scalekeys as sk
from fit_sections.record import machine, save, table, versions
from scalekeys.networks import Evaluation

RESULTS = Path(__file__).parent / "results" / "recalibration.json"
BATCH = 50
RESPONSES = 100

Batches: TypeAlias = Sequence[tuple[Tensor, Tensor]]


def updated(network: nn.Module, batches: Batches) -> nn.Module:
    """Return a copy with cumulative averages of what batches have in training mode."""
    other = deepcopy(network)
    torch.optim.swa_utils.update_bn([images for images, _ in batches], other)
    return other


@dataclass
class Pooled:
    """The evaluations of both halves, and the seconds that the statistics took."""

    halves: list[Evaluation] = field(default_factory=list)
    seconds: float = 0.0

    def joined(self) -> Evaluation:
        correct1, correct5, labels = (
            torch.cat([getattr(half, name) for half in self.halves]) for name in ("correct1", "correct5", "labels")
        )
        return Evaluation(correct1, correct5, labels, self.halves[0].classes)


def measure(original: nn.Module, model: str, halves: Sequence[Batches], images: int) -> dict[str, Pooled]:
    """Evaluate each way of taking statistics on so many images."""
    pooled: dict[str, Pooled] = {}
    for seen, other in (halves, halves[::-1]):
        network = replaced(original, model, seen[: RESPONSES // BATCH])
        for way, change in ways(network, original).items():
            start = time.perf_counter()
            changed = change(seen[: images // BATCH])
            one = pooled.setdefault(way, Pooled())
            one.seconds += time.perf_counter() - start
            one.halves.append(sk.evaluate(changed, other))
    return pooled


def ways(network: nn.Module, original: nn.Module) -> dict[str, Callable[[Batches], nn.Module]]:
    return {
        "as it is": lambda _: network,
        "update_bn": lambda few: updated(network, few),
        "recalibrate": lambda few: sk.recalibrate(network, few),
        "recalibrate, reference": lambda few: sk.recalibrate(network, few, original),
    }


def rows_of(model: str, images: int, pooled: dict[str, Pooled]) -> list[dict[str, Any]]:
    baseline = pooled["update_bn"].joined()
    rows = []
    for way, one in pooled.items():
        found = one.joined()
        difference = found.difference(baseline)
        rows.append(
            {
                "model": model,
                "images": images,
                "statistics": way,
                "top1": round(100 * found.top1, 1),
                "top5": round(100 * found.top5, 1),
                "against_update_bn": round(100 * difference.value, 1),
                "interval": [round(100 * end, 1) for end in difference.interval],
                "seconds": round(one.seconds / 2, 1),
            }
        )
    return rows


def replaced(network: nn.Module, model: str, batches: Batches) -> nn.Module:
    """Replace all filters by a model, fitted to responses if its name ends so; ``none`` stands for the original."""
    name, _, responses = model.partition("/")
    if name == "none":
        return network
    bank = sk.extract(network)
    if not responses:
        return sk.replace(network, sk.fit(bank, name))
    return sk.replace(
        network, sk.fit(bank, name, criterion="response", covariance=sk.patch_covariance(network, batches))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--models", nargs="+", default=["none", "ideal8", "ideal8/response", "jet2", "jet2/response"])
    parser.add_argument("--images", nargs="+", type=int, default=[100, 250])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    original = mcunet.build(checkpoint=options.checkpoint)
    images, labels = imagenet_sample.read()
    halves = [list(zip(images[start::2].split(BATCH), labels[start::2].split(BATCH), strict=True)) for start in (0, 1)]
    for model in options.models:
        rows: list[dict[str, Any]] = []
        for count in options.images:
            rows += rows_of(model, count, measure(original, model, halves, count))
        table(model, rows)
        save(model, {"machine": machine(), "versions": versions(), "rows": rows}, RESULTS)


if __name__ == "__main__":
    main()
