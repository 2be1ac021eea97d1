"""How much faster networks with random weights are, predicted from their layers and measured, at rank 1, 2 and 3.

``multiplications`` and ``all``: every layer separated that then multiplies less often, as a share of the
multiplications and of the time before. ``predicted`` and ``measured``: only the layers that are faster by themselves,
the time predicted from that of the layers, and measured; a network that was not faster stays as it was. One image of
224 pixels on one thread, in turn; ``control`` is the network beside itself.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn

from fit_sections.record import table
from scalekeys.networks.changing.separate.plan import Goal, planned
from scalekeys.networks.changing.separate.separate import Separator
from scalekeys.networks.changing.separate.timing import Stopwatch, Times
from scalekeys.networks.measuring.same_outputs import multiplications
from scalekeys.shapes import size_text
from separate_sections.networks import LARGE, TIMM, large_kernels, of_timm

_SIDE = 224


class Speed:
    """A set of networks, by name.

    What a run measures takes the place of the rows of the same network, runtime and rank in the file.
    """

    def __init__(
        self, section: str, help_: str, networks: dict[str, Callable[[], nn.Module]], ranks: tuple[int, ...]
    ) -> None:
        self.HELP, self._section, self._networks, self._ranks = help_, section, networks, ranks

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--networks", nargs="*", default=list(self._networks), choices=list(self._networks))
        parser.add_argument("--runtimes", nargs="*", default=["torch", "channels-last", "onnxruntime"])
        parser.add_argument("--ranks", type=int, nargs="*", default=list(self._ranks))

    def run(self, arguments: argparse.Namespace) -> dict[str, Any]:
        rows: list[dict[str, Any]] = []
        known = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
        before = known.get(self._section, {}).get("rows", [])
        for name in arguments.networks:
            for runtime in arguments.runtimes:
                rows += _measured(name, self._networks[name](), runtime, arguments.ranks)
                table(name, rows[-len(arguments.ranks) :])
        found = {(row["network"], row["runtime"], row["rank"]): row for row in before + rows}
        order = sorted(found, key=lambda key: (list(self._networks).index(key[0]), key[1:]))
        return {"rows": [found[key] for key in order]}

    def show(self, results: dict[str, Any]) -> None:
        table("time with separable layers, as a share of the time before", results["rows"])


def _measured(name: str, network: nn.Module, runtime: str, ranks: list[int]) -> list[dict[str, Any]]:
    image = torch.randn(1, 3, _SIDE, _SIDE, generator=torch.Generator().manual_seed(0))
    if runtime == "channels-last":
        image = image.contiguous(memory_format=torch.channels_last)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    watch = Stopwatch("torch" if runtime == "channels-last" else runtime)
    timed = Separator(network, image, None, watch, None, None)
    free = Separator(network, None, None, None, None, None)
    count = multiplications(network, image)
    before = watch.ready(network, image)
    control = before.times(watch.ready(network, image))
    rows = []
    for rank in ranks:
        every = free.separation(Goal(rank=rank), None)
        plan, _ = planned(timed.candidates, Goal(rank=rank), None)
        layers = [one.times(rank) or (0.0, 0.0) for one in timed.candidates if one.name in plan]
        chosen = timed.separation(Goal(rank=rank), None)
        rows.append(
            {
                "network": name,
                "runtime": runtime,
                "rank": rank,
                "kernels": ", ".join(sorted({size_text(one.kernel_size) for one in every.layers})),
                "ms": round(control.before, 2),
                "control": _shown(control),
                "multiplications": round(multiplications(every.module, image) / count, 3),
                "all": _shown(before.times(watch.ready(every.module, image))) if every.layers else None,
                "layers": f"{len(chosen.layers)}/{len(every.layers)}",
                "predicted": round(1 - sum(one - other for one, other in layers) / control.before, 3),
                "measured": None if chosen.times is None else _shown(chosen.times),
            }
        )
    return rows


def _shown(times: Times) -> str:
    ratio, (low, high) = asdict(times)["ratio"], times.quartiles
    return f"{ratio:.3f} ({low:.3f} to {high:.3f})"


LARGE_KERNELS = Speed(
    "large",
    "time networks of large kernels",
    {name: partial(large_kernels, *sides) for name, sides in LARGE.items()},
    (1, 2, 3),
)
ARCHITECTURES = Speed("timm", "time architectures of timm", {name: partial(of_timm, name) for name in TIMM}, (1, 2))
