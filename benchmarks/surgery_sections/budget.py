"""MCUNet with fewer depthwise numbers: models chosen filter by filter within a budget (``sk.compress``).

The filters of 5x5 and 7x7 are compressed, with the images of one half, to shares of their parameters, and the network
is evaluated on the other half. Filters of 3x3 stay.
"""

import argparse
import time
from typing import Any

import scalekeys as sk
from fit_sections.record import Progress, table
from scalekeys.networks.changing.compress import Compressor
from surgery_sections.halves import Halves

HELP = "compress the wide filters of MCUNet to shares of their parameters"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--budgets", nargs="+", type=float, default=(0.2, 0.3, 0.4, 0.49))


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    halves, rows = Halves.of_mcunet(), []
    wide = [layer.name for layer in sk.extract(halves.network).layers if layer.size[0] > 3]
    start = time.perf_counter()
    compressors = [Compressor(halves.network, images, layers=wide) for images in halves.each()]
    modelling = round((time.perf_counter() - start) / 2, 1)
    progress = Progress("budgets", len(arguments.budgets))
    for budget in arguments.budgets:
        start = time.perf_counter()
        found = [one.within(budget) for one in compressors]
        seconds = (time.perf_counter() - start) / 2
        progress.advance(1)
        result = halves.evaluate([one.module for one in found])
        difference = result.difference(halves.original)
        rows.append(
            {
                "budget": budget,
                "share": round(max(one.share for one in found), 3),
                "top1": round(100 * result.top1, 1),
                "less_original": round(100 * difference.value, 1),
                "from": round(100 * difference.interval[0], 1),
                "to": round(100 * difference.interval[1], 1),
                "seconds": round(seconds, 1),
                "models": found[0].chosen.to_pandas().set_index("model").filters.to_dict(),
            }
        )
    return {"original_top1": round(100 * halves.original.top1, 1), "modelling_s": modelling, "rows": rows}


def show(results: dict[str, Any]) -> None:
    rows = [{key: value for key, value in row.items() if key != "models"} for row in results["rows"]]
    table(f"top-1 in percent; the original has {results['original_top1']}", rows)
