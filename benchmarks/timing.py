"""Networks timed beside each other: in turn, in one process, in processor time, each run divided by its neighbour's."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scalekeys.checkpoints.formats.onnx_model.exporting import OnnxNetwork, export_onnx

WARM_UP = 3


@dataclass(frozen=True)
class Timing:
    """How long a step takes.

    Parameters
    ----------
    milliseconds : float
        The median.
    ratio, low, high : float
        Median and quartiles of the ratios of neighbouring runs, of this step to the first.
    """

    milliseconds: float
    ratio: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return {
            "ms": round(self.milliseconds, 3),
            "ratio": round(self.ratio, 4),
            "quartiles": [round(self.low, 4), round(self.high, 4)],
        }


def in_turn(steps: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, Timing]:
    """Time each step in turn, the order reversed every other time, and compare each with the first beside it."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(repeats + WARM_UP):
        for name in list(steps)[:: 1 if number % 2 else -1]:
            start = time.process_time()
            steps[name]()
            times[name].append(1e3 * (time.process_time() - start))
    first = times[next(iter(steps))][WARM_UP:]
    found = {}
    for name, mine in times.items():
        ratios = [own / its for own, its in zip(mine[WARM_UP:], first, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        found[name] = Timing(statistics.median(mine[WARM_UP:]), middle, low, high)
    return found


def in_both_runtimes(networks: Mapping[str, nn.Module], image: Tensor, repeats: int) -> dict[str, dict[str, Timing]]:
    """Time networks on one input in PyTorch, and then in onnxruntime on one thread."""
    runtimes = {"torch": networks, "onnxruntime": {name: exported(one, image) for name, one in networks.items()}}
    found = {}
    with torch.inference_mode():
        for runtime, each in runtimes.items():
            steps = {name: _step(network, image) for name, network in each.items()}
            found[runtime] = in_turn(steps, repeats)
    return found


def timed_rows(networks: Mapping[str, nn.Module], image: Tensor, repeats: int) -> list[dict[str, Any]]:
    """Time networks in both runtimes, in PyTorch with channels last, as rows of a table."""
    found = in_both_runtimes(
        {name: channels_last(one) for name, one in networks.items()}, channels_last(image), repeats
    )
    return [
        {"runtime": runtime, "network": name} | timing.to_dict()
        for runtime, each in found.items()
        for name, timing in each.items()
    ]


def exported(network: nn.Module, image: Tensor) -> OnnxNetwork:
    """Return a network as onnxruntime runs it on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_onnx(network, image.repeat(2, 1, 1, 1), path, label=path)
        return OnnxNetwork(path, threads=1)


def channels_last(part: Any) -> Any:
    """Return a network or a tensor with channels last in memory, in which depthwise layers of PyTorch are fastest."""
    return part.to(memory_format=torch.channels_last)


def _step(network: nn.Module, image: Tensor) -> Callable[[], Any]:
    return lambda: network(image)
