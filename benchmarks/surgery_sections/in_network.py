"""MCUNet with filters that are fitted inside the network (``sk.fit_in_network``): time and accuracy.

All filters are replaced by a model that is fitted on the images of one half, the statistics of batch norms are matched
on the same half, and top-1 is measured on the other. The control is the plain fit of the same model to responses. Times
are those of the processor, also in units of one pass of the same images through the network. The error of the outputs
is their mean squared difference from those of the original, as a share of the variance of these over the classes.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import scalekeys as sk
from fit_sections.record import Progress, table
from scalekeys.fitting import Fit
from surgery_sections.halves import Halves

HELP = "fit all filters of MCUNet inside the network"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--models", nargs="+", default=("sparse6", "jet2"))
    parser.add_argument("--halves", type=int, choices=(1, 2), default=2, help="fit on the first half, or on each")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    halves, rows = Halves.of_mcunet(), []
    mine = list(halves.each())[: arguments.halves]
    progress = Progress("fits", 2 * len(mine) * len(arguments.models))
    for model in arguments.models:
        for name, fitted in (("in the network", sk.fit_in_network), ("to responses", _plain)):
            for index, images in enumerate(mine):
                rows.append(
                    {"model": model, "fit": name, "half": index} | _measured(halves, index, images, fitted, model)
                )
                progress.advance(1)
    return {"rows": rows}


def _plain(network: torch.nn.Module, images: list[Tensor], model: str) -> Fit:
    covariance = sk.patch_covariance(network, images)
    return sk.fit(sk.extract(network), model, criterion="response", covariance=covariance)


def _measured(
    halves: Halves, index: int, images: list[Tensor], fitted: Callable[..., Fit], model: str
) -> dict[str, Any]:
    others = halves.labelled(1 - index)
    start = time.process_time()
    with torch.no_grad():
        for batch in images:
            halves.network(batch)
    one_pass = time.process_time() - start
    start, wall = time.process_time(), time.perf_counter()
    fit = fitted(halves.network, images, model)
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    replaced = sk.replace(halves.network, fit)
    error = _error(replaced, halves.network, [batch for batch, _ in others])
    matched = sk.evaluate(sk.recalibrate(replaced, images, halves.network), others)
    difference = matched.difference(sk.evaluate(halves.network, others))
    return {
        "images": sum(map(len, images)),
        "processor_s": round(seconds, 1),
        "wall_s": round(wall, 1),
        "passes": round(seconds / one_pass, 1),
        "error_percent": round(100 * error, 2),
        "top1_as_it_is": round(100 * sk.evaluate(replaced, others).top1, 1),
        "top1": round(100 * matched.top1, 1),
        "less_original": round(100 * difference.value, 1),
        "from": round(100 * difference.interval[0], 1),
        "to": round(100 * difference.interval[1], 1),
    }


@torch.no_grad()
def _error(network: torch.nn.Module, original: torch.nn.Module, images: list[Tensor]) -> float:
    """Return the squared difference of the outputs by their variance over the classes."""
    wanted = torch.cat([original(batch) for batch in images])
    found = torch.cat([network(batch) for batch in images])
    return float((found - wanted).square().mean() / wanted.var(1, correction=0).mean())


def show(results: dict[str, Any]) -> None:
    table("top-1 in percent on the half that the fit has not seen", results["rows"])
