"""Networks timed in turn, on one thread, in PyTorch and onnxruntime."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

Step: TypeAlias = Callable[[], Any]
_WARM = 3


def torch_step(network: nn.Module, image: Tensor) -> Step:
    network, image = network.to(memory_format=torch.channels_last), image.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def step() -> None:
        with torch.inference_mode():
            network(image)

    return step


def onnxruntime_step(network: nn.Module, image: Tensor) -> Step:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        torch.onnx.export(network, (image,), str(path), input_names=["image"], dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    inputs = {"image": image.numpy()}
    return lambda: session.run(None, inputs)


STEPS: Mapping[str, Callable[[nn.Module, Tensor], Step]] = {"torch": torch_step, "onnxruntime": onnxruntime_step}


def in_turn(steps: Mapping[str, Step], repeats: int) -> list[dict[str, Any]]:
    """Time each step in turn, the order reversed every other time, and compare each with the first beside it."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(repeats + _WARM):
        for name in list(steps)[:: 1 if number % 2 else -1]:
            start = time.process_time()
            steps[name]()
            times[name].append(1e3 * (time.process_time() - start))
    first = times[next(iter(steps))][_WARM:]
    rows = []
    for name, mine in times.items():
        ratios = sorted(own / its for own, its in zip(mine[_WARM:], first, strict=True))
        low, high = (ratios[round(place * (len(ratios) - 1))] for place in (0.25, 0.75))
        rows.append(
            {
                "network": name,
                "ms": round(statistics.median(mine[_WARM:]), 3),
                "ratio": round(statistics.median(ratios), 4),
                "quartiles": [round(low, 4), round(high, 4)],
            }
        )
    return rows
