"""What a network is without its dead filters, by its weights alone and by images, and how fast.

Runs of the network before and after alternate, one image at a time, with one thread in torch and in onnxruntime, in
processor time; the ratio is the median of those of neighbouring runs, with its quartiles. As a control a second copy of
the network stands beside itself: how far its ratio is from 1, the other may be off. By images: filters whose outputs
are the same for all of the first images are removed as well, and outputs are compared on the images behind them.
Operators are those of the graph that onnxruntime runs; it computes convolutions either on blocks of channels or one
channel at a time, and reorders tensors between the two.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from torch import Tensor, nn

import imagenet_sample
import scalekeys as sk
from fit_sections.record import table
from scalekeys.checkpoints.formats.onnx_model.exporting import export_onnx
from scalekeys.networks import Pruning
from scalekeys.networks.measuring.same_outputs import Reference
from timing import in_both_runtimes

_BATCH = 16


class Pruned:
    """A network and its inputs.

    Parameters
    ----------
    name : str
    build : callable
        Returns the network.
    sides : pair of int
        Rows and columns of the image that is timed, and of those on which outputs are compared.
    prepare : callable
        Makes inputs of images with values from 0 to 1.
    """

    def __init__(
        self, name: str, build: Callable[[], nn.Module], sides: tuple[int, int], prepare: Callable[[Tensor], Tensor]
    ) -> None:
        self.HELP = f"remove the dead filters of {name}"
        self.name, self.build, self.sides, self.prepare = name, build, sides, prepare

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--by", nargs="*", default=["weights", "images"], choices=["weights", "images"])
        parser.add_argument("--multiple-of", type=int, nargs="*", default=[1, 8], help="as of sk.prune_dead")
        parser.add_argument("--runs", type=int, default=21, help="of each network that are timed")
        parser.add_argument("--seen", type=int, default=32, help="images that tell which filters nothing moves")
        parser.add_argument("--others", type=int, default=32, help="images behind them on which outputs are compared")
        parser.add_argument("--seed", type=int, default=0)

    def run(self, arguments: argparse.Namespace) -> dict[str, Any]:
        network = self.build()
        pictures = imagenet_sample.read(limit=arguments.seen + arguments.others)[0] / 2 + 0.5
        timed, images = (self.prepare(nn.functional.interpolate(pictures, side, mode="area")) for side in self.sides)
        seen, others = images[: arguments.seen], images[arguments.seen :]
        reference = Reference(network, others[:_BATCH], list(others[_BATCH:].split(_BATCH)))
        rows = []
        for by, multiple_of in product(arguments.by, arguments.multiple_of):
            given = list(seen.split(_BATCH)) if by == "images" else None
            pruning = sk.prune_dead(network, seen[:2], images=given, multiple_of=multiple_of, seed=arguments.seed)
            figures = {"by": by, "multiple_of": multiple_of, **_figures(pruning)}
            figures["on_other_images"] = reference.difference(pruning.module)
            rows.append(figures | _speed(network, pruning.module, timed[:1], arguments.runs))
        return {"network": self.name, "input": list(timed[:1].shape), "pruned": rows}

    def show(self, results: dict[str, Any]) -> None:
        rows = []
        for found in results["pruned"]:
            row = {"dead by": found["by"], **{key: found[key] for key in ("multiple_of", "dead", "removed")}}
            for key in ("filters", "parameters", "multiplications"):
                row[key] = "{:,} -> {:,}".format(*found[key])
            row |= {"difference": found["difference"], "on other images": found["on_other_images"]}
            rows.append(row | {f"{key} time": each["ratio"] for key, each in found["speed"].items()})
        table(f"{self.name}, one input of {results['input']}", rows)
        for found in results["pruned"]:
            title = f"by {found['by']}, multiple of {found['multiple_of']}"
            table(f"left, {title}", [{"reason": reason, "filters": count} for reason, count in found["left"].items()])
            operators = [{"network": name, **counts} for name, counts in found["operators"].items()]
            table(f"operators of onnxruntime, {title}", operators)


def _figures(pruning: Pruning) -> dict[str, Any]:
    return {
        "dead": len(pruning.dead),
        "kinds": dict(Counter(one.kind for one in pruning.dead)),
        "removed": pruning.removed,
        "left": pruning.reasons,
        "filters": pruning.filters,
        "parameters": pruning.parameters,
        "multiplications": pruning.multiplications,
        "difference": pruning.difference,
        "sizes": [asdict(size) for size in pruning.sizes],
    }


def _speed(before: nn.Module, after: nn.Module, image: Tensor, runs: int) -> dict[str, Any]:
    """Return how long the pruned network takes, as a ratio, with the control, and what onnxruntime makes of both."""
    networks = {"before": before, "control": deepcopy(before), "after": after}
    found = {
        runtime: {
            "before_ms": timings["before"].milliseconds,
            "ratio": timings["after"].ratio,
            "first_quartile": timings["after"].low,
            "third_quartile": timings["after"].high,
            "control": timings["control"].ratio,
        }
        for runtime, timings in in_both_runtimes(networks, image, runs).items()
    }
    with tempfile.TemporaryDirectory() as folder:
        operators = {}
        for name in ("before", "after"):
            path = Path(folder) / f"{name}.onnx"
            export_onnx(networks[name], image.repeat(2, 1, 1, 1), path, label=path)
            operators[name] = _operators(path)
    return {"speed": found, "operators": operators}


def _operators(path: Path) -> dict[str, int]:
    """Count the convolutions on blocks of channels and on single ones, and the reorderings, that onnxruntime runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_suffix(".optimized.onnx"))
    onnxruntime.InferenceSession(path, options)
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    kinds = Counter("blocked" if one.domain.endswith("nchwc") else "plain" for one in nodes if "Conv" in one.op_type)
    return {
        "blocked convolutions": kinds["blocked"],
        "plain convolutions": kinds["plain"],
        "reorderings": sum(one.op_type.startswith("Reorder") for one in nodes),
    }
