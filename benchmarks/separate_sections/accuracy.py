"""MCUNet with separable layers: what it loses, and its time.

The 500 images of ``imagenet_sample`` in two halves: outer products are fitted and statistics matched on one, accuracy
is measured on the other, both ways. ``all``: every layer that then multiplies less often; ``faster``: those that are
faster in onnxruntime. ``energy``: outer products that are nearest to the kernels, without images.
"""

import argparse
from typing import Any

import torch
from torch import nn

import mcunet
from fit_sections.record import table
from scalekeys.networks.changing.separate.factors import low_rank, most_rank
from scalekeys.networks.changing.separate.plan import Goal, Plan, planned
from scalekeys.networks.changing.separate.separate import Separator
from scalekeys.networks.changing.separate.timing import Stopwatch
from surgery_sections.comparisons import beside_original, show_beside_original
from surgery_sections.halves import Halves
from timing import timed_rows

HELP = "separate MCUNet, evaluate it and time it"
RANKS = (1, 2, 3)
RANKS_BY_ENERGY, RANKS_WHERE_FASTER = (2,), (1,)
TOLERANCES = (0.01, 0.02, 0.05)
ALL, FASTER, ENERGY = "all", "faster", "all, energy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=100)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    halves = Halves.of_mcunet()
    image = torch.randn(1, 3, 176, 176, generator=torch.Generator().manual_seed(0))
    watch = Stopwatch("onnxruntime")
    separators = [Separator(halves.network, image, half, watch, None, None) for half in halves.each()]
    plans: list[tuple[str, str, list[Plan]]] = []
    for seen, ranks in ((False, RANKS_BY_ENERGY), (True, RANKS)):
        layers = ALL if seen else ENERGY
        plans += [(layers, f"rank {rank}", [_forced(one, rank, seen=seen) for one in separators]) for rank in ranks]
    goals: list[tuple[str, Goal, float | None]] = [
        (f"rank {rank}", Goal(rank=rank), None) for rank in RANKS_WHERE_FASTER
    ]
    goals += [(f"tolerance {share:g}", Goal(tolerance=share), share) for share in TOLERANCES]
    for name, goal, share in goals:
        plans.append((FASTER, name, [planned(one.candidates, goal, share)[0] for one in separators]))
    rows, found, networks = [], [], {}
    for layers, name, both in plans:
        built = [one.built(plan) for one, plan in zip(separators, both, strict=True)]
        after = halves.evaluate([whole for whole, _ in built])
        found.append(after)
        networks[f"{layers}, {name}"] = built[0][1]
        rows.append({"layers": layers, "goal": name, "separated": len(both[0]), "top1": round(100 * after.top1, 2)})
    times = _times(halves.network, networks, image, arguments.repeats)
    return beside_original(rows, found, halves.original) | {"times": times}


def show(results: dict[str, Any]) -> None:
    show_beside_original(results)
    table("one image on one thread, beside the original", results["times"])


def _forced(separator: Separator, rank: int, *, seen: bool) -> Plan:
    """Separate every layer that then multiplies less often, whether it is faster or not."""
    able = [one for one in separator.candidates if rank <= most_rank(one.filters.size)]
    return {one.name: one.of_rank(rank) if seen else low_rank(one.filters.kernels, rank) for one in able}


def _times(network: nn.Module, networks: dict[str, nn.Module], image: torch.Tensor, repeats: int) -> list[Any]:
    timed = {name: one for name, one in networks.items() if not name.startswith(ENERGY)}
    everything = {"original": network, "control": mcunet.build(checkpoint=mcunet.CHECKPOINT)} | timed
    return timed_rows(everything, image, repeats)
