"""What FastDepthwise gains on a CPU: for layers of networks, forward and backward, and for steps of a training.

    OMP_NUM_THREADS=1 python benchmarks/fast_depthwise.py

With and without take turns; figures are medians of processor time, in milliseconds, and their ratio. They go into
``results/fast_depthwise.json`` with the machine and versions. Kernels of 3 x 3, which it leaves alone, are among them
as a control: their ratio tells how far the others may be off.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fit_sections.record import RESULTS, Progress, machine, save, table, versions
from scalekeys.training import FastDepthwise
from scalekeys.training.cifar_convnext import CifarConvNeXt


class Layer(NamedTuple):
    """A depthwise layer, and the images of a batch."""

    batch: int
    channels: int
    side: int
    kernel: int


LAYERS = {
    "ConvNeXt for CIFAR, stage 1": Layer(64, 48, 16, 7),
    "ConvNeXt for CIFAR, stage 2": Layer(64, 96, 8, 7),
    "ConvNeXt tiny, stage 1": Layer(8, 96, 56, 7),
    "ConvNeXt tiny, stage 4": Layer(8, 768, 7, 7),
    "EfficientNet B0, block 3": Layer(16, 240, 28, 5),
    "control, 3 x 3": Layer(16, 240, 28, 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--output", type=Path, default=RESULTS.with_name("fast_depthwise.json"))
    arguments = parser.parse_args()
    layers = _layers(arguments.repeats)
    steps = _steps(arguments.repeats)
    header = {"machine": machine(), "versions": versions(), "options": {"repeats": arguments.repeats}}
    save("gain", header | {"layers": layers, "steps": steps}, arguments.output)
    table("forward and backward of a layer", layers)
    table("a step of cifar-convnext, 64 images in bfloat16, AdamW", steps)


def _layers(repeats: int) -> list[dict[str, Any]]:
    rows = []
    progress = Progress("layers", 4 * len(LAYERS))
    for name, layer in LAYERS.items():
        for precision in (torch.bfloat16, torch.float32):
            for layout in (torch.channels_last, torch.contiguous_format):
                row = {"layer": name, "precision": _name(precision), "layout": _name(layout)}
                rows.append(row | _beside(_layer_step(layer, precision, layout), repeats))
                progress.advance(1)
    return rows


def _name(of_torch: Any) -> str:
    return str(of_torch).removeprefix("torch.")


def _layer_step(layer: Layer, precision: torch.dtype, layout: torch.memory_format) -> Callable[[], None]:
    convolution = nn.Conv2d(
        layer.channels, layer.channels, layer.kernel, padding=layer.kernel // 2, groups=layer.channels
    )
    convolution.to(precision)
    images = torch.randn(layer.batch, layer.channels, layer.side, layer.side, dtype=precision)
    images = images.contiguous(memory_format=layout).requires_grad_()
    wanted = torch.randn_like(images)

    def step() -> None:
        images.grad = None
        convolution(images).backward(wanted)

    return step


def _steps(repeats: int) -> list[dict[str, Any]]:
    return [
        {"depthwise filters": name} | _beside(_training_step(frozen=name == "frozen"), repeats)
        for name in ("free", "frozen")
    ]


def _training_step(*, frozen: bool) -> Callable[[], None]:
    torch.manual_seed(0)
    network = CifarConvNeXt(10).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not (frozen and name.endswith("depthwise.weight")))
    optimizer = torch.optim.AdamW(parameter for parameter in network.parameters() if parameter.requires_grad)
    images = torch.randn(64, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (64,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits: Tensor = network(images)
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _beside(step: Callable[[], None], repeats: int) -> dict[str, Any]:
    """Time a step with and without, in turn, after one of each that does not count."""
    times: dict[str, list[float]] = {"torch_ms": [], "fast_ms": []}
    for _ in range(repeats + 1):
        for name, context in (("torch_ms", nullcontext()), ("fast_ms", FastDepthwise())):
            with context:
                start = time.process_time()
                step()
                times[name].append((time.process_time() - start) * 1e3)
    medians = {name: median(values[1:]) for name, values in times.items()}
    return medians | {"times_as_fast": medians["torch_ms"] / medians["fast_ms"]}


if __name__ == "__main__":
    main()
