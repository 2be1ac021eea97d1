"""How long a training step takes with constrained filters, beside the same network with free ones.

A step is forward, backward and AdamW, channels last, in float32 and under autocast to bfloat16. Steps of the networks
alternate within one run, and the figures are ratios to the free network of medians, in processor time, which other
work on the machine disturbs less than wall time; wall time stands beside it. As a control, so does the network that is
baked, which has nothing to compute: how far its ratio is from 1 is how far the others may be off.
"""

import argparse
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import scalekeys as sk
from fit_sections.record import Progress, table
from surgery_sections.convnext import convnext

HELP = "time training steps with constrained filters beside the free network"
_TARGET = 1.05
_TINY = {"depths": (3, 3, 9, 3), "widths": (96, 192, 384, 768)}
_ATTO = {"depths": (2, 2, 6, 2), "widths": (40, 80, 160, 320)}


@dataclass(frozen=True)
class Case:
    """A network and the images of a batch."""

    network: Mapping[str, tuple[int, ...]]
    stem: int
    batch: int
    side: int


CASES = {
    "tiny, 16 of 224 px": Case(_TINY, 4, 16, 224),
    "tiny, 64 of 32 px, first maps of 16": Case(_TINY, 2, 64, 32),
    "tiny, 64 of 32 px, first maps of 8": Case(_TINY, 4, 64, 32),
    "atto, 64 of 32 px, first maps of 32": Case(_ATTO, 1, 64, 32),
    "atto, 64 of 32 px, first maps of 16": Case(_ATTO, 2, 64, 32),
    "atto, 64 of 32 px, first maps of 8": Case(_ATTO, 4, 64, 32),
}
CONSTRAINTS = {"ideal8": "scales+amplitudes", "jet2": "scales+coefficients"}


class Network:
    """A network in training, and how long its steps took."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(learned, lr=1e-4)
        self.wall: list[float] = []
        self.processor: list[float] = []

    def step(self, images: Tensor, labels: Tensor, *, mixed: bool) -> None:
        wall, processor = time.perf_counter(), time.process_time()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            outputs = self._network(images)
        F.cross_entropy(outputs.float(), labels).backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.wall.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--precisions", nargs="*", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument(
        "--repeats", type=int, default=9, help="steps of each network that count, after two that do not"
    )
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    rows = []
    progress = Progress("steps", len(arguments.cases) * len(arguments.precisions) * (arguments.repeats + 2))
    for name in arguments.cases:
        for precision in arguments.precisions:
            networks = _networks(CASES[name], arguments.seed)
            _run_steps(networks, CASES[name], arguments, progress, mixed=precision == "bfloat16")
            rows += _rows({"network": name, "precision": precision}, networks)
    return {"target": _TARGET, "steps": rows}


def show(results: dict[str, Any]) -> None:
    hidden = ("free_wall_range_s",)
    rows = [{name: value for name, value in row.items() if name not in hidden} for row in results["steps"]]
    table(f"time of a training step, in that of the free network (aim: {results['target']})", rows)


def _networks(case: Case, seed: int) -> dict[str, Network]:
    free = convnext(case.network["depths"], case.network["widths"], case.stem, seed=seed)
    bank = sk.extract(free)
    networks = {"free": free}
    for model, learn in CONSTRAINTS.items():
        networks[f"{model}, {learn}"] = sk.constrain(free, sk.fit(bank, model), learn)  # type: ignore[arg-type]
    networks["baked"] = sk.bake(networks["ideal8, scales+amplitudes"])
    return {name: Network(network) for name, network in networks.items()}


def _run_steps(
    networks: Mapping[str, Network], case: Case, arguments: argparse.Namespace, progress: Progress, *, mixed: bool
) -> None:
    draw = torch.Generator().manual_seed(arguments.seed)
    images = torch.randn(case.batch, 3, case.side, case.side, generator=draw)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(1000, (case.batch,), generator=draw)
    for repeat in range(arguments.repeats + 2):
        order = list(networks.values())
        for network in order if repeat % 2 else reversed(order):
            network.step(images, labels, mixed=mixed)
        progress.advance(1)


def _rows(case: dict[str, Any], networks: Mapping[str, Network]) -> list[dict[str, Any]]:
    """Return one row a network, leaving out the first two steps."""
    free, rows = networks["free"], []
    for name, network in networks.items():
        if network is free:
            continue
        ratio = statistics.median(network.processor[2:]) / statistics.median(free.processor[2:])
        rows.append(
            case
            | {
                "filters": name,
                "free_s": statistics.median(free.wall[2:]),
                "free_wall_range_s": [min(free.wall[2:]), max(free.wall[2:])],
                "by_processor": round(ratio, 4),
                "by_wall": round(statistics.median(network.wall[2:]) / statistics.median(free.wall[2:]), 4),
                "reached": ratio <= _TARGET,
            }
        )
    return rows
