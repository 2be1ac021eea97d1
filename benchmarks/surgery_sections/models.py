"""What is left of MCUNet's accuracy when all of its depthwise filters are replaced by models, without any training.

Each model is fitted to weights, to responses, or inside the network layer by layer (``sk.fit_in_network``), with the
images of one half, and the network evaluated on the other half, as it is, with batch norms whose statistics are taken
anew, and with batch norms whose outputs are matched to those of the original network.
"""

import argparse
import time
from typing import Any

from torch import Tensor

import scalekeys as sk
from fit_sections.record import Progress, table
from surgery_sections.halves import Halves, top1_of

HELP = "replace all filters of MCUNet by models, and evaluate it on the other half of the images"
_CASES = (
    "noise/weights",
    "keys/weights",
    "ideal8/weights",
    "ideal8/responses",
    "jet2/weights",
    "jet2/responses",
    "jet2/network",
    "jet3/responses",
    "sparse6/weights",
    "sparse6/responses",
    "sparse6/network",
    "sparse10/network",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", nargs="+", default=_CASES, help="model/weights, model/responses or model/network")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    halves, rows = Halves(), []
    progress = Progress("models", len(arguments.cases))
    for case in arguments.cases:
        model, _, to = case.partition("/")
        start = time.perf_counter()
        models = [_modelled(halves, model, to, images) for images in halves.each()]
        seconds = (time.perf_counter() - start) / 2
        ways = halves.ways([sk.replace(halves.network, one) for one in models])
        chosen = sk.replacement(models[0])
        rows.append(
            {
                "model": model,
                "fitted_to": to,
                "numbers": int(models[0].numbers.max()),
                "share_of_parameters": round(float(chosen.numbers.sum()) / 104_408, 3),
                **top1_of(ways, halves.original),
                "seconds": round(seconds, 1),
            }
        )
        progress.advance(1)
    return {"original_top1": round(100 * halves.original.top1, 1), "rows": rows}


def show(results: dict[str, Any]) -> None:
    table(f"top-1 in percent; the original has {results['original_top1']}", results["rows"])


def _modelled(halves: Halves, model: str, to: str, images: list[Tensor]) -> Any:
    """Model the filters by means of the images of one half."""
    if to == "network":
        return sk.fit_in_network(halves.network, images, model)
    bank = sk.extract(halves.network)
    if to == "weights":
        return sk.model_filters(bank, model)
    return sk.fit(bank, model, criterion="response", covariance=sk.patch_covariance(halves.network, images))
