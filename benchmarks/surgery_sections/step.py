"""How long a training step takes with constrained filters, beside the same network with free ones.

A step is forward, backward and AdamW, channels last, in float32 and under autocast to bfloat16. Steps of the networks
alternate within one run, and the figures are medians of the ratios of one step to that of the free network beside it,
in processor time, which other work on the machine disturbs less than wall time; wall time stands beside it. As a
control, so does the network that is baked, which has nothing to compute: how far its ratio is from 1, the others may be
off. What constrained weights take by themselves, and the optimizer, whose parameters they are more of, is measured
apart, after the steps.
"""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

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
    steps: int
    """Of each network that count, after one that does not."""


CASES = {
    "tiny, 16 of 224 px": Case(_TINY, 4, 16, 224, 3),
    "tiny, 64 of 32 px, maps of 8": Case(_TINY, 4, 64, 32, 11),
    "atto, 64 of 32 px, maps of 32": Case(_ATTO, 1, 64, 32, 7),
    "atto, 64 of 32 px, maps of 16": Case(_ATTO, 2, 64, 32, 15),
    "atto, 64 of 32 px, maps of 8": Case(_ATTO, 4, 64, 32, 25),
}
"""The maps are those of the first blocks."""

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

    def parts(self) -> tuple[float, float, float]:
        """Return the processor time of all constrained weights, of their gradients, and of AdamW, in seconds."""
        layers = [layer for layer in self._network.modules() if parametrize.is_parametrized(layer)]
        start = time.process_time()
        for hook in self._network._forward_pre_hooks.values():  # which compute filters before a pass
            hook(self._network, ())
        weights = [weight for layer in layers if isinstance(weight := layer.weight, Tensor)]
        for forget in self._network._forward_hooks.values():
            forget(self._network, (), None)
        forward = time.process_time()
        if weights:
            torch.autograd.backward(weights, list(map(torch.ones_like, weights)))
        backward = time.process_time()
        for group in self._optimizer.param_groups:
            for one in group["params"]:
                one.grad = torch.zeros_like(one)
        gradients = time.process_time()
        self._optimizer.step()
        end = time.process_time()
        self._optimizer.zero_grad()
        return forward - start, backward - forward, end - gradients


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--precisions", nargs="*", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--most", type=int, default=25, help="steps of each network, where a case has more")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    rows, parts = [], []
    for name in arguments.cases:
        case = CASES[name]
        steps = min(case.steps, arguments.most)
        for precision in arguments.precisions:
            networks = _networks(case, arguments.seed)
            _run_steps(networks, case, steps, arguments.seed, mixed=precision == "bfloat16")
            case_of = {"network": name, "precision": precision}
            rows += [case_of | row | {"steps": steps} for row in _rows(networks)]
            parts += [case_of | row for row in _parts(networks, steps)]
    return {"target": _TARGET, "steps": rows, "parts": parts}


def show(results: dict[str, Any]) -> None:
    table(f"time of a training step, in that of the free network (aim: {results['target']})", results["steps"])
    table("processor time of parts of a step, in ms", results["parts"])


def _networks(case: Case, seed: int) -> dict[str, Network]:
    free = convnext(case.network["depths"], case.network["widths"], case.stem, seed=seed)
    bank = sk.extract(free)
    networks = {"free": free}
    for model, learn in CONSTRAINTS.items():
        networks[f"{model}, {learn}"] = sk.constrain(free, sk.fit(bank, model), learn)  # type: ignore[arg-type]
    networks["baked"] = sk.bake(networks["ideal8, scales+amplitudes"])
    return {name: Network(network) for name, network in networks.items()}


def _run_steps(networks: Mapping[str, Network], case: Case, steps: int, seed: int, *, mixed: bool) -> None:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(case.batch, 3, case.side, case.side, generator=draw)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(1000, (case.batch,), generator=draw)
    progress = Progress(f"{case.batch} of {case.side} px", steps + 1)
    order = list(networks.values())
    for number in range(steps + 1):
        for network in order if number % 2 else reversed(order):
            network.step(images, labels, mixed=mixed)
        progress.advance(1)


def _rows(networks: Mapping[str, Network]) -> list[dict[str, Any]]:
    """Return one row a network but the free one, leaving out the first step."""
    free, rows = networks["free"], []
    for name, network in networks.items():
        if network is free:
            continue
        ratio = _ratio(network.processor, free.processor)
        rows.append(
            {
                "filters": name,
                "free_s": statistics.median(free.processor[1:]),
                "by_processor": ratio,
                "quartiles": _quartiles(network.processor, free.processor),
                "by_wall": _ratio(network.wall, free.wall),
                "reached": ratio <= _TARGET,
            }
        )
    return rows


def _parts(networks: Mapping[str, Network], count: int) -> list[dict[str, Any]]:
    """Return one row a network with medians over so many turns after one that does not count."""
    turns = [{name: network.parts() for name, network in networks.items()} for _ in range(count + 1)][1:]
    rows = []
    for name in networks:
        medians = (statistics.median(times) for times in zip(*(turn[name] for turn in turns), strict=True))
        weights, gradients, adamw = (round(1e3 * seconds, 2) for seconds in medians)
        rows.append({"filters": name, "weights_ms": weights, "gradients_ms": gradients, "adamw_ms": adamw})
    return rows


def _quartiles(times: Sequence[float], unit: Sequence[float]) -> list[float]:
    ratios = [mine / its for mine, its in zip(times[1:], unit[1:], strict=True)]
    return [round(quartile, 4) for quartile in statistics.quantiles(ratios)] if len(ratios) > 1 else []


def _ratio(times: Sequence[float], unit: Sequence[float]) -> float:
    return round(statistics.median(mine / its for mine, its in zip(times[1:], unit[1:], strict=True)), 4)
